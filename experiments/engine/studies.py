"""Studies: a claim, the variants that test it, and how much of each a budget pays for."""

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.engine import rows
from experiments.engine.config import Config, UsageError, near
from experiments.engine.models import HParams
from experiments.engine.rows import Row
from stbp_jax.training import Build

# Seconds; minutes on two cores; hours on two cores; as the paper ran it.
BUDGETS = ("smoke", "quick", "long", "full")
SMOKE = {"limit": 200, "validation": 40, "epochs": 2, "num_steps": 4, "batch_size": 20}

Sets = tuple[Any, Any]  # to train and to test on


class Plan(NamedTuple):
    """How much of a variant a budget pays for.

    Attributes:
      seeds: how many; they are 0, 1, ...
      config: all numbers.
      points: hyper-parameters of each point of a sweep; None for one run with the config's.
    """

    seeds: int
    config: Config
    points: list[HParams] | None = None


class Variant(NamedTuple):
    """One thing that is trained or measured.

    Attributes:
      about: what sets it apart, in a few words.
      plans: by budget; a budget that is not there cannot pay for the variant. The smoke plan is
        made of the first plan where it is not given.
      load: `(config, seed) -> (train, test)`, each a `Dataset` or `Recordings`.
      build: `config -> Build`, as `sj.make_train` takes it.
      extend: `(job, folder, rows) -> rows`, what is measured or drawn when a run has trained; the
        folder holds its parameters, and the rows are not yet written.
      run: `(job, folder, until) -> rows`, in place of `runs.train`, where nothing is trained.
    """

    about: str
    plans: Mapping[str, Plan]
    load: Callable[[Config, int], Sets]
    build: Callable[[Config], Build]
    extend: "Callable[[Job, Path, list[Row]], list[Row]] | None" = None
    run: "Callable[[Job, Path, float], list[Row]] | None" = None


class Study(NamedTuple):
    """The variants of one `study.py`, and what its docstring says.

    Attributes:
      name: of its folder.
      title: the table or figure of the paper.
      claim: what is put to the test.
      variants: by name; the first runs where none is named.
    """

    name: str
    title: str
    claim: str
    variants: Mapping[str, Variant]


class Job(NamedTuple):
    """Runs of one variant: what is asked for, or what is missing of it."""

    study: str
    variant: str
    budget: str
    seeds: list[int]
    config: Config
    points: list[HParams] | None

    @property
    def chosen(self) -> Variant:
        """The variant itself."""
        return load(self.study).variants[self.variant]

    @property
    def label(self) -> Row:
        """The fields by which rows of this job are found again."""
        return {"study": self.study, "variant": self.variant, "budget": self.budget}


NAMES = sorted(path.parent.name for path in rows.STUDIES.glob("*/study.py"))


def load(name: str) -> Study:
    """The study of that name.

    Raises:
      UsageError: there is none; near misses are named.
    """
    if name not in NAMES:
        raise UsageError(f"no study is called {name!r}.{near(name, NAMES)}")
    module = importlib.import_module(f"experiments.studies.{name}.study")
    text = module.__doc__ or ""
    title = text.partition("\n")[0].removesuffix(".")
    claim = re.search(r"^Claim: +(.*?)(?=\n[A-Z]\w+: |\n\n|\Z)", text, re.S | re.M)
    return Study(name, title, " ".join(claim[1].split()) if claim else "", module.VARIANTS)


def plan(variant: Variant, budget: str) -> Plan | None:
    """What the budget pays for; None where it cannot pay for the variant."""
    if budget not in BUDGETS:
        raise UsageError(f"budget must be one of {', '.join(BUDGETS)}, got {budget!r}")
    if budget == "smoke" and "smoke" not in variant.plans:
        first = next(iter(variant.plans.values()))
        return Plan(1, first.config.but(**SMOKE), first.points)
    return variant.plans.get(budget)


def job(name: str, variant: str, budget: str) -> Job | None:
    """All runs of a variant that the budget pays for; None where it cannot pay for any.

    Raises:
      UsageError: unknown names; near misses are named.
    """
    study = load(name)
    if variant not in study.variants:
        raise UsageError(f"{name} has no variant {variant!r}.{near(variant, study.variants)}")
    found = plan(study.variants[variant], budget)
    if found is None:
        return None
    return Job(name, variant, budget, list(range(found.seeds)), found.config, found.points)


def programs(job: Job) -> list[Job]:
    """The job as one job a program: a sweep's is one, of lone runs each seed has its own."""
    return [job] if job.points else [job._replace(seeds=[seed]) for seed in job.seeds]


def recorded(job: Job, among: Sequence[Row]) -> list[int]:
    """The job's seeds whose rows are among these: same config, and every point of a sweep."""
    mine = [
        row
        for row in among
        if all(row.get(k) == v for k, v in job.label.items())
        and rows.same(row["config"], job.config.asdict())
    ]
    done = []
    for seed in job.seeds:
        have = [row["hparams"] for row in mine if row["seed"] == seed]
        points = job.points or have[:1]
        if have and all(any(rows.same(point, one) for one in have) for point in points):
            done.append(seed)
    return done
