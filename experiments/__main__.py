"""The command line: `python -m experiments run | compare | reproduce | report | merge`.

Exit codes: 0 done, or out of minutes; 1 a run failed, or a page is out of date; 2 wrong usage; 130
and 143 ended by SIGINT and SIGTERM. `run --resume FOLDER` resumes a run that was interrupted or
killed, and `reproduce` resumes with the same command. Every run folder has a page, `report.html`;
`compare RUN RUN ...` makes one of several.
"""

import argparse
import hashlib
import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from experiments import installation, interruption

if __name__ == "__main__":
    interruption.install()  # before JAX and other packages, which take seconds to import

try:
    import jax
    import tyro

    from experiments import report
    from experiments.engine import faults, folders, provenance, rows, runs, studies, tensorboard
    from experiments.engine.config import Config, Data, Model, Train, UsageError, near
    from experiments.engine.rows import Row
    from experiments.engine.studies import BUDGETS, Job
    from experiments.engine.tensorboard import Follow
    from experiments.report import frames, pages
except ModuleNotFoundError as error:
    installation.end_without(error, __doc__)

Studies = tyro.conf.Positional[tuple[str, ...]]


@dataclass
class Run:
    """Train one variant of a study and write a run folder.

    The folder holds report.html, a page to open in a browser, and its sources: config.json,
    metrics.jsonl, row.jsonl, params.npz, measured.npz and pictures. The defaults of data, model
    and train come from the variant's plan at the budget.
    """

    study: tyro.conf.Positional[str]
    """name of the study, a folder below experiments/studies"""
    variant: str
    """variant of the study; the first by default"""
    budget: str
    """smoke (seconds), quick (minutes), long (hours) or full (the paper's protocol)"""
    data: Data
    model: Model
    train: Train
    seeds: int = 1
    """number of seeds; they are 0, 1, ..."""
    out: Path | None = None
    """run folder; a new folder below runs/ by default"""
    record: bool = False
    """also append the rows to the study's results"""
    tensorboard: bool = False
    """also write the metrics of each epoch for TensorBoard, into the folder tensorboard of the run
    folder; needs tensorboardX"""
    save_minutes: float = runs.SAVE_MINUTES
    """at the end of an epoch, write a checkpoint if the last one is as old; 0: after every epoch"""
    debug_nans: bool = False
    """set jax_debug_nans: an error names the operation that makes the first NaN; slower"""


def _run(argv: list[str]) -> int:
    resume = argparse.ArgumentParser(add_help=False)
    resume.add_argument("--resume", type=Path)
    resume.add_argument("--tensorboard", action="store_true")
    resume.add_argument("--save-minutes", type=float, default=runs.SAVE_MINUTES)
    resume.add_argument("--debug-nans", action="store_true")
    resumed, rest = resume.parse_known_args(argv)
    if resumed.resume:
        if rest:
            raise UsageError(
                "--resume FOLDER takes no other arguments but --tensorboard, --save-minutes and "
                f"--debug-nans, got {' '.join(rest)}"
            )
        if resumed.debug_nans:
            jax.config.update("jax_debug_nans", True)
        begun, follow = folders.read_job(resumed.resume), _follow(resumed.tensorboard)
        print(_heading(begun), flush=True)
        train = partial(runs.train, follow=follow, save_minutes=resumed.save_minutes)
        pairs = [(begun, resumed.resume)]
        if folders.holds_parts(resumed.resume):
            pairs = _parts(begun, resumed.resume)
        return _finish(pairs, resumed.resume, record=False, train=train)

    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("study", nargs="?", default=studies.NAMES[0])
    named.add_argument("--variant", default="")
    named.add_argument("--budget", default="quick")
    words = [word for word in argv if word not in ("-h", "--help")]
    if words and words[0].startswith("-"):
        words = [studies.NAMES[0], *words]
    first, _ = named.parse_known_args(words)
    variant = first.variant or next(iter(studies.load(first.study).variants))
    job = studies.job(first.study, variant, first.budget)
    if job is None:
        raise UsageError(
            f"{first.study}/{variant} has no plan at budget {first.budget}; it has "
            f"{', '.join(studies.load(first.study).variants[variant].plans)}"
        )
    config = job.config
    default = Run(first.study, variant, first.budget, config.data, config.model, config.train)
    args = tyro.cli(Run, args=argv, default=default, prog="python -m experiments run")
    if args.seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {args.seeds}")
    job = job._replace(
        seeds=list(range(args.seeds)), config=Config(args.data, args.model, args.train)
    )
    train = partial(runs.train, follow=_follow(args.tensorboard), save_minutes=args.save_minutes)
    if args.debug_nans:
        jax.config.update("jax_debug_nans", True)
    out = folders.new(Path("runs"), job.study) if args.out is None else folders.writable(args.out)
    print(_heading(job), flush=True)
    pairs = _parts(job, out)
    if len(pairs) > 1:
        folders.write_parts(out, job)
    return _finish(pairs, out, record=args.record, train=train)


def _parts(job: Job, out: Path) -> list[tuple[Job, Path]]:
    """Return a job of one program for each folder; several are below `out`."""
    parts = studies.programs(job)
    return [(one, out if len(parts) == 1 else out / f"seed{one.seeds[0]}") for one in parts]


def _follow(asked: bool) -> Follow:
    return tensorboard.writer() if asked else tensorboard.nobody


def _finish(
    pairs: list[tuple[Job, Path]], out: Path, *, record: bool, train: Callable[..., list[Row]]
) -> int:
    """Run each job in its folder, then print the accuracy and the files."""
    made: list[Row] = []
    for job, folder in pairs:
        if len(pairs) > 1 and (folder / folders.ROW).exists():  # ended before an interruption
            made += rows.read_lines(folder / folders.ROW)
            continue
        try:
            found = (job.chosen.run or train)(job, folder, runs.FOREVER)
        except interruption.Interrupted as signal:
            _page(folder)
            if len(pairs) == 1 and (folder / folders.ROW).exists():
                print(f"interrupted; {folder} holds the ended run")
            else:
                print(f"interrupted; python -m experiments run --resume {out} resumes it")
            return signal.code
        except faults.NonFiniteError:
            _page(folder)
            raise
        for row in found if record else ():
            rows.append(rows.home(job.study, row["dataset"]), row)
        _page(folder)
        made += found
    if made:
        print(frames.accuracies(made))
    if len(pairs) > 1:
        pages.write_comparison(pages.found_in([out]), out / pages.PAGE)
    print(f"run folder {out}")
    for file in sorted([*out.rglob(pages.PAGE), *out.rglob("*.png")]):
        print(f"  {file.relative_to(out)}")
    return 0


def _page(folder: Path) -> None:
    """Write the page of a run folder; an error costs the page alone."""
    try:
        if (folder / folders.JOB).exists():
            pages.write_report(folder)
    except Exception:
        traceback.print_exc()


def _heading(job: Job) -> str:
    study = studies.load(job.study)
    return (
        f"{study.title}: {study.claim}\n{job.study}/{job.variant}, budget {job.budget}: "
        f"{job.chosen.about}\n{job.config}"
    )


@dataclass
class Reproduce:
    """Run the missing runs of the studies' plans, and record a row for each.

    A run is missing if no recorded row has its config, budget and seed. The same command resumes an
    interrupted run from its last epoch.
    """

    studies: Studies = ()
    """STUDY or STUDY/VARIANT; all by default"""
    budget: str = "quick"
    """quick (minutes), long (hours), full (the paper's protocol) or smoke (seconds)"""
    seeds: tuple[int, ...] = ()
    """seeds to run; all of the plan by default"""
    minutes: float = runs.FOREVER
    """start no further epoch after this many minutes"""
    together: bool = False
    """train all missing seeds of a variant in one program, which is faster on an accelerator"""
    results: Path | None = None
    """folder for rows.jsonl and the run folders; default: the studies' results, and runs/"""
    afresh: bool = False
    """with --results: ignore the rows in the studies' results"""
    save_minutes: float = runs.SAVE_MINUTES
    """at the end of an epoch, write a checkpoint if the last one is as old; 0: after every epoch"""
    list: bool = False
    """list the missing runs, and run nothing"""


def _reproduce(argv: list[str]) -> int:
    args = tyro.cli(Reproduce, args=argv, prog="python -m experiments reproduce")
    if args.budget not in BUDGETS:
        raise UsageError(f"--budget must be one of {', '.join(BUDGETS)}, got {args.budget!r}")
    if args.minutes <= 0:
        raise UsageError(f"--minutes must be positive, got {args.minutes:g}")
    if args.results is None and (args.budget == "smoke" or args.afresh):
        raise UsageError("budget smoke and --afresh need --results FOLDER")
    until = time.monotonic() + 60 * args.minutes
    wanted = _missing(args)
    print(_missing_text(wanted, args.budget), flush=True)
    if args.list:
        return 0
    below = (args.results or Path("runs")) / "reproduce"
    failed = []
    for job in wanted:
        for one in [job] if args.together else studies.programs(job):
            if time.monotonic() >= until:
                break
            folder = _own_folder(one, below)
            train = partial(runs.train, save_minutes=args.save_minutes)
            try:
                found = _ended(folder)
                if not found:
                    folder = folders.unfinished(folder)
                    found = (one.chosen.run or train)(one, folder, until)
                for row in found:
                    rows.append(_target(args, row), row)
            except interruption.Interrupted as signal:
                print("interrupted; the same command resumes")
                return signal.code
            except Exception:
                traceback.print_exc()
                failed.append(f"{one.study}/{one.variant}")
                break
            _page(folder)
            if found:
                name = f"{one.study}/{one.variant} seed {', '.join(map(str, one.seeds))}"
                print(f"{name}: {found[-1]['wall_seconds']:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    print(_missing_text(_missing(args), args.budget))
    return int(bool(failed))


def _missing(args: Reproduce) -> list[Job]:
    """Return the requested jobs without the recorded seeds."""
    found = []
    for name in args.studies or studies.NAMES:
        study, _, only = name.partition("/")
        for variant in [only] if only else studies.load(study).variants:
            job = studies.job(study, variant, args.budget)
            if job is None:
                continue
            have = [] if args.afresh else rows.of_study(study)
            have += list(rows.read(args.results / ROWS)) if args.results else []
            done = studies.recorded(job, have)
            seeds = [s for s in job.seeds if s not in done and s in (args.seeds or job.seeds)]
            found += [job._replace(seeds=seeds)] if seeds else []
    return found


ROWS = "rows.jsonl"


def _target(args: Reproduce, row: Row) -> Path:
    return args.results / ROWS if args.results else rows.home(row["study"], row["dataset"])


def _own_folder(job: Job, below: Path) -> Path:
    """Return the run folder of a job: the same at every call, so that the job resumes."""
    text = json.dumps([job.config.asdict(), job.points, job.seeds], default=rows.plain)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    name = f"{job.variant}-{job.budget}-seed{'-'.join(map(str, job.seeds))}-{digest}"
    return below / job.study / name


def _ended(folder: Path) -> list[Row]:
    """Return the rows of a run that ended at this commit, and was killed before it recorded them.

    A run that is missing although its folder holds rows of another commit is run again.
    """
    for one in folders.ended(folder):
        found = list(rows.read_lines(one / folders.ROW))
        if found and found[-1]["commit"] == provenance.commit():
            return found
    return []


def _missing_text(wanted: list[Job], budget: str) -> str:
    lines = [f"  {j.study}/{j.variant}: seeds {', '.join(map(str, j.seeds))}" for j in wanted]
    return "\n".join([f"missing at budget {budget}:" + ("" if lines else " nothing"), *lines])


@dataclass
class Compare:
    """Compare run folders on a page, or variants of a study by their recorded rows.

    `compare RUN RUN ...` writes a page with the accuracies, the settings that differ, and all
    curves in one chart. A folder may hold one run, a sweep, or several runs in folders below it.
    `compare STUDY VARIANT ...` prints the difference of each variant from the first, seed by seed.
    """

    what: tyro.conf.Positional[tuple[str, ...]]
    """run folders; or a study, then its variants, all by default"""
    budget: str = "quick"
    """quick, long or full, for the variants of a study"""
    out: Path = Path("runs/compare.html")
    """the page; a page of that name is replaced"""


def _compare(argv: list[str]) -> int:
    args = tyro.cli(Compare, args=argv, prog="python -m experiments compare")
    if not args.what:
        raise UsageError("compare needs run folders, or a study and its variants")
    first, *others = args.what
    if first in studies.NAMES and not pages.is_run(Path(first)):
        print(frames.comparison(first, others, args.budget))
        return 0
    paths = [Path(name) for name in args.what]
    if not any(path.exists() for path in paths):
        raise UsageError(
            f"{first} is neither a run folder nor a study.{near(first, studies.NAMES)}"
        )
    pages.write_comparison(pages.found_in(paths), args.out)
    print(f"page {args.out}")
    return 0


@dataclass
class Report:
    """Update the tables and pictures of all studies from their rows."""

    check: bool = False
    """write nothing; exit with 1 if a page is out of date"""


def _report(argv: list[str]) -> int:
    return report.render(
        check=tyro.cli(Report, args=argv, prog="python -m experiments report").check
    )


@dataclass
class Merge:
    """Append the rows of a file to the results of their studies, without duplicates."""

    file: tyro.conf.Positional[Path]
    """rows.jsonl of `reproduce --results FOLDER`"""


def _merge(argv: list[str]) -> int:
    new = rows.merge(tyro.cli(Merge, args=argv, prog="python -m experiments merge").file)
    print(f"{new} new rows")
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": _run,
    "compare": _compare,
    "reproduce": _reproduce,
    "report": _report,
    "merge": _merge,
}


def main(argv: list[str]) -> int:
    """Run the command line, and return the exit code."""
    name = argv[0] if argv else "--help"
    if name in ("-h", "--help"):
        print(installation.help_text(__doc__))
        return 0
    try:
        if name not in COMMANDS:
            raise UsageError(f"no command is called {name!r}.{near(name, COMMANDS)}")
        return COMMANDS[name](argv[1:])
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except faults.NonFiniteError as error:
        if error.__cause__ is not None:  # the operation, under --debug-nans
            traceback.print_exception(error.__cause__)
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder that was deleted or cannot be written to
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    interruption.leave(main(sys.argv[1:]))
