#!/usr/bin/env python3
"""Judges the mutants that `cargo mutants --list` names, all of them in one build.

    python3 .ci/mutants.py raft [--seed 1] [--sample 300] [--jobs 2] [--only log/] [--work DIR]

`cargo mutants` builds and links once per mutant, which is nearly all of its time here: the tests
take less than a second. This takes its list, and writes every function that has mutants as

    fn f(..) { match crate::mutant() { 17 => { mutant 17 of the body } .. _ => { the body } } }

in a copy of the tree, so that one build holds all of them and MUTANT=17 picks one. What does not
compile is left out and counted as unviable. Mutants outside of functions, and in functions that
return `impl Trait` (whose copies would have different types), are named at the end: they are left to
`cargo mutants` itself. docs/mutants.md has the results.
"""
import argparse
import concurrent.futures
import json
import os
import random
import re
import resource
import subprocess
import sys

# The tests in the order in which they are tried; the first that fails decides.
CRATES = {
    "quorum": (["--all-features"], ["--lib", "--test", "it"]),
    "raft": ([], ["--test", "scenarios", "--test", "it", "--lib"]),
    "paxos": ([], ["--test", "scenarios", "--test", "single", "--test", "register", "--test", "it", "--lib"]),
}
# A test that needs so many seconds of processor time where it needs one does not end. Not wall
# time: the machine may be busy.
CPU_SECONDS = 20
MEMORY_BYTES = 6 << 30
PICK = """
/// Which mutant this process is; 0 is none.
pub(crate) fn mutant() -> u32 {
    static ID: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *ID.get_or_init(|| std::env::var("MUTANT").ok().and_then(|t| t.parse().ok()).unwrap_or(0))
}
"""


def run(*command, **options):
    return subprocess.run(command, text=True, **options)


class Tree:
    """A copy of the checked-out files whose crate holds its mutants."""

    def __init__(self, crate, work):
        self.crate, self.work = crate, work
        self.tree = os.path.join(work, "tree")
        self.features, self.tests = CRATES[crate]
        listed = run("cargo", "mutants", "--list", "--json", "-p", f"synod-{crate}",
                     *self.features, stdout=subprocess.PIPE, check=True)
        self.mutants = dict(enumerate(json.loads(listed.stdout), 1))
        outside = lambda m: not m.get("function") or "impl " in m["function"]["return_type"]
        self.left = {i for i, m in self.mutants.items() if outside(m)}
        self.unviable = set()
        files = run("git", "ls-files", "-z", stdout=subprocess.PIPE, check=True).stdout
        for file in filter(None, files.split("\0")):
            to = os.path.join(self.tree, file)
            os.makedirs(os.path.dirname(to), exist_ok=True)
            with open(file, "rb") as source, open(to, "wb") as target:
                target.write(source.read())

    def cargo(self, *arguments):
        # Thousands of functions that run for moments: building them is most of the time.
        quick = f"profile.mutants.package.synod-{self.crate}.opt-level=1"
        return run("cargo", *arguments, "--profile", "mutants", "--config", quick,
                   "-p", f"synod-{self.crate}", *self.features, "--message-format=json", cwd=self.tree, stdout=subprocess.PIPE,
                   stderr=subprocess.PIPE,
                   env=dict(os.environ, CARGO_TARGET_DIR=os.path.join(self.work, "target")))

    def write(self):
        """Writes the mutants into the functions; says on which lines each is."""
        by_file = {}
        for i, mutant in self.mutants.items():
            if i not in self.left | self.unviable:
                by_file.setdefault(mutant["file"], []).append((i, mutant))
        places = {}
        for file, mutants in by_file.items():
            with open(file, encoding="utf-8") as source:
                text = source.read()
            text, places[file] = rewrite(text, mutants)
            self.put(file, text)
        lib = f"{self.crate}/src/lib.rs"
        with open(lib, encoding="utf-8") as source:
            text = source.read()
        text = text.replace("#[cfg(test)]\nextern crate std;", "extern crate std;")
        self.put(lib, text.replace("#![no_std]", "#![no_std]\n#![allow(warnings)]") + PICK)
        return places

    def put(self, file, text):
        with open(os.path.join(self.tree, file), "w", encoding="utf-8") as target:
            target.write(text)

    def settle(self):
        """Leaves out what does not compile."""
        while True:
            places = self.write()
            # With the tests, whose dependencies may ask for features.
            checked = self.cargo("check", *self.tests)
            if checked.returncode == 0:
                return
            wrong = set()
            for message in messages(checked, "compiler-message"):
                if message["message"]["level"] == "error":
                    for span in message["message"]["spans"]:
                        wrong |= hit(span, places)
            if not wrong:
                sys.exit(f"the tree does not compile without mutants either:\n{checked.stderr}")
            self.unviable |= wrong

    def build(self):
        built = self.cargo("test", *self.tests, "--no-run")
        if built.returncode != 0:
            sys.exit(built.stderr)
        made = messages(built, "compiler-artifact")
        made = {m["target"]["name"]: m["executable"] for m in made if m.get("executable")}
        lib = [made[f"synod_{self.crate}"]] if "--lib" in self.tests else []
        named = [made[self.tests[k + 1]] for k, t in enumerate(self.tests) if t == "--test"]
        return lib + named if self.tests[0] == "--lib" else named + lib

    def judge(self, mutant, tests):
        """Which test notices the mutant, and how."""

        def limit():
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

        env = dict(os.environ, MUTANT=str(mutant), PROPTEST_DISABLE_FAILURE_PERSISTENCE="1")
        for test in tests:
            ended = run(test, "-q", env=env, cwd=os.path.join(self.tree, self.crate),
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=limit)
            if ended.returncode in (-9, -24):
                return "timeout"
            if ended.returncode != 0:
                return "caught"
        return "missed"


def rewrite(text, mutants):
    """A file with its mutants, and the lines that each stands on."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    offset = lambda at: starts[at["line"] - 1] + at["column"] - 1
    functions = {}
    for i, mutant in mutants:
        span = mutant["function"]["span"]
        key = offset(span["start"]), offset(span["end"])
        functions.setdefault(key, []).append((i, mutant))
    out, done, places = "", 0, []
    for (start, end), inside in sorted(functions.items()):
        head = re.compile(r"\bfn\s+\w+").search(text, start, end)
        while text[text.rfind("\n", 0, head.start()) + 1 : head.start()].lstrip().startswith(("//", "#")):
            head = re.compile(r"\bfn\s+\w+").search(text, head.end(), end)
        line = text.rfind("\n", 0, head.start()) + 1
        opened, closed = text.index("{", head.end()), end - 1
        # A const function could not ask which mutant it is.
        out += text[done:line] + text[line : head.start()].replace("const ", "")
        out += text[head.start() : opened] + "{ match crate::mutant() {"
        for i, mutant in inside:
            span = mutant["span"]
            body = text[opened : offset(span["start"])] + mutant["replacement"] + " "
            body += text[offset(span["end"]) : closed + 1]
            out += "\n"
            first = out.count("\n") + 1
            out += f"{i} => {body}"
            places.append((first, out.count("\n") + 1, i))
            out += "\n"
        out += f"_ => {text[opened : closed + 1]}\n}} }}"
        done = closed + 1
    return out + text[done:], places


def messages(ended, reason):
    lines = (json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{"))
    return [line for line in lines if line.get("reason") == reason]


def hit(span, places):
    if not span["is_primary"]:
        return set()
    while span["file_name"] not in places and (span.get("expansion") or {}).get("span"):
        span = span["expansion"]["span"]
    lines = places.get(span["file_name"], [])
    return {i for first, last, i in lines if first <= span["line_start"] <= last}


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("crate", choices=CRATES)
    options.add_argument("--seed", type=int, default=1, help="of the order")
    options.add_argument("--sample", type=int, help="judge only so many, the first in that order")
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--only", help="judge only those in files whose path holds this")
    options.add_argument("--work", help="where to build (target/one-build/CRATE)")
    given = options.parse_args()
    work = os.path.abspath(given.work or os.path.join("target", "one-build", given.crate))
    tree = Tree(given.crate, work)
    tree.settle()
    tests = tree.build()
    if tree.judge(0, tests) != "missed":
        sys.exit("the tests fail without a mutant")
    order = sorted(set(tree.mutants) - tree.left - tree.unviable)
    order = [i for i in order if (given.only or "") in tree.mutants[i]["file"]]
    random.Random(given.seed).shuffle(order)
    order = order[: given.sample]
    verdicts = {}
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        for mutant, verdict in zip(order, pool.map(lambda i: tree.judge(i, tests), order)):
            verdicts.setdefault(verdict, []).append(tree.mutants[mutant]["name"])
            if verdict != "caught":
                print(f"{verdict}: {tree.mutants[mutant]['name']}", flush=True)
    for name in sorted(tree.mutants[i]["name"] for i in tree.left):
        print(f"left to cargo mutants: {name}")
    count = {verdict: len(names) for verdict, names in verdicts.items()}
    print(f"{given.crate}: {len(tree.mutants)} mutants, {len(tree.unviable)} unviable,"
          f" {len(tree.left)} left, {len(order)} judged: {count}")


if __name__ == "__main__":
    main()
