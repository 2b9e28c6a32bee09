"""Run folders as the pages read them: metrics of each point and seed, and what diverged."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import stbp_jax as sj
from experiments.engine import folders, measurements, rows, runs, studies
from experiments.engine.config import UsageError
from experiments.engine.rows import Row
from experiments.engine.studies import Job


class Cell(NamedTuple):
    """The metrics of one point and seed.

    Attributes:
      run: its folder.
      hparams: its point; empty for a single run, whose hyper-parameters are in the config.
      seed: its seed.
      place: `()` for a single run, and `(h, s)` in a sweep.
    """

    run: "RunFolder"
    hparams: Row
    seed: int
    place: tuple[int, ...]

    def series(self, name: str) -> np.ndarray:
        """Return a metric over the epochs, `[E]` or `[E, L]`; empty if it is missing."""
        epochs = self.run.epochs
        if not epochs or epochs[0].get(name) is None:
            return np.zeros(0)
        return np.array([np.asarray(epoch[name], float)[self.place] for epoch in epochs])

    @property
    def accuracy(self) -> float:
        """Test accuracy of the last epoch in percent; NaN without metrics."""
        found = self.series("test_accuracy")
        return 100 * float(found[-1]) if len(found) else float("nan")

    @property
    def diverged(self) -> bool:
        """Whether the last epoch has an update or a loss that is not finite, as in `summarize`."""
        lost, loss = self.series("non_finite_updates"), self.series("loss")
        return bool(len(loss)) and (lost[-1] > 0 or not np.isfinite(loss[-1]))

    @property
    def settings(self) -> Row:
        """All settings but the seed, and where the run took place, by their names."""
        run = self.run
        config = {k: v for part in run.job.config.asdict().values() for k, v in part.items()}
        source = {name: run.source.get(name) for name in ("device", "jax", "commit")}
        return run.job.label | config | self.hparams | source

    def findings(self) -> list[sj.training.Finding]:
        """Return what keeps the network from learning; empty before the first epoch."""
        epochs = self.run.epochs
        return sj.training.diagnose(runs.history(epochs, self.place)) if epochs else []


class RunFolder(NamedTuple):
    """The contents of a run folder.

    Attributes:
      path: of the folder.
      job: the requested runs.
      source: device, versions and commit.
      epochs: lines of metrics.
      rows: result rows; empty if the run has not ended.
      measured: arrays of `measurements.measure`; empty for a sweep.
    """

    path: Path
    job: Job
    source: Row
    epochs: list[Row]
    rows: list[Row]
    measured: measurements.Arrays

    @property
    def is_single(self) -> bool:
        """Whether the run has one point and one seed."""
        return len(self.job.points or [{}]) == len(self.job.seeds) == 1

    @property
    def name(self) -> str:
        """Study and variant."""
        return f"{self.job.study}/{self.job.variant}"

    @property
    def about(self) -> str:
        """The claim of the study and the variant; empty if the study is unknown."""
        if self.job.study not in studies.NAMES:
            return ""
        study = studies.load(self.job.study)
        variant = study.variants.get(self.job.variant)
        return f"{study.claim} {self.job.variant}: {variant.about}." if variant else study.claim

    def cells(self) -> list[Cell]:
        """Return all points and seeds, ordered by point."""
        points = self.job.points or [{}]
        return [
            Cell(self, dict(point), seed, () if self.is_single else (h, s))
            for h, point in enumerate(points)
            for s, seed in enumerate(self.job.seeds)
        ]


def read(path: Path) -> RunFolder:
    """Read a run folder.

    Raises:
      UsageError: the folder holds no job, or it cannot be read.
    """
    job = folders.read_job(path)
    source = json.loads((path / folders.JOB).read_text()).get("source", {})
    epochs, made = (list(rows.read_lines(path / name)) for name in (folders.METRICS, folders.ROW))
    return RunFolder(path, job, source, epochs, made, measurements.load(path))


def is_run(path: Path) -> bool:
    """Return whether a path is a folder with a run in it, or in a folder below."""
    return path.is_dir() and next(path.rglob(folders.JOB), None) is not None


def found_in(paths: Sequence[Path]) -> list[RunFolder]:
    """Read run folders, and the run folders below folders such as that of several seeds.

    Raises:
      UsageError: a path holds no run.
    """
    found = []
    for path in paths:
        below = sorted(one.parent for one in path.rglob(folders.JOB))
        if not below:
            raise UsageError(f"{path} must be the folder of a run: it holds no {folders.JOB}")
        found += [read(one) for one in below]
    return found
