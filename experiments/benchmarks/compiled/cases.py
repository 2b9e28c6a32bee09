"""The programs that are compiled: workloads of the benchmarks, a sweep, a stream, eight devices."""

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec

import stbp_jax as sj
from experiments.benchmarks import ours, shapes, variants

POINTS, SEEDS = 8, 8  # of the sweep
SENSOR = (34, 34, 2)  # of the stream
VARIANTS = (
    variants.DEFAULT,
    "stbp_jax chunked",
    "stbp_jax bfloat16",
    "stbp_jax lif_scan",
)
PEERS = {"Spyx": "peers_spyx", "jaxpike": "peers_jaxpike"}


class Case(NamedTuple):
    """One program.

    Attributes:
      workload: what it computes.
      implementation: by whom.
      task: makes the function and its arguments; ImportError if a peer is not installed.
      flops: operations of its products, on all devices.
      devices: over how many it is sharded.
      specs: a `PartitionSpec` for each argument or part of it, if they are sharded.
    """

    workload: str
    implementation: str
    task: Callable[[], ours.Task]
    flops: float
    devices: int = 1
    specs: tuple[Any, ...] | None = None


def cases() -> Iterator[Case]:
    """All programs, the default of each workload first."""
    for name, workload in shapes.WORKLOADS.items():
        if name in shapes.CUDA_ONLY:
            continue
        work = shapes.flops(workload)
        fitting = variants.fitting(workload, cuda=False)
        for variant in (v for v in VARIANTS if v in fitting):
            yield Case(name, variant, partial(_ours, workload, variant), work)
        yield Case(name, "bare lax.scan", partial(_bare, workload), work)
        for peer, module in PEERS.items():
            yield Case(name, peer, partial(_peer, workload, module), work)

    step = shapes.WORKLOADS["step-784-400-10-T30-B100"]
    assert isinstance(step, shapes.Step)
    name = f"sweep-{POINTS}x{SEEDS}-784-400-10-T30-B100"
    cells = POINTS * SEEDS * shapes.flops(step)
    yield Case(name, variants.DEFAULT, partial(sweep, step), cells)
    yield Case("stream-2312-800-10", variants.DEFAULT, stream, 2.0 * (2312 * 800 + 800 * 10))

    over: Any = PartitionSpec("data")
    wide = step._replace(batch=8 * step.batch)
    yield Case(
        "step-784-400-10-T30-B800",
        variants.DEFAULT,
        partial(_ours, wide, variants.DEFAULT),
        shapes.flops(wide),
        8,
        (PartitionSpec(), over),
    )
    every: Any = PartitionSpec()
    specs = (over, sj.TrainState(over, over, every, every), every)
    yield Case(name, variants.DEFAULT, partial(sweep, step), cells, 8, specs)


def _ours(workload: shapes.Workload, name: str) -> ours.Task:
    variant = variants.VARIANTS[name]
    return ours.whole(workload, variant.forward(workload), variant.encode)


def _bare(workload: shapes.Workload) -> ours.Task:
    return ours.whole(workload, ours.bare(workload), ours.plain_bernoulli)


def _peer(workload: shapes.Workload, module: str) -> ours.Task:
    found = importlib.import_module(f"experiments.benchmarks.{module}").task(workload)
    return ours.Task(*found)


def sweep(workload: shapes.Step) -> ours.Task:
    """One update of all cells: `POINTS` widths with `SEEDS` seeds, as `sweep` runs it.

    Cells with the same seed have the same images and input spikes.
    """
    optimizer = optax.adam(shapes.LEARNING_RATE)

    def cell(width: jax.Array, state: sj.TrainState, batch: tuple) -> tuple[sj.TrainState, Any]:
        neuron = sj.lif(decay=workload.decay, surrogate=sj.rectangular(width))
        network = sj.serial(sj.flatten(), sj.dense(400, neuron), sj.dense(10, neuron))

        def loss_fn(params: Any, key: jax.Array, batch: tuple) -> tuple[jax.Array, None]:
            spikes = sj.bernoulli(key, batch[0], workload.steps)
            scores = sj.rate(sj.apply(network, params, spikes)[1])
            return jnp.mean(sj.half_squared_error(scores, batch[1])), None

        return sj.training.make_train_step(loss_fn, optimizer)(state, batch)

    def init(key: jax.Array) -> sj.TrainState:
        neuron = sj.lif()
        network = sj.serial(sj.flatten(), sj.dense(400, neuron), sj.dense(10, neuron))
        params, _ = network.init(key, workload.image)
        return sj.TrainState(params, optimizer.init(params), key, jnp.int32(0))

    keys = jax.random.split(jax.random.key(0), SEEDS)
    of_seeds = jax.vmap(init)(keys)
    params, opt_state = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (POINTS, *x.shape)), (of_seeds.params, of_seeds.opt_state)
    )
    states = sj.TrainState(params, opt_state, of_seeds.key, of_seeds.step)
    by_seed = jax.vmap(cell, in_axes=(None, 0, None))
    # Axes of `vmap` in the form of a state.
    axes: Any = sj.TrainState(0, 0, None, None)  # type: ignore[arg-type]
    by_point = jax.vmap(by_seed, in_axes=(0, axes, None))
    images, labels = map(jnp.asarray, shapes.images(workload))

    def update(widths: jax.Array, states: sj.TrainState, batch: tuple) -> tuple[Any, Any]:
        after, metrics = by_point(widths, states, batch)
        # Keys and counters are those of the seeds at every point.
        key, step = (x[0] for x in (after.key, after.step))
        return after._replace(key=key, step=step), metrics

    return ours.Task(update, jnp.linspace(0.5, 2.0, POINTS), (states, (images, labels)))


def stream() -> ours.Task:
    """One time step of one recording at batch 1, from counts of events to scores."""
    neuron, read = sj.lif(), sj.streaming.running_rate()
    network = sj.serial(sj.flatten(), sj.dense(800, neuron), sj.dense(10, neuron))
    params, _ = network.init(jax.random.key(0), SENSOR)
    inner, _ = network.initial_state(params, (1, *SENSOR))
    state = inner, read.initial_state((1, 10), jnp.float32)

    def advance(state: Any, params: Any, counts: jax.Array) -> tuple[Any, jax.Array]:
        spikes = sj.streaming.any_event(counts)[:, None]
        inner, outs = network.unroll(params, state[0], spikes)
        after, scores = read.unroll((), state[1], outs)
        return (inner, after), scores

    return ours.Task(advance, state, (params, jnp.zeros((1, *SENSOR), jnp.uint16)))
