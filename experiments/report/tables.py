"""Markdown tables: the front table of all claims, and the table of each study."""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from experiments.engine import rows, studies
from experiments.engine.studies import Study
from experiments.report import frames, targets
from experiments.report.frames import Frame, Measured
from experiments.report.targets import Target

LARGEST_FIRST = ("full", "long", "quick")
SHARED = ("dataset", "network", "num_steps", "epochs", "num_train")
NAMES = {"dataset": "data", "num_steps": "T", "num_train": "training examples"}


def markdown(head: Iterable[Any], lines: Iterable[Iterable[Any]]) -> str:
    """Return a table; cells are converted by `str`."""
    names = [str(cell) for cell in head]
    body = [f"| {' | '.join(map(str, line))} |" for line in lines]
    return "\n".join([f"| {' | '.join(names)} |", "|---" * len(names) + "|", *body])


def figures(study: str) -> ModuleType | None:
    """Import the `figures.py` of a study, if it has one.

    The module may define `draw(runs, folder)`, `table(runs)`, and the functions that a `Target`
    names as its `measure`.
    """
    there = (rows.STUDIES / study / "figures.py").exists()
    return importlib.import_module(f"experiments.studies.{study}.figures") if there else None


# The front table ----------------------------------------------------------------------------------


class Shown(NamedTuple):
    """A target with the result from our rows.

    Attributes:
      target: the paper's value, or an aim.
      runs: runs of the target's variant.
      ours: our value, as text.
      difference: our value minus the target, as text.
      verdict: three words or fewer.
      short: whether the runs have fewer epochs than the plan of budget `full`.
    """

    target: Target
    runs: Frame
    ours: str
    difference: str
    verdict: str
    short: bool


def shown(target: Target, runs: Frame) -> Shown | None:
    """Return the target with our result, or None if there are no rows.

    The result is that of the largest budget with all rows, else of the largest with some.
    """
    names = [*filter(None, (target.variant, target.than, *target.others))]
    some = None
    for budget in LARGEST_FIRST if len(runs) else ():
        jobs = [job for name in names if (job := studies.job(target.study, name, budget))]
        parts = [_at(target, frames.of_job(job, runs)) for job in jobs]
        if len(parts) == len(names) and all(map(len, parts)):
            if all(frames.complete(job, runs) for job in jobs):
                return _beside(target, parts)
            some = some or _beside(target, parts)
    return some


def _beside(target: Target, parts: list[Frame]) -> Shown:
    if target.measure:
        measured: Measured = getattr(figures(target.study), target.measure)(pd.concat(parts))
        ours, found = measured
        text = "" if found.low == found.high else str(found)
    else:
        values = [frames.by_seed(part) for part in parts]
        found = frames.difference(values[0], values[1] if target.than else target.wanted)
        count = "1 seed" if found.pairs == 1 else f"{found.pairs} seeds"
        ours, text = f"{' minus '.join(map(frames.spread, values))} ({count})", str(found)
    full = studies.job(target.study, target.variant, "full")
    short = full is not None and parts[0]["epochs"].iloc[0] < full.config.train.epochs
    word = targets.verdict(target, found, short=short)
    return Shown(target, parts[0], ours, text, word, short)


def _at(target: Target, runs: Frame) -> Frame:
    """Return the runs at the target's point."""
    for name, value in target.point.items():
        runs = runs[np.isclose(runs[name].astype(float), value)]
    return runs


def reported(target: Target) -> str:
    """Return the paper's value, or the aim, as text."""
    return target.reported or f"{target.wanted:g}"


def protocol(one: Shown) -> str:
    """Network, T, epochs and examples of ours, and how else it differs from the paper's."""
    row = frames.newest(one.runs)
    epochs = int(row["epochs"])
    parts = [
        "short run" if one.short else "",
        str(row["network"]),
        f"T {_range(one.runs['num_steps'])}",
        f"{epochs} epoch{'s' * (epochs != 1)} of {row['num_train']:,}" if epochs else "",
        one.target.protocol,
    ]
    return ", ".join(filter(None, parts[:-1])) + (f"; {parts[-1]}" if parts[-1] else "")


def _range(numbers: "pd.Series[int]") -> str:
    low, high = numbers.min(), numbers.max()
    return f"{low}" if low == high else f"{low} to {high}"


def front(
    asked: Sequence[Target], found: Sequence[Shown], words: Mapping[str, str], head: str
) -> str:
    """Return the full table: claim, paper, ours, difference, protocol, verdict.

    Args:
      asked: all targets, in order; one without rows has a line that says so.
      found: those with rows.
      words: other words for verdicts.
      head: of the column of the paper's value.
    """
    with_rows = {id(one.target): one for one in found}
    lines = [
        _line(with_rows[id(target)], words)
        if id(target) in with_rows
        else [_claim(target), reported(target), "-", "", target.protocol, "no rows yet"]
        for target in asked
    ]
    columns = ("claim", head, "ours", "difference [95 %]", "our protocol", "verdict")
    return markdown(columns, lines)


def _claim(target: Target) -> str:
    return f"[{target.claim}](studies/{target.study}/README.md)"


def _line(one: Shown, words: Mapping[str, str]) -> list[str]:
    return [
        _claim(one.target),
        reported(one.target),
        one.ours,
        one.difference,
        protocol(one),
        _in_words(one.verdict, words),
    ]


def short_front(found: Sequence[Shown]) -> str:
    """Return the table in four columns, without stand-in data, for the README of the repository."""
    lines = [
        [
            one.target.claim,
            reported(one.target),
            f"{one.ours}, short run" if one.short else one.ours,
            one.verdict.removesuffix(", short run"),
        ]
        for one in found
        if not one.verdict.startswith("stand-in")
    ]
    return markdown(("claim", "paper", "ours", "verdict"), lines)


def _in_words(verdict: str, words: Mapping[str, str]) -> str:
    first, comma, rest = verdict.partition(",")
    return words.get(first, first) + comma + rest


HELD, MISSED = ("reproduced", "surpassed"), ("not reproduced",)


def _among(found: Sequence[Shown], words: tuple[str, ...]) -> list[Shown]:
    return [one for one in found if one.verdict.startswith(words)]


def quoted(found: Sequence[Shown]) -> str:
    """Return the claims that hold and those that do not, each with its numbers."""

    def listed(words: tuple[str, ...]) -> str:
        return "; ".join(
            f"{one.target.claim.partition(':')[0]}, {one.ours} (paper: {reported(one.target)})"
            for one in _among(found, words)
        )

    return f"Reproduced: {listed(HELD)}. Not reproduced: {listed(MISSED)}."


def answer(found: Sequence[Shown]) -> str:
    """Return one sentence that answers whether the code reproduces the paper."""
    held, missed = _among(found, HELD), _among(found, MISSED)
    share = len(held) / max(1, len(found) - len(_among(found, ("stand-in",))))
    least = {1.0: "Yes", 0.5: "Mostly", 0.25: "In part", 0.0: "Mostly not yet"}
    word = next(word for limit, word in least.items() if share >= limit)
    counts = {
        "reproduced or surpassed": len(held),
        f"not reproduced ({sum(one.short for one in missed)} of these in short runs)": len(missed),
        "undecided": len(_among(found, ("undecided", "one seed"))),
        "on stand-in data, which cannot be compared": len(_among(found, ("stand-in",))),
    }
    clauses = [f"{n} {'is' if n == 1 else 'are'} {text}" for text, n in counts.items() if n]
    return (
        f"**Does it reproduce the paper?** {word}: of its {len(found)} claims, "
        f"{', '.join(clauses[:-1])} and {clauses[-1]}."
    )


def result(one: Shown | None, words: Mapping[str, str]) -> tuple[str, str]:
    """Return `Result:` and `Time:` of a study's docstring.

    Args:
      one: the first target of the study that has rows; None if there is none.
      words: other words for verdicts.
    """
    if one is None:
        return "no rows yet.", "no rows yet."
    row = frames.newest(one.runs)
    many = f"for {row['cells']} runs in one program" if row["cells"] > 1 else "a run"
    device = str(row["device"]).rpartition(": ")[2]
    difference = f", difference {one.difference}" if one.difference else ""
    return (
        f"{one.ours}, target {reported(one.target)}{difference}: {_in_words(one.verdict, words)}.",
        f"{_duration(row['wall_seconds'])} {many}, budget {row['budget']}, {device}.",
    )


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.0f} s"


# Tables of the studies ----------------------------------------------------------------------------


def study_table(study: Study, runs: Frame) -> str:
    """Return the table of a study, by its own `table(runs)` if it has one."""
    own = figures(study.name)
    if runs.empty:
        return "No rows yet."
    if own is not None and hasattr(own, "table"):
        return str(own.table(runs))
    return experiments_table(study, runs)


def experiments_table(study: Study, runs: Frame) -> str:
    """Return a table with one line for each experiment, below a sentence on what all share."""
    places = {name: place for place, name in enumerate(study.variants)}
    parts = sorted(
        frames.experiments(runs), key=lambda part: places.get(part["variant"].iloc[0], len(places))
    )
    apart = [k for k in SHARED if runs[k].nunique() > 1]
    texts = frames.labels(parts, {"name", "layers", "limit", *SHARED})
    baseline = any(name.endswith("ann") for name in places)
    columns = {
        "variant": [part["variant"].iloc[0] for part in parts],
        "with": texts,
        "budget": [part["budget"].iloc[0] for part in parts],
        **{NAMES.get(k, k): [_shared(part, k) for part in parts] for k in apart},
        "last epoch (%)": [frames.spread(part["accuracy"]) for part in parts],
        "chosen on validation (%)": [_selected(part) for part in parts],
        "seeds": [frames.seeds(part) for part in parts],
        "operations an example": [_operations(part, baseline) for part in parts],
        "seconds a run": [f"{part['wall_seconds'].mean():.0f}" for part in parts],
    }
    if not any(texts):
        del columns["with"]
    same = [f"{NAMES.get(k, k)} {_shared(runs, k)}" for k in SHARED if k not in apart]
    above = f"All have {', '.join(same)}.\n\n" if same else ""
    return f"{above}{markdown(columns, zip(*columns.values(), strict=True))}\n\n{origin(runs)}"


def origin(runs: Frame) -> str:
    """Return a sentence with devices, JAX versions and commits of all runs."""
    devices = dict.fromkeys(str(d).partition(",")[0].rpartition(": ")[2] for d in runs["device"])
    jax, commits = (", ".join(dict.fromkeys(map(str, runs[k]))) for k in ("jax", "commit"))
    return f"Run on {' and '.join(devices)}, jax {jax}, commits {commits}."


def by_budget(table: Callable[[Frame], str], runs: Frame) -> str:
    """Return a table for each budget, largest first, each with a list of its programs."""
    parts = []
    for budget in LARGEST_FIRST:
        part = runs[runs["budget"] == budget]
        if len(part):
            parts.append(f"Budget `{budget}`:\n\n{table(part)}\n\n{_programs(part)}")
    return "\n\n".join(parts)


def _programs(runs: Frame) -> str:
    """Return how a sweep was run: one line for each variant."""
    lines = []
    for variant, part in runs.groupby("variant", sort=False):
        row = frames.newest(part)
        lines.append(
            f"- `{variant}`: {row['network']}, T = {row['num_steps']}, {row['epochs']} epochs of "
            f"{row['num_train']:,} examples; {row['cells']} runs in one program, "
            f"{row['wall_seconds']:.0f} s; {row['device']}, jax {row['jax']}, {row['commit']}."
        )
    return "\n".join(lines)


def _shared(runs: Frame, name: str) -> str:
    row = frames.newest(runs)
    if name == "num_steps" and not runs["operations"].map(bool).any():
        return "-"  # a network without spikes runs once
    value = row[name]
    return value if isinstance(value, str) else f"{value:,}"


def _selected(runs: Frame) -> str:
    values = 100 * pd.to_numeric(runs["test_accuracy_selected"])
    return "-" if values.isna().any() else frames.spread(values)


def _operations(runs: Frame, baseline: bool) -> str:
    """Format the additions for one example, or the products of the ANN baseline; and the ratio."""
    products = runs["multiply_accumulates"].mean()
    spikes = [sum(counts) for counts in runs["operations"] if counts]
    count = np.mean(spikes) if spikes else products
    return f"{count / 1e6:.3g} M" + (f" ({count / products:.2f} x)" if baseline else "")
