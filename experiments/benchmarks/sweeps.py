"""A sweep against the same runs one after another: `python -m experiments.benchmarks.sweeps`.

The digits network trains for one epoch at several widths and seeds: all cells in one program by
`sj.sweep`, and each alone by one compiled program, which all of them share. Both compute the same.
"""

import functools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import stbp_jax as sj
from experiments.benchmarks import tables
from experiments.engine import models, provenance
from experiments.engine import rows as result_rows
from experiments.engine.config import Config
from experiments.studies.digits.study import FULL

SEEDS = 4
CELLS = (4, 16, 64)
ROUNDS = 5
RESULTS = tables.HERE / "results" / "sweeps"


def main(cells: tuple[int, ...] = CELLS, config: Config = FULL, rounds: int = ROUNDS) -> list[dict]:
    """Time sweeps of some numbers of cells; return their rows."""
    train_set, test_set = sj.data.load("digits")
    build = models.build(config)
    run = sj.make_train(build, sj.TrainConfig(epochs=1, batch_size=config.train.batch_size))
    keys = jax.random.split(jax.random.key(0), SEEDS)
    hparams = models.hparams(config)
    rows = []
    for count in cells:
        widths = np.linspace(0.5, 2.0, count // SEEDS, dtype=np.float32)
        points = {name: np.full_like(widths, value) for name, value in hparams.items()}
        points["width"] = widths
        alone = jax.jit(run)

        def one_by_one(alone: Any = alone, points: Any = points, widths: Any = widths) -> Any:
            return [
                [
                    alone(key, {n: v[i] for n, v in points.items()}, train_set, test_set)[1]
                    for key in keys
                ]
                for i in range(len(widths))
            ]

        together = functools.partial(sj.sweep, run, keys, points, train_set, test_set)
        first = {"sweep": _timed(together), "alone": _timed(one_by_one)}
        losses = np.array([[history.loss[-1] for history in cell] for cell in first["alone"][1]])
        np.testing.assert_allclose(first["sweep"][1].loss[..., -1], losses, rtol=1e-2)
        samples: dict[str, list[float]] = {"sweep": [], "alone": []}
        for _ in range(rounds):
            for name, function in (("sweep", together), ("alone", one_by_one)):
                samples[name].append(_timed(function)[0])
        rows.append(
            {
                "workload": "digits-64-400-10-T30-B50, one epoch",
                "cells": count,
                "samples_seconds": samples,
                "first_seconds": {name: seconds for name, (seconds, _) in first.items()},
                **provenance.provenance(),
            }
        )
        print(line(rows[-1]), flush=True)
    return rows


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = jax.block_until_ready(function())
    return time.perf_counter() - start, result


def line(row: dict) -> str:
    """How many times as fast the sweep is, without and with compilation."""
    medians = {name: statistics.median(s) for name, s in row["samples_seconds"].items()}
    ratio, with_compiling = (d["alone"] / d["sweep"] for d in (medians, row["first_seconds"]))
    return (
        f"{row['cells']} cells: {medians['sweep']:.2f} s in one program, {medians['alone']:.2f} s "
        f"one by one, {ratio:.2f} times as fast; with compilation {with_compiling:.2f} times"
    )


if __name__ == "__main__":
    for row in main():
        result_rows.append(RESULTS / "cpu.jsonl", row)
    sys.exit(0)
