"""Checks the figures that the demonstration writes."""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    report = json.load(file)

problems = [
    f"{key} is missing"
    for key in ("acknowledged", "lost", "duplicated", "linearizable", "failover_ms",
                "operations_per_second")
    if key not in report
]
if not any("latency" in key for key in report):
    problems.append("there are no latencies")
if report.get("acknowledged", 0) <= 0:
    problems.append("nothing was acknowledged")
if report.get("lost") != 0 or report.get("duplicated") != 0:
    problems.append("writes were lost or duplicated")
if report.get("linearizable") not in (True, "yes"):
    problems.append("the history is not known to be linearizable")
for problem in problems:
    print(f"{sys.argv[1]}: {problem}")
sys.exit(bool(problems))
