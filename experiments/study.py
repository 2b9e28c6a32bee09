"""What a study is: a claim, its variants, and how much of each a budget pays for.

Decides nothing about networks or data: a variant's `run` does.
"""

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments import harness
from experiments.settings import UsageError, changed, near

BUDGETS = ("smoke", "cpu", "long", "full")
SMOKE = ("limit=200", "validation=40", "epochs=2", "num_steps=4", "batch_size=20")

Row = dict[str, Any]
Run = Callable[[Any, list[int], Path], Iterator[list[Row]]]


class Plan(NamedTuple):
    """How much of a variant a budget pays for.

    Attributes:
      seeds: how many; they are 0, 1, ...
      changes: `name=value`, as `--set` takes them; all else is the variant's own settings.
    """

    seeds: int
    changes: tuple[str, ...] = ()


class Variant(NamedTuple):
    """One thing that is trained, and how often.

    Attributes:
      tells: what sets it apart, in a few words.
      settings: a frozen dataclass, with at least `data`, `limit`, `validation`, `num_steps`,
        `epochs` and `batch_size`.
      run: `(settings, seeds, folder) -> lists of rows`, one a run, as soon as it ends. Leaves run
        folders that are usable at any time, after an interrupt too.
      plans: for `"cpu"`, what two cores do in minutes, `"long"`, in hours, and `"full"`, the
        paper's own; a budget that is not there cannot afford it. For `"smoke"` where `SMOKE` does
        not fit.
    """

    tells: str
    settings: Any
    run: Run
    plans: Mapping[str, Plan]


class Study(NamedTuple):
    """A claim and the programs that test it.

    Attributes:
      name: of its folder.
      claim: one sentence.
      variants: by name; the first is what runs where none is named.
    """

    name: str
    claim: str
    variants: Mapping[str, Variant]


STUDIES = sorted(p.parent.name for p in harness.HERE.glob("*/study.py"))


def study(name: str) -> Study:
    """The study of that name.

    Raises:
      UsageError: there is none; near misses are named.
    """
    if name not in STUDIES:
        raise UsageError(f"no study is called {name!r}.{near(name, STUDIES)}")
    return importlib.import_module(f"experiments.{name}.study").STUDY


def plan_of(variant: Variant, budget: str) -> Plan | None:
    """What the budget pays for; None where it cannot afford the variant."""
    return variant.plans.get(budget, Plan(1, SMOKE) if budget == "smoke" else None)


class Asked(NamedTuple):
    """Runs of one variant.

    Attributes:
      study: whose.
      variant: by name.
      budget: as the rows tell it.
      settings: of all runs.
      seeds: one a run.
    """

    study: Study
    variant: str
    budget: str
    settings: Any
    seeds: list[int]


def planned(study: Study, variant: str, budget: str) -> Asked | None:
    """All runs of a variant that the budget pays for; None where it cannot afford any."""
    chosen = study.variants[variant]
    plan = plan_of(chosen, budget)
    if plan is None:
        return None
    settings = changed(chosen.settings, plan.changes)
    return Asked(study, variant, budget, settings, list(range(plan.seeds)))


def carry_out(asked: Asked, folder: Path, results: Sequence[Path]) -> Iterator[list[Row]]:
    """The rows that are asked for, run by run: those recorded first, then the missing ones.

    Args:
      asked: which.
      folder: for run folders.
      results: files whose rows need no new run; each new row is appended to the first as soon as
        it is there. Without any, all seeds are run and nothing is recorded.
    """
    done = recorded(asked, results)
    for seed, rows in done.items():
        print(f"seed {seed} is recorded already, at commit {rows[-1]['commit']}")
        yield rows
    missing = [seed for seed in asked.seeds if seed not in done]
    if not missing:
        return
    told = {"study": asked.study.name, "variant": asked.variant, "budget": asked.budget}
    for rows in asked.study.variants[asked.variant].run(asked.settings, missing, folder):
        rows = [told | row for row in rows]
        for row in rows if results else ():
            harness.append_row(results[0], row)
        yield rows


def recorded(asked: Asked, results: Sequence[Path]) -> dict[int, list[Row]]:
    """The rows of each seed asked for that were run with these very settings.

    A run of one network has one row a seed, a sweep one for each of its cells; of rows with the
    same hyper-parameters the newest counts.
    """
    wanted = {"study": asked.study.name, "variant": asked.variant, "budget": asked.budget}
    settings = harness.plain(asked.settings)
    found: dict[int, dict[str, Row]] = {}
    files = [file for file in reversed(results) if file.exists()]  # the first is the newest
    for row in (row for file in files for row in harness.read_rows(file)):
        same = all(row.get(k) == v for k, v in wanted.items())
        if same and "settings" in row and _settings(asked.settings, row) == settings:
            found.setdefault(row["seed"], {})[json.dumps(row["hparams"], sort_keys=True)] = row
    return {seed: [*found[seed].values()] for seed in asked.seeds if seed in found}


def results_file(study: str, data: str, below: Path) -> Path:
    """Where a checkout whose studies lie below that folder records rows on a data set."""
    return below / study / "results" / f"{data}.jsonl"


def rows_of(name: str, below: Path = harness.HERE) -> list[Row]:
    """All recorded rows of a study, oldest first within a file; each tells all settings of now."""
    files = sorted((below / name / "results").glob("*.jsonl"))
    variants = study(name).variants

    def whole(row: Row) -> Row:
        if "settings" not in row or row.get("variant") not in variants:
            return row
        return row | {"settings": _settings(variants[row["variant"]].settings, row)}

    return [whole(row) for file in files for row in harness.read_rows(file)]


def _settings(like: Any, row: Row) -> dict[str, Any]:
    """What the row tells; settings that are younger than it had what are their defaults now."""
    return harness.plain(type(like)()) | row["settings"]
