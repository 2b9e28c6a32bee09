"""The command line: `python -m experiments STUDY [options]`.

Exit codes: 0 done, 1 failed, 2 asked for something that does not exist or cannot be, 130
interrupted (the run folder stays usable).
"""

import argparse
import dataclasses
import datetime
import importlib
import sys
from pathlib import Path

import numpy as np

from experiments import harness
from experiments.classification import Study, run
from experiments.settings import UsageError, changed, described, near

STUDIES = sorted(p.parent.name for p in harness.HERE.glob("*/study.py"))
SMOKE = ["limit=200", "epochs=2", "num_steps=4", "batch_size=20"]


def main(argv: list[str]) -> int:
    """Runs one study as the arguments say; returns the exit code."""
    try:
        return _main(_parser().parse_args(argv))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Train a study's network and write a run folder: config.json, metrics.jsonl,\n"
        "params.npz, row.jsonl, learning_curve.png, surrogates.png, raster.png.",
        epilog="studies and their settings (change one with --set name=value):\n\n"
        + "\n\n".join(map(_summary, STUDIES))
        + "\n\nexit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", metavar="STUDY", help=", ".join(STUDIES))
    parser.add_argument("--data", metavar="NAME", help="same as --set data=NAME")
    parser.add_argument("--epochs", metavar="N", help="same as --set epochs=N")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting"
    )
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="run seeds 0 to N - 1")
    parser.add_argument("--smoke", action="store_true", help="few examples and steps")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder; default below runs/")
    parser.add_argument(
        "--record",
        action="store_true",
        help="append the rows to the study's results/ as well; seeds recorded there are not run",
    )
    return parser


def _summary(name: str) -> str:
    chosen = study(name)
    return f"  {name}: {chosen.claim}\n{described(chosen.settings)}"


def study(name: str) -> Study:
    """The study of that name.

    Raises:
      UsageError: there is none; near misses are named.
    """
    if name not in STUDIES:
        raise UsageError(f"no study is called {name!r}.{near(name, STUDIES)}")
    return importlib.import_module(f"experiments.{name}.study").STUDY


def _main(args: argparse.Namespace) -> int:
    chosen = study(args.study)
    assignments = list(args.set)
    for name in ("data", "epochs"):
        if getattr(args, name) is not None:
            assignments.insert(0, f"{name}={getattr(args, name)}")
    settings = changed(chosen.settings, [*(SMOKE if args.smoke else []), *assignments])
    if args.seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {args.seeds}")
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    out = harness.make_folder(args.out or Path("runs") / f"{chosen.name}-{now}")

    print(f"{chosen.claim}\n{dataclasses.asdict(settings)}")
    rows = []
    budget = "smoke" if args.smoke else "cpu"
    results = harness.HERE / chosen.name / "results" / f"{settings.data}.jsonl"
    for seed in range(args.seeds):
        done = harness.recorded(results, dataclasses.asdict(settings), seed, budget)
        if args.record and done is not None:
            print(f"seed {seed} is recorded already, at commit {done['commit']}")
            rows.append(done)
            continue
        folder = out if args.seeds == 1 else harness.make_folder(out / f"seed{seed}")
        outcome = run(chosen, settings, seed, folder, budget)
        if outcome.interrupted:
            print(f"interrupted; what was done is in {folder}")
            return 130
        if args.record:
            harness.append_row(results, outcome.row)
        rows.append(outcome.row)
    last = np.array([row["test_accuracy_last"] for row in rows])
    spread = f" (mean of {len(last)} seeds, s.d. {last.std(ddof=1):.4f})" if len(last) > 1 else ""
    print(f"run folder {out}")
    print(f"test accuracy {last.mean():.4f}{spread}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
