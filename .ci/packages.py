"""Lists packages of the workspace from `cargo metadata`: the published ones, or all examples."""

import json
import sys

wanted = sys.argv[1]
for package in json.load(sys.stdin)["packages"]:
    name = package["name"]
    if wanted == "published" and package["publish"] is None:
        print(name)
    if wanted == "examples":
        for target in package["targets"]:
            if "example" in target["kind"]:
                print(name, target["name"])
