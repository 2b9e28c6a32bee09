"""Studies: each has a claim, variants that test it, and a plan for each budget."""

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

# Seconds; minutes on two cores; hours on two cores; the paper's protocol.
BUDGETS = ("smoke", "quick", "long", "full")
SMOKE = {"limit": 200, "validation": 40, "epochs": 2, "num_steps": 4, "batch_size": 20}

Sets = tuple[Any, Any]  # training set and test set


class Plan(NamedTuple):
    """The runs of a variant at one budget.

    Attributes:
      seeds: number of seeds; the seeds are 0, 1, ...
      config: all settings.
      points: hyper-parameters of each point of a sweep; None for a single run, whose
        hyper-parameters come from the config.
    """

    seeds: int
    config: Config
    points: list[HParams] | None = None


class Variant(NamedTuple):
    """One network or method of a study.

    Attributes:
      about: a short description.
      plans: plan of each budget; the variant does not run at a missing budget. A missing smoke plan
        is a small version of the first plan.
      load: `(config, seed) -> (train, test)`, each a `Dataset` or `Recordings`.
      build: `config -> Build`; `sj.make_train` takes the `Build`.
      extend: optional, `(job, folder, rows) -> rows`: measures or draws more after training. The
        folder holds the parameters, and the rows are not yet written.
      run: optional, `(job, folder, until) -> rows`: replaces `runs.train` if nothing is trained.
    """

    about: str
    plans: Mapping[str, Plan]
    load: Callable[[Config, int], Sets]
    build: Callable[[Config], Build]
    extend: "Callable[[Job, Path, list[Row]], list[Row]] | None" = None
    run: "Callable[[Job, Path, float], list[Row]] | None" = None


class Study(NamedTuple):
    """The variants of one `study.py`, and the title and claim from its docstring.

    Attributes:
      name: of the study's folder.
      title: first line of the docstring.
      claim: the statement that the study tests.
      variants: by name; the first is the default of `run`.
    """

    name: str
    title: str
    claim: str
    variants: Mapping[str, Variant]


class Job(NamedTuple):
    """Runs of one variant that are requested or missing.

    Attributes:
      study: name of the study.
      variant: name of the variant.
      budget: one of `BUDGETS`.
      seeds: the seeds themselves.
      config: all settings.
      points: as in `Plan`.
    """

    study: str
    variant: str
    budget: str
    seeds: list[int]
    config: Config
    points: list[HParams] | None

    @property
    def chosen(self) -> Variant:
        """The variant with that name.

        Raises:
          UsageError: a name is unknown; the message suggests similar names.
        """
        variants = load(self.study).variants
        if self.variant not in variants:
            raise UsageError(
                f"{self.study} has no variant {self.variant!r}.{near(self.variant, variants)}"
            )
        return variants[self.variant]

    @property
    def label(self) -> Row:
        """The fields that identify the job in its rows."""
        return {"study": self.study, "variant": self.variant, "budget": self.budget}


NAMES = sorted(path.parent.name for path in rows.STUDIES.glob("*/study.py"))


def load(name: str) -> Study:
    """Load the study with that name.

    Raises:
      UsageError: the name is unknown; the message suggests similar names.
    """
    if name not in NAMES:
        raise UsageError(f"no study is called {name!r}.{near(name, NAMES)}")
    module = importlib.import_module(f"experiments.studies.{name}.study")
    text = module.__doc__ or ""
    title = text.partition("\n")[0].removesuffix(".")
    claim = re.search(r"^Claim: +(.*?)(?=\n[A-Z]\w+: |\n\n|\Z)", text, re.S | re.M)
    return Study(name, title, " ".join(claim[1].split()) if claim else "", module.VARIANTS)


def plan(variant: Variant, budget: str) -> Plan | None:
    """Return the plan of a variant at a budget, or None if the variant does not run at it.

    Raises:
      UsageError: the budget is unknown.
    """
    if budget not in BUDGETS:
        raise UsageError(f"budget must be one of {', '.join(BUDGETS)}, got {budget!r}")
    if budget == "smoke" and "smoke" not in variant.plans:
        first = next(iter(variant.plans.values()))
        return Plan(1, first.config.but(**SMOKE), first.points)
    return variant.plans.get(budget)


def job(name: str, variant: str, budget: str) -> Job | None:
    """Return all runs of a variant at a budget, or None if the variant does not run at it.

    Args:
      name: of the study.
      variant: name of the variant.
      budget: one of `BUDGETS`.

    Raises:
      UsageError: a name is unknown; the message suggests similar names.
    """
    study = load(name)
    if variant not in study.variants:
        raise UsageError(f"{name} has no variant {variant!r}.{near(variant, study.variants)}")
    found = plan(study.variants[variant], budget)
    if found is None:
        return None
    return Job(name, variant, budget, list(range(found.seeds)), found.config, found.points)


def programs(job: Job) -> list[Job]:
    """Split a job into one job for each compiled program.

    A sweep trains all its seeds in one program; without a sweep each seed runs by itself.
    """
    return [job] if job.points else [job._replace(seeds=[seed]) for seed in job.seeds]


def recorded(job: Job, among: Sequence[Row]) -> list[int]:
    """Return the seeds of a job that have rows.

    Args:
      job: the requested runs.
      among: recorded rows. A row counts if its study, variant, budget and config are the job's; a
        seed of a sweep needs a row for every point.
    """
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
