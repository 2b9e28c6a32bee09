"""A sweep against the same runs one after another: `python -m experiments.benchmarks.sweeps`.

The digits network trains for one epoch at several widths and seeds: all cells in one program by
`sj.sweep`, on one device and spread over two; all at once by `jax.vmap`, as a sweep runs on a GPU;
and each alone by one compiled program, which all of them share. All compute the same.
"""

import functools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import stbp_jax as sj
from experiments.benchmarks import tables
from experiments.engine import models, provenance
from experiments.engine import rows as result_rows
from experiments.engine.config import Config
from experiments.studies.digits.study import FULL

SEEDS = 2
CELLS = (4, 16, 64)
ROUNDS = 3
DEVICES = 2
RESULTS = tables.HERE / "results" / "sweeps"


def main(cells: tuple[int, ...] = CELLS, config: Config = FULL, rounds: int = ROUNDS) -> list[dict]:
    """Time sweeps of some numbers of cells; return their rows."""
    train_set, test_set = sj.data.load("digits")
    build = models.build(config)
    run = sj.make_train(build, sj.TrainConfig(epochs=1, batch_size=config.train.batch_size))
    keys = jax.random.split(jax.random.key(0), SEEDS)
    hparams = models.hparams(config)
    mesh = jax.make_mesh((DEVICES,), ("cells",), axis_types=(AxisType.Auto,))
    where = NamedSharding(mesh, PartitionSpec("cells"))
    rows = []
    for count in cells:
        widths = np.linspace(0.5, 2.0, count // SEEDS, dtype=np.float32)
        points = {name: np.full_like(widths, value) for name, value in hparams.items()}
        points["width"] = widths
        alone = jax.jit(run)
        over_seeds = jax.vmap(lambda *cell: run(*cell)[1], (0, None, None, None))
        at_once = jax.jit(jax.vmap(over_seeds, (None, 0, None, None)))

        def one_by_one(alone: Any = alone, points: Any = points, widths: Any = widths) -> Any:
            return [
                [
                    alone(key, {n: v[i] for n, v in points.items()}, train_set, test_set)[1]
                    for key in keys
                ]
                for i in range(len(widths))
            ]

        spread = jax.device_put(points, where) if len(widths) % DEVICES == 0 else points
        sets = train_set, test_set
        functions: dict[str, Callable[[], Any]] = {
            "sweep": functools.partial(sj.sweep, run, keys, points, *sets),
            "spread": functools.partial(sj.sweep, run, keys, spread, *sets),
            "at once": functools.partial(at_once, keys, points, *sets),
            "alone": one_by_one,
        }
        first = {}
        for name, function in functions.items():
            jax.clear_caches()  # each compiles
            first[name] = _timed(function)
        losses = np.array([[history.loss[-1] for history in cell] for cell in first["alone"][1]])
        for name in ("sweep", "spread", "at once"):
            np.testing.assert_allclose(first[name][1].loss[..., -1], losses, rtol=1e-2)
        samples: dict[str, list[float]] = {name: [] for name in functions}
        for turn in range(rounds + 1):
            for name, function in functions.items():
                seconds, _ = _timed(function)
                if turn > 0:  # the first turn compiles again
                    samples[name].append(seconds)
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
    """How many times as fast the sweeps are, without and with compilation."""
    medians = {name: statistics.median(s) for name, s in row["samples_seconds"].items()}
    words = [f"{row['cells']} cells, {medians['alone']:.2f} s one by one"]
    places = {"sweep": "one device", "spread": f"{DEVICES} devices", "at once": "all at once"}
    for name, where in places.items():
        ratio, whole = (d["alone"] / d[name] for d in (medians, row["first_seconds"]))
        words.append(f"{where} {ratio:.2f} times as fast ({whole:.2f} with compilation)")
    return "; ".join(words)


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", DEVICES)
    for row in main():
        result_rows.append(RESULTS / "cpu.jsonl", row)
    sys.exit(0)
