"""Measures of a training step: time in turn with a baseline, memory, and operations.

Both steps are compiled in one process and timed in turn, so that a change of the machine's load
meets both. A turn has one step of the spiking network and T steps of the baseline: they take about
equally long, and the goal is that the one step takes no longer.
"""

import functools
import itertools
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

import stbp_jax as sj
from experiments.benchmarks import timing
from experiments.engine import models
from experiments.engine.config import Config
from experiments.engine.rows import Row
from experiments.engine.studies import Sets
from stbp_jax.training import Build


def measured(
    builds: Mapping[str, Build], config: Config, sets: Sets, *, seed: int, turns: int
) -> Row:
    """Train two networks for one epoch, then measure a training step of both.

    Args:
      builds: of the networks `spiking` and `ann`.
      config: of both.
      sets: training and test images; the test images serve to count operations.
      seed: of initial weights and input spikes.
      turns: each with a timed step of the spiking network, and T timed steps of the other.

    Returns:
      Fields of a row. By the name of the network: `seconds` of a step in each turn,
      `temp_bytes` (memory that XLA plans beside weights, optimizer state and batch), and
      `step_compile_seconds`. Of the spiking network, by layer: `firing_rate` and `operations`, the
      additions for one example.
    """
    train, test = sets
    train_config = sj.TrainConfig(config.train.epochs, config.train.batch_size)
    count = sj.training.num_updates(train_config, train)
    hparams, key = models.hparams(config), jax.random.key(seed)
    batches = _batches(train, config.train.batch_size)
    programs, running, params = {}, {}, {}
    for name, build in builds.items():
        pipeline = build(hparams, count)
        state = sj.training.init_state(build, train_config, key, hparams, train)
        step = sj.training.make_train_step(sj.training.loss_of(pipeline), pipeline.optimizer)
        programs[name] = timing.compiled(jax.jit(step, donate_argnums=0), state, batches[0])
        running[name] = _updates(programs[name], state, batches)
        trained = next(itertools.islice(running[name], count - 1, None))
        params[name] = jax.tree.map(jnp.copy, trained.params)  # the next update donates them
    spiking = builds["spiking"](hparams, count)
    found = sj.evaluate(spiking, params["spiking"], jax.random.fold_in(key, 1), *test)
    return {
        "seconds": timed_in_turn(running, {"spiking": 1, "ann": config.data.num_steps}, turns),
        "temp_bytes": {name: program.temp_bytes for name, program in programs.items()},
        "step_compile_seconds": {
            name: round(p.trace_seconds + p.compile_seconds, 2) for name, p in programs.items()
        },
        "firing_rate": found.firing_rate,
        "operations": found.operations,
    }


def _batches(train: Any, size: int) -> list[Any]:
    """Return the batches of a set on the device, without the examples that are left over."""
    starts = range(0, len(train.labels) - size + 1, size)
    return [tuple(jnp.asarray(array[n : n + size]) for array in train) for n in starts]


def _updates(
    program: timing.Compiled, state: sj.TrainState, batches: list[Any]
) -> Iterator[sj.TrainState]:
    """Yield the state after each update, when it is ready; the batches repeat."""
    for batch in itertools.cycle(batches):
        state, _ = program.call(state, batch)
        yield jax.block_until_ready(state)


def timed_in_turn(
    running: Mapping[str, Iterator[Any]], counts: Mapping[str, int], turns: int
) -> dict[str, list[float]]:
    """Time some items of each iterator in every turn, after an item that is not timed.

    Args:
      running: endless iterators by name.
      counts: number of timed items in a turn, by name.
      turns: number of turns.

    Returns:
      Mean seconds of an item in each turn, by name.
    """
    found: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(turns):
        for name, iterator in running.items():
            seconds = timing.sample(functools.partial(_advance, iterator), counts[name])
            found[name].append(statistics.fmean(seconds))
    return found


def _advance(iterator: Iterator[Any]) -> None:
    next(iterator)
