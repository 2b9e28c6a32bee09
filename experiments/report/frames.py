"""Recorded rows as pandas frames, with groups over seeds and differences by seed."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from experiments.engine import rows, studies
from experiments.engine.config import UsageError, near
from experiments.engine.rows import Row
from experiments.engine.studies import Job

Frame = pd.DataFrame

# Runs that agree in these fields are one experiment with several seeds.
SAME = ["variant", "budget", "dataset", "network", "config", "hparams"]

# Defaults of fields that older rows do not have.
ABSENT: Row = {"test_accuracy": None, "operations": None, "cells": 1}


def frame(found: Iterable[Row]) -> Frame:
    """Convert rows to a frame with one line for each run.

    The columns are the fields of the row, of its `hparams` and of its `config`, `accuracy` in
    percent, and `experiment`, which is the same for runs that differ in the seed alone. If a name
    occurs several times, `hparams` has priority over the row, and the row over `config`. If two
    runs of an experiment have the same seed, the newer one counts. Rows without a config are left
    out.
    """
    lines = []
    for row in found:
        if row["config"] is None:
            continue
        numbers = {k: v for part in row["config"].values() for k, v in part.items()}
        last = row.get("test_accuracy_last")
        lines.append(
            ABSENT
            | numbers
            | row
            | row["hparams"]
            | {
                "experiment": json.dumps(
                    [row[k] for k in SAME], sort_keys=True, default=rows.plain
                ),
                "accuracy": np.nan if last is None else 100 * last,
                "date": row.get("date", ""),
            }
        )
    table = pd.DataFrame(lines)
    if table.empty:
        return table
    latest = table.sort_values("date", kind="stable").drop_duplicates(
        ["experiment", "seed"], keep="last"
    )
    return latest.sort_index().reset_index(drop=True)


def of_study(name: str) -> Frame:
    """Return the recorded runs of a study, without smoke runs."""
    return frame(row for row in rows.of_study(name) if row["budget"] != "smoke")


def experiments(runs: Frame) -> list[Frame]:
    """Return the runs of each experiment, sorted by seed; experiments are in recorded order."""
    groups = runs.groupby("experiment", sort=False) if len(runs) else ()
    return [group.sort_values("seed") for _, group in groups]


def of_job(job: Job, runs: Frame) -> Frame:
    """Return the runs with a job's variant, budget and config, and with its points."""
    if runs.empty:
        return runs
    config = job.config.asdict()
    keep = [
        label
        for label, run in zip(runs.index, runs.to_dict("records"), strict=True)
        if (run["variant"], run["budget"]) == (job.variant, job.budget)
        and rows.same(run["config"], config)
        and (not job.points or any(rows.same(run["hparams"], point) for point in job.points))
    ]
    return runs.loc[keep]


def complete(job: Job, runs: Frame) -> bool:
    """Return whether the runs include every seed and point of the job."""
    found = [{str(k): v for k, v in run.items()} for run in runs.to_dict("records")]
    return len(studies.recorded(job, found)) == len(job.seeds)


def by(runs: Frame, names: str | list[str]) -> dict[Any, Frame]:
    """Group runs by the values of one or several columns, in the order of the values."""
    return dict(iter(runs.groupby(names)))


def largest(runs: Frame) -> Frame:
    """Return the runs of the largest recorded budget of each variant and data set."""
    if runs.empty:
        return runs
    size = runs["budget"].map(studies.BUDGETS.index)
    return runs[size == size.groupby([runs["variant"], runs["dataset"]]).transform("max")]


def newest(runs: Frame) -> Row:
    """Return the fields of the newest run."""
    return {str(k): v for k, v in runs.sort_values("date").iloc[-1].items()}


def by_seed(runs: Frame) -> "pd.Series[float]":
    """Return the accuracies of the last epoch, in percent, by seed."""
    return runs.set_index("seed")["accuracy"]


class Difference(NamedTuple):
    """A mean difference with the 95 % interval of Student's t.

    Attributes:
      mean: mean of the differences.
      low: lower end of the interval; NaN for a single pair.
      high: upper end of the interval; NaN for a single pair.
      pairs: number of pairs, or of values if a number is subtracted.
    """

    mean: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        text = f"{self.mean:+.2f}"
        return text if np.isnan(self.low) else f"{text} [{self.low:+.2f}, {self.high:+.2f}]"


class Measured(NamedTuple):
    """A number that the `figures.py` of a study computes from its rows.

    Attributes:
      ours: text for the page.
      difference: the number and its interval, which has no width for a count.
    """

    ours: str
    difference: Difference


def exactly(value: float, count: int = 1) -> Difference:
    """Return a number with an interval of no width, for a count."""
    return Difference(value, value, value, count)


def difference(ours: "pd.Series[float]", other: "pd.Series[float] | float") -> Difference:
    """Subtract other accuracies by seed, or a number, and return the mean and its interval.

    Args:
      ours: accuracies by seed.
      other: accuracies by seed, of which the common seeds count; or one number.

    >>> difference(pd.Series([1.0, 2.0, 3.0]), 1.0)
    Difference(mean=1.0, low=-1.484..., high=3.484..., pairs=3)
    """
    if isinstance(other, pd.Series):
        ours, other = ours.align(other, join="inner")
    values = (ours - other).to_numpy(float)
    mean, count = float(values.mean()) if len(values) else np.nan, len(values)
    if count < 2:
        return Difference(mean, np.nan, np.nan, count)
    if np.ptp(values) == 0:  # equal values, for which SciPy warns
        return Difference(mean, mean, mean, count)
    interval = stats.ttest_rel(values, np.zeros(count)).confidence_interval(0.95)
    return Difference(mean, float(interval.low), float(interval.high), count)


def spread(values: "pd.Series[float]") -> str:
    """Format mean ± standard deviation, such as `97.11 ± 0.12`; one value has no deviation."""
    values = values.dropna()
    if values.empty:
        return "-"
    return f"{values.mean():.2f}" + (f" ± {values.std():.2f}" if len(values) > 1 else "")


def seeds(runs: Frame) -> str:
    """Format the seeds as a range such as `0 to 4`, or as a list if one is missing."""
    have = sorted({int(seed) for seed in runs["seed"]})
    if len(have) > 2 and have == list(range(have[0], have[-1] + 1)):
        return f"{have[0]} to {have[-1]}"
    return ", ".join(map(str, have))


def differing(parts: Sequence[Frame], hidden: Iterable[str] = ()) -> list[str]:
    """Return for each experiment the settings in which the given experiments differ.

    Args:
      parts: runs of each experiment.
      hidden: settings that are never named.
    """
    numbers = [
        {k: v for part in run["config"].values() for k, v in part.items()} | run["hparams"]
        for run in map(newest, parts)
    ]
    return [
        ", ".join(
            f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}"
            for k, v in mine.items()
            if k not in hidden and any(k in other and other[k] != v for other in numbers)
        )
        for mine in numbers
    ]


def labels(parts: Sequence[Frame], hidden: Iterable[str] = ()) -> list[str]:
    """Return for each experiment the settings that differ within its variant and budget."""
    names = [(part["variant"].iloc[0], part["budget"].iloc[0]) for part in parts]
    alike: dict[Any, list[Frame]] = {}
    for name, part in zip(names, parts, strict=True):
        alike.setdefault(name, []).append(part)
    texts = {name: iter(differing(like, hidden)) for name, like in alike.items()}
    return [next(texts[name]) for name in names]


# Text for the command line ------------------------------------------------------------------------


def accuracies(found: Sequence[Row]) -> str:
    """Format the last epoch's test accuracy, mean ± s.d. over seeds, a line for each point."""
    parts = [part for part in experiments(frame(found)) if part["accuracy"].notna().any()]
    if not parts:
        return "nothing was trained: no test accuracy"
    lines = []
    for part, text in zip(parts, differing(parts), strict=True):
        count = f" ({len(part)} seeds)" if len(part) > 1 else ""
        lines.append(f"test accuracy {spread(part['accuracy'])} %{count}" + (text and f"  {text}"))
    return "\n".join(lines)


def comparison(study: str, variants: Sequence[str], budget: str) -> str:
    """Format the difference of each variant from the first, by seed, for each point of a sweep.

    Raises:
      UsageError: the study, a variant or the budget is unknown, or there are fewer than two
        variants.
    """
    known = studies.load(study).variants
    names = [*variants] or [*known]
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise UsageError(f"{study} has no variant {unknown!r}.{near(unknown, known)}")
    if len(names) < 2:
        raise UsageError(f"variants must be two variants or more, got {names}. Known: {[*known]}")
    runs, points = of_study(study), {}
    for name in names:
        job = studies.job(study, name, budget)
        points[name] = _points(of_job(job, runs)) if job else {}
    first, *others = names
    lines = [
        f"{study}, budget {budget}: test accuracy of the last epoch (%), and difference from "
        f"{first} in points with its 95 % interval"
    ]
    for name in names:
        lines += [] if points[name] else [f"{name}: no rows"]
    for point, part in points[first].items():
        lines.append(f"{_named(first, point)}: {spread(part['accuracy'])}")
        for name in others:
            alone = len(points[first]) == len(points[name]) == 1
            other = next(iter(points[name].values())) if alone else points[name].get(point)
            if other is not None:
                found = difference(by_seed(other), by_seed(part))
                lines.append(
                    f"{_named(name, point)}: {spread(other['accuracy'])}, "
                    f"{found}, {found.pairs} pairs"
                )
    return "\n".join(lines)


def _points(runs: Frame) -> dict[str, Frame]:
    parts = experiments(runs)
    return dict(zip(differing(parts), parts, strict=True))


def _named(variant: str, point: str) -> str:
    return f"{variant} ({point})" if point else variant
