"""Runs what is missing of the studies' plans: `python -m experiments.reproduce [STUDY ...]`.

A run is missing where no recorded row has its settings, budget and seed. Each row is recorded as
soon as its run ends, so that an interrupt or a failure costs one run at most, and the same command
goes on where it stopped. Exit codes: 0 done, or stopped by --minutes; 1 a variant failed; 2 wrong
usage; 130 interrupted.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from experiments import harness
from experiments.settings import UsageError, near
from experiments.study import (
    BUDGETS,
    STUDIES,
    Asked,
    Row,
    carry_out,
    planned,
    recorded,
    results_file,
    study,
)

ROWS = "rows.jsonl"  # of all studies, below --results: a machine may give back few files


class Missing(NamedTuple):
    """Runs of one variant that no row tells of.

    Attributes:
      name: study and variant, in words.
      asked: the runs; None where the budget cannot pay for the variant.
      results: files of recorded rows; the first takes the new ones.
    """

    name: str
    asked: Asked | None
    results: list[Path]


def missing(
    names: list[str],
    budget: str,
    results: Path | None,
    afresh: bool,
    seeds: list[int] | None = None,
) -> list[Missing]:
    """What is missing, one entry a variant, those that miss nothing too.

    Args:
      names: of studies, or `study/variant` for one variant alone.
      budget: whose plans.
      results: a folder for new rows instead of the checkout.
      afresh: rows of the checkout do not count.
      seeds: only these; None for all of the plan.
    """
    found = []
    for name in names:
        of, _, only = name.partition("/")
        chosen = study(of)
        if only and only not in chosen.variants:
            raise UsageError(f"{of} has no variant {only!r}.{near(only, chosen.variants)}")
        for variant in [only] if only else chosen.variants:
            asked, files = planned(chosen, variant, budget), []
            if asked is not None:
                ours = results_file(chosen.name, asked.settings.data, harness.HERE)
                files = [ours] if results is None else [results / ROWS, *([] if afresh else [ours])]
                done = recorded(asked, files)
                asked = asked._replace(
                    seeds=[
                        seed
                        for seed in asked.seeds
                        if seed not in done and (seeds is None or seed in seeds)
                    ]
                )
            found.append(Missing(f"{chosen.name} {variant}", asked, files))
    return found


def runs(
    wanted: list[Missing], folder: Path, until: float, failed: Callable[[Missing], None]
) -> Iterator[Row]:
    """Rows of the missing runs, as each ends.

    Args:
      wanted: which.
      folder: for run folders.
      until: of `time.monotonic`; no run begins later.
      failed: told of a variant that raises, while its exception is handled.
    """
    for one in wanted:
        if one.asked is None or not one.asked.seeds or time.monotonic() >= until:
            continue
        own = folder / one.asked.study.name / one.asked.variant
        try:
            for rows in carry_out(one.asked, harness.make_folder(own), one.results):
                yield from rows
                if time.monotonic() >= until:
                    break
        except Exception:
            failed(one)


def merge(file: Path, below: Path) -> int:
    """Appends rows that another machine recorded to the studies' own, but for those there already.

    Returns:
      How many were new.

    Raises:
      UsageError: the file cannot be read, or holds smoke rows or rows of an unknown study.
    """
    try:
        rows = list(harness.read_rows(file))
    except (OSError, ValueError) as error:
        raise UsageError(f"--merge must be a file of rows: {error}") from None
    wrong = [row for row in rows if row["study"] not in STUDIES or row["budget"] == "smoke"]
    if wrong:
        told = f"{wrong[0]['study']} at budget {wrong[0]['budget']}"
        raise UsageError(f"--merge must hold rows of studies, and no smoke; {file} has {told}")
    new = 0
    for row in rows:
        home = results_file(row["study"], row["settings"]["data"], below)
        if not home.exists() or row not in harness.read_rows(home):
            harness.append_row(home, row)
            new += 1
    return new


def main(argv: list[str]) -> int:
    """Runs what the arguments say is missing; returns the exit code."""
    try:
        return _main(_parser().parse_args(argv))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.reproduce",
        description="Run what is missing of the studies' plans and record it, row by row.",
        epilog="exit codes: 0 done or out of minutes, 1 a variant failed, 2 wrong usage, 130 "
        "interrupted; the same command goes on where it stopped",
    )
    parser.add_argument("studies", nargs="*", metavar="STUDY[/VARIANT]", help="default all")
    parser.add_argument(
        "--budget",
        default="cpu",
        help="cpu (minutes), long (hours), full (the paper's) or smoke (seconds)",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", metavar="N", help="only these; default all of the plan"
    )
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="begin no run once M minutes have passed"
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help=f"record in DIR/{ROWS}, with run folders below DIR/runs, not in the checkout",
    )
    parser.add_argument(
        "--afresh",
        action="store_true",
        help="with --results: run what only the checkout has rows of, too",
    )
    parser.add_argument("--list", action="store_true", help="tell what is missing and stop")
    parser.add_argument(
        "--merge", type=Path, metavar="ROWS", help="record the rows of that file here and stop"
    )
    return parser


def _main(args: argparse.Namespace) -> int:
    _check(args)
    if args.merge:
        print(f"{merge(args.merge, harness.HERE)} new rows")
        return 0

    began = time.monotonic()
    until = float("inf") if args.minutes is None else began + 60 * args.minutes
    names = args.studies or STUDIES

    def left() -> list[Missing]:
        return missing(names, args.budget, args.results, args.afresh, args.seeds)

    wanted = left()
    _tell(wanted, args.budget)
    if args.list or not _seeds(wanted):
        return 0

    folder = harness.new_folder((args.results or Path()) / "runs", "reproduce")
    broken: list[str] = []

    def failed(one: Missing) -> None:
        traceback.print_exc()
        print(f"{one.name} failed; the others still run")
        broken.append(one.name)

    try:
        for row in runs(wanted, folder, until, failed):
            print(_line(row), flush=True)
    except KeyboardInterrupt:
        print("interrupted; the rows so far are recorded, and the same command goes on")
        return 130
    if broken:
        print(f"failed: {', '.join(broken)}")
    rest = left()
    if time.monotonic() >= until and _seeds(rest):
        print(f"{args.minutes:g} minutes have passed; the same command goes on")
    _tell(rest, args.budget)
    return int(bool(broken))


def _check(args: argparse.Namespace) -> None:
    if args.budget not in BUDGETS:
        raise UsageError(f"--budget must be one of {', '.join(BUDGETS)}, got {args.budget!r}")
    if args.minutes is not None and args.minutes <= 0:
        raise UsageError(f"--minutes must be positive, got {args.minutes:g}")
    if args.results is None and args.budget == "smoke":
        raise UsageError("--budget smoke needs --results DIR: its rows are no results")
    if args.results is None and args.afresh:
        raise UsageError("--afresh needs --results DIR: the checkout's rows stay as they are")


def _seeds(wanted: list[Missing]) -> int:
    return sum(len(one.asked.seeds) for one in wanted if one.asked)


def _tell(wanted: list[Missing], budget: str) -> None:
    print(f"missing at budget {budget}: {_seeds(wanted) or 'nothing'}")
    for one in wanted:
        if one.asked is None:
            print(f"  {one.name}: more than this budget can pay for")
        elif one.asked.seeds:
            seeds = one.asked.seeds
            count = "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
            print(f"  {one.name}: {count} ({', '.join(map(str, seeds))})")


def _line(row: Row) -> str:
    accuracy = row.get("test_accuracy_last")
    told = "" if accuracy is None else f" test accuracy {accuracy:.4f},"
    return f"{row['study']} {row['variant']} seed {row['seed']}:{told} {row['wall_seconds']:.0f} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
