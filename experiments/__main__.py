"""The command line: `python -m experiments STUDY [options]`.

Exit codes: 0 done, 1 failed, 2 asked for something that does not exist or cannot be, 130
interrupted (the run folder stays usable).
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np

from experiments import harness
from experiments.settings import UsageError, changed, described, near
from experiments.study import (
    BUDGETS,
    STUDIES,
    Asked,
    Plan,
    Row,
    Variant,
    carry_out,
    plan_of,
    results_file,
    study,
)


def main(argv: list[str]) -> int:
    """Runs one variant of a study as the arguments say; returns the exit code."""
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
        epilog="studies, their variants, and the first one's settings (change one with --set "
        "name=value):\n\n"
        + "\n\n".join(map(_summary, STUDIES))
        + "\n\nexit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", metavar="STUDY", help=", ".join(STUDIES))
    parser.add_argument("--variant", metavar="NAME", help="of the study; default its first")
    parser.add_argument(
        "--budget",
        default="cpu",
        help="smoke (seconds), cpu (minutes), long (hours) or full (the paper's)",
    )
    parser.add_argument("--data", metavar="NAME", help="same as --set data=NAME")
    parser.add_argument("--epochs", metavar="N", help="same as --set epochs=N")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting"
    )
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="run seeds 0 to N - 1")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder; default below runs/")
    parser.add_argument(
        "--record",
        action="store_true",
        help="append the rows to the study's results/ as well; seeds recorded there are not run",
    )
    return parser


def _summary(name: str) -> str:
    chosen = study(name)
    variants = "\n".join(
        f"    --variant {key}".ljust(28) + variant.tells for key, variant in chosen.variants.items()
    )
    first = next(iter(chosen.variants.values()))
    return f"  {name}: {chosen.claim}\n{variants}\n{described(first.settings)}"


def _main(args: argparse.Namespace) -> int:
    chosen = study(args.study)
    name = args.variant or next(iter(chosen.variants))
    if name not in chosen.variants:
        raise UsageError(
            f"{chosen.name} has no variant called {name!r}.{near(name, chosen.variants)}"
        )
    variant = chosen.variants[name]
    plan = _affordable(f"{chosen.name} --variant {name}", variant, args.budget)
    assignments = list(args.set)
    for option in ("data", "epochs"):
        if getattr(args, option) is not None:
            assignments.insert(0, f"{option}={getattr(args, option)}")
    settings = changed(variant.settings, [*plan.changes, *assignments])
    if args.seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {args.seeds}")
    if args.out is None:
        out = harness.new_folder(Path("runs"), chosen.name)
    else:
        out = harness.make_folder(args.out)

    print(f"{chosen.claim}\n{dataclasses.asdict(settings)}")
    results = [results_file(chosen.name, settings.data, harness.HERE)] if args.record else []
    asked = Asked(chosen, name, args.budget, settings, list(range(args.seeds)))
    rows = []
    try:
        for run in carry_out(asked, out, results):
            rows += run
    except KeyboardInterrupt:
        print(f"interrupted; what was done is in {out}")
        return 130
    print(f"run folder {out}")
    _tell(rows)
    return 0


def _affordable(what: str, variant: Variant, budget: str) -> Plan:
    if budget not in BUDGETS:
        raise UsageError(f"--budget must be one of {', '.join(BUDGETS)}, got {budget!r}")
    plan = plan_of(variant, budget)
    if plan is None:
        raise UsageError(
            f"{what} is more than --budget {budget} can pay for; it has {', '.join(variant.plans)}"
        )
    return plan


def _tell(rows: list[Row]) -> None:
    cells: dict[str, list[float]] = {}
    names = [
        n for n in rows[0]["hparams"] if any(r["hparams"][n] != rows[0]["hparams"][n] for r in rows)
    ]
    for row in rows:
        if row["test_accuracy_last"] is not None:  # a study may train nothing
            what = "".join(f", {name} {row['hparams'][name]:g}" for name in names)
            cells.setdefault(what, []).append(row["test_accuracy_last"])
    for what, values in cells.items():
        last = np.array(values)
        many = f" (mean of {len(last)} seeds, s.d. {last.std(ddof=1):.4f})" if len(last) > 1 else ""
        print(f"test accuracy {last.mean():.4f}{many}{what}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
