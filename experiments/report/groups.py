"""Rows of one experiment put together over its seeds, and the statistics that pages show.

Rows tell experiments apart by the fields of `SAME`, by `hparams`, by `settings` and by the machine,
and by nothing else: of two rows that agree there and have one seed, the newer counts. How many
cores of a machine were free changes times alone.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from experiments import harness, statistics
from experiments.study import Asked, Row

# What makes two rows the same experiment with another seed, next to hparams and settings.
SAME = (
    "variant",
    "budget",
    "dataset",
    "network",
    "num_steps",
    "epochs",
    "batch_size",
    "num_train",
)


def machine(row: Row) -> str:
    """The device without its cores: `cpu: AMD EPYC, 1 of 2 cores` is `cpu: AMD EPYC`."""
    return str(row.get("device", "")).partition(",")[0]


class Group(NamedTuple):
    """One experiment: the newest row of each seed, by seed."""

    rows: list[Row]

    @property
    def newest(self) -> Row:
        """What all rows share is read from this one."""
        return max(self.rows, key=lambda row: row.get("date", ""))

    def values(self, name: str | Callable[[Row], float | None]) -> np.ndarray | None:
        """`[S]`, one a seed; None where a row lacks it."""
        get = name if callable(name) else lambda row: row.get(name)
        found = [get(row) for row in self.rows]
        return None if any(value is None for value in found) else np.array(found, np.float64)


def results(rows: Iterable[Row]) -> list[Row]:
    """All rows but those of smoke runs, which are no results."""
    return [row for row in rows if row.get("budget") != "smoke"]


def groups(rows: Iterable[Row]) -> list[Group]:
    """Rows by experiment, in the order of their first rows; smoke rows are left out."""
    found: dict[str, dict[int, Row]] = {}
    for row in results(rows):
        same = [row.get(name) for name in (*SAME, "hparams", "settings")]
        same.append(machine(row))
        seeds = found.setdefault(json.dumps(same, sort_keys=True), {})
        old = seeds.get(row["seed"])
        if old is None or row.get("date", "") >= old.get("date", ""):
            seeds[row["seed"]] = row
    return [Group([seeds[seed] for seed in sorted(seeds)]) for seeds in found.values()]


def of_plan(asked: Asked, among: list[Group]) -> list[Group]:
    """The experiments that the plan asks for, the newest on each machine.

    Rows from before rows told all settings count where what they tell agrees.
    """
    plan = harness.plain(asked.settings)
    found: dict[str, Group] = {}
    for group in among:
        row = group.newest
        told = row.get("settings") or {k: row.get(k) for k in ("num_steps", "epochs", "batch_size")}
        mine = row.get("variant") == asked.variant and row.get("budget") == asked.budget
        if mine and all(plan.get(k) == v for k, v in told.items()):
            key = json.dumps([machine(row), row.get("hparams")], sort_keys=True)
            old = found.get(key)
            if old is None or row.get("date", "") >= old.newest.get("date", ""):
                found[key] = group
    return list(found.values())


def spread(values: np.ndarray | None, scale: float = 100) -> str:
    """`mean ± s.d.`, of percent where the values are fractions; `-` without values."""
    if values is None:
        return "-"
    mean = f"{scale * values.mean():.2f}"
    return mean if len(values) == 1 else f"{mean} ± {scale * values.std(ddof=1):.2f}"


def paired(ours: Group, than: Group, name: str = "test_accuracy_last") -> np.ndarray:
    """`[S]` differences in points over the seeds that both have."""
    one, other = (
        {row["seed"]: row[name] for row in group.rows if row.get(name) is not None}
        for group in (ours, than)
    )
    return 100 * np.array([one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())])


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """The mean's 95 % interval by Student's t; None for a single value."""
    if len(values) < 2:
        return None
    found = statistics.paired(np.zeros(len(values)), values)
    return found.low, found.high


def operations(row: Row) -> float | None:
    """Synaptic operations for one image: additions where it spikes, else all products."""
    counted = row.get("operations")
    return float(sum(counted)) if counted else row.get("multiply_accumulates")


def told_apart(among: list[Group]) -> list[str]:
    """For each experiment, the settings in which those of its variant and budget differ."""
    shown = {"data", "hidden", "classes", "num_steps", "epochs", "batch_size", "limit"}

    def numbers(row: Row) -> dict[str, Any]:
        given = {**row.get("settings", {}), **row.get("hparams", {})}
        return {k: v for k, v in given.items() if k not in shown}

    lines = []
    for group in among:
        row = group.newest
        like = [g.newest for g in among if _name(g.newest) == _name(row)]
        mine = numbers(row)
        differ = [
            k for k in mine if any(k in (o := numbers(other)) and o[k] != mine[k] for other in like)
        ]
        lines.append(", ".join(f"{k}={mine[k]}" for k in differ))
    return lines


def _name(row: Row) -> tuple[Any, Any]:
    return row.get("variant"), row.get("budget")
