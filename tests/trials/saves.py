"""Time the checkpoints of two networks with the state of Adam: `python tests/trials/saves.py`.

A run saves at most every five minutes, so that a save of 6 seconds costs 2 % of it. The first save
imports Orbax, and is timed apart.
"""

import statistics
import tempfile
import time
from pathlib import Path

import jax
import optax
from record import record

import stbp_jax as sj
from experiments.engine import checkpoints, runs

SAVES = 20
NETWORKS = {
    "784-400-10": (
        sj.serial(sj.flatten(), sj.dense(400, sj.lif()), sj.dense(10, sj.lif())),
        (28, 28, 1),
    ),
    "CIFAR-10, 128C3-AP2-256C3-AP2-1024-10": (
        sj.serial(
            sj.conv(128, 3, sj.lif(), padding="same"),
            sj.avg_pool(2),
            sj.conv(256, 3, sj.lif(), padding="same"),
            sj.avg_pool(2),
            sj.flatten(),
            sj.dense(1024, sj.lif()),
            sj.dense(10, sj.lif()),
        ),
        (32, 32, 3),
    ),
}


def main() -> None:
    """Save, and record a row for each network."""
    longest = 0.02 * 60 * runs.SAVE_MINUTES
    for name, (network, shape) in NETWORKS.items():
        params, _ = network.init(jax.random.key(0), shape)
        state = (params, optax.adam(1e-3).init(params), jax.random.key(1))
        jax.block_until_ready(state[:2])
        seconds = []
        with tempfile.TemporaryDirectory() as folder:
            with checkpoints.opened(Path(folder), {}) as saved:
                for epoch in range(1, SAVES + 2):
                    began = time.perf_counter()
                    saved.save(epoch, state, None)
                    seconds.append(time.perf_counter() - began)
                epoch, found = saved.restore(state)
            assert epoch == SAVES + 1
        first, *rest = seconds
        record(
            f"seconds of a save, {name}",
            f"{longest:g} s, 2 % of the {runs.SAVE_MINUTES:g} minutes between two saves",
            tries=SAVES,
            failures=sum(one > longest for one in rest),
            numbers=sum(leaf.size for leaf in jax.tree.leaves(state[:2])),
            first_s=round(first, 2),
            median_s=round(statistics.median(rest), 2),
            longest_s=round(max(rest), 2),
            percent_of_a_run=round(100 * statistics.median(rest) / (60 * runs.SAVE_MINUTES), 2),
        )


if __name__ == "__main__":
    main()
