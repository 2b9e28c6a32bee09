"""Mutations of the library, each of which some test must notice.

`python -m tests.mutations` changes one place of a copy of the tree at a time and runs the tests
that mirror the changed file, its doctests included: first the light ones, then the heavy ones. The
work tree is never touched. `--all` runs all light tests on the mutations that survive, `--list`
shows them, and arguments select some by a part of their name or of their file.

The mutations are in `mutations.txt`. A line `@@ file: tests` opens those of a file and names its
tests; when files move, only these lines change. A mutation is a line `# name`, the old text behind
`- `, which the file holds exactly once, and the new text behind `+ `.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_name("mutations.txt")
LIMIT = 3600  # seconds; a mutation without an end is caught
COPIED = (".ci", "experiments", "stbp_jax", "tests")


class Mutation(NamedTuple):
    """One change of one file, and the tests that mirror the file."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def read() -> list[Mutation]:
    found: list[Mutation] = []
    file, tests = "", ()
    for line in TABLE.read_text().splitlines():
        text = line[2:]
        if line.startswith("@@ "):
            file, _, names = line[3:].partition(":")
            tests = tuple(f"tests/{name}.py" for name in names.split())
        elif line.startswith("# "):
            found.append(Mutation(text, file, "", "", tests))
        elif line.startswith("-"):
            found[-1] = found[-1]._replace(old=f"{found[-1].old}{text}\n")
        elif line.startswith("+"):
            found[-1] = found[-1]._replace(new=f"{found[-1].new}{text}\n")
    return [m._replace(old=m.old[:-1], new=m.new[:-1]) for m in found]


def check(mutations: list[Mutation]) -> None:
    """Stops where a mutation does not apply, before any is run."""
    wrong = []
    for m in mutations:
        path = ROOT / m.file
        count = path.read_text().count(m.old) if m.old and path.is_file() else 0
        if count != 1:
            wrong.append(f"{m.name!r}: its text is found {count} times in {m.file}, expected once")
        if missing := [test for test in m.tests if not (ROOT / test).exists()]:
            wrong.append(f"{m.name!r}: there is no {', '.join(missing)}")
    if wrong:
        sys.exit("\n".join(wrong))


def fails(tree: Path, *arguments: str) -> str:
    """The first failure, or an empty string."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *arguments]
    try:
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"no end after {LIMIT} s"
    if done.returncode in (0, 5):  # 5: no test has this mark
        return ""
    if done.returncode not in (1, 2):  # 2: the changed file cannot be imported
        sys.exit(f"pytest does not run:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    reasons = [x for x in done.stdout.splitlines() if x.startswith(("FAILED", "ERROR"))]
    return reasons[0] if reasons else done.stdout[-100:].strip()


def run(mutations: list[Mutation], tree: Path, *, start: int, everything: bool) -> list[Mutation]:
    """The mutations that survive."""
    suite = "-n", "2", "--dist", "loadfile", "-m", "not heavy"
    survivors = []
    for number, m in enumerate(mutations[start - 1 :], start):
        path, begun = tree / m.file, time.monotonic()
        # Tests first: a module that pytest imports before its package is there is another copy.
        mirrors = "-n", "0", *m.tests, m.file, "-m"
        attempts = {"caught": (*mirrors, "not heavy"), "by a heavy test": (*mirrors, "heavy")}
        if everything:
            attempts["by another file"] = suite
        original = path.read_text()
        path.write_text(original.replace(m.old, m.new))
        try:
            reasons = ((by, fails(tree, *arguments)) for by, arguments in attempts.items())
            by, reason = next((found for found in reasons if found[1]), ("SURVIVED", ""))
        finally:
            path.write_text(original)
        if not reason:
            survivors.append(m)
        seconds = f"{time.monotonic() - begun:.0f} s"
        print(f"{number:3} {seconds:>6}  {m.file}: {m.name}", flush=True)
        print(f"            {by} {reason[:100]}", flush=True)
    return survivors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="of names or files; default all mutations")
    parser.add_argument("--all", action="store_true", help="the whole suite on survivors")
    parser.add_argument("--list", action="store_true", help="show the mutations and run nothing")
    parser.add_argument("--start", type=int, default=1, help="number of the first mutation")
    args = parser.parse_args()
    mutations = read()
    check(mutations)
    if args.parts:
        mutations = [m for m in mutations if any(p in f"{m.file}: {m.name}" for p in args.parts)]
    if args.list:
        print(*(f"{m.file}: {m.name}" for m in mutations), sep="\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        tree.mkdir()
        for path in ROOT.iterdir():
            if path.is_file() and path.name != ".git":
                shutil.copy(path, tree)
        for name in COPIED:
            ignore = shutil.ignore_patterns("__pycache__", "runs")
            shutil.copytree(ROOT / name, tree / name, ignore=ignore)
        # Most programs of one mutation are those of the last.
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{folder}/programs")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        survivors = run(mutations, tree, start=args.start, everything=args.all)
    count = len(mutations) - args.start + 1
    print(f"{count - len(survivors)} of {count} are caught")
    if survivors:
        print("survivors:", *(f"  {m.file}: {m.name}" for m in survivors), sep="\n")


if __name__ == "__main__":
    main()
