"""Online learning: gradients computed forward in time (beyond the paper).

Claim:   Gradients that are computed forward in time train a recurrent spiking layer with a memory
         that does not grow with the number of steps.
Command: python -m experiments reproduce online_learning --budget quick
Result:  1.00, target 1.1 or less: reached.
Time:    1.5 min for 3 runs in one program, budget long, NVIDIA H200.

The paper's discussion names online learning as future work. The task is MNIST row by row, with a
loss at every step, so that a gradient needs nothing of later steps.
"""

import functools
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import stbp_jax as sj
from experiments.engine import models, programs
from experiments.engine.config import Config, Data, Model, Train, UsageError
from experiments.engine.models import HParams
from experiments.engine.notation import Dense
from experiments.engine.rows import Row
from experiments.engine.studies import Job, Plan, Variant
from experiments.studies.online_learning import online
from stbp_jax.training import Build

STEPS = 28  # the rows of an image
READOUT = 0.5  # fraction of an output unit's membrane that remains after a step
COSTS = (10, 100, 1000)  # T at which memory and time of an update are measured
CALLS = 5  # the time is that of the fastest

FULL = Config(
    Data(num_steps=STEPS),
    Model("256-10", decay=0.5, width=0.5),
    Train(epochs=15, learning_rate=5e-3),
)
QUICK = FULL.but(num_train=10_000, epochs=3, layers="128-10")
SMOKE = FULL.but(limit=40, epochs=1, batch_size=20, layers="16-10")


def plain(config: Config, hparams: HParams) -> sj.Layer:
    """Return the network: a recurrent layer of LIF neurons, and a leaky readout."""
    units, classes, init = _sizes(config)
    hidden = sj.recurrent(_lif(hparams), init=init)
    readout = sj.leaky_integrator(decay=READOUT)
    return sj.serial(sj.dense(units, hidden, init=init), sj.dense(classes, readout, init=init))


def traced(config: Config, hparams: HParams) -> sj.Layer:
    """Return the same network, whose gradient at one step is that of OTTT."""
    units, classes, init = _sizes(config)
    decay = hparams["decay"]
    hidden = online.traced_recurrent(_lif(hparams), decay, init)
    readout = sj.leaky_integrator(decay=READOUT)
    return sj.serial(
        online.traced(units, hidden, decay, init), online.traced(classes, readout, READOUT, init)
    )


def _lif(hparams: HParams) -> sj.Neuron:
    return models.lif_units(sj.soft_reset).hidden(hparams)


def _sizes(config: Config) -> tuple[int, int, Any]:
    """Return the number of hidden neurons, the number of classes, and the initializer."""
    match models.parts(config):
        case [Dense(units)], Dense(classes):
            return units, classes, sj.initializers.fan_in_uniform(config.model.gain)
    raise UsageError(f"model.layers must be like 256-10 in this study, got {config.model.layers}")


def encode(key: jax.Array, images: jax.Array) -> jax.Array:
    """Return the rows of images as steps, `[28, B, 28]`."""
    return jnp.moveaxis(sj.constant(images, 1)[0], 1, 0)


def loss(outs: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the cross-entropy at every step, `[T, B]`."""
    return sj.cross_entropy(outs, jnp.broadcast_to(labels, outs.shape[:2]))


def decided(outs: jax.Array, labels: jax.Array) -> jax.Array:
    """Return whether the mean output over time decides for the label, `[B]`."""
    return sj.metrics.correct(sj.rate(outs), labels)


@functools.cache  # the same function for all seeds, so that they share a compiled program
def build(config: Config, *, network: Any, steps: int) -> Build:
    """Return a function that builds the pipeline.

    Args:
      config: all settings.
      network: `(config, hparams) -> Layer` of the gradient, `plain` or `traced`.
      steps: of a segment; no gradient crosses from segment to segment.

    Raises:
      UsageError: `num_steps` is not 28, or `layers` is not like 256-10.
    """
    _sizes(config)
    if config.data.num_steps != STEPS:
        raise UsageError(
            f"num_steps must be {STEPS}, one step for each row, got {config.data.num_steps}"
        )

    def pipeline(hparams: HParams, num_updates: int) -> sj.Pipeline:
        return sj.Pipeline(
            encode=encode,
            network=plain(config, hparams),
            readout=sj.readouts.identity,
            loss=loss,
            optimizer=optax.adam(
                models.cosine(hparams["learning_rate"], num_updates, config.train.epochs)
            ),
            objective=online.objective(network(config, hparams), steps, encode, loss),
            metrics=(("accuracy", decided),),
        )

    return pipeline


# Memory and time ---------------------------------------------------------------------------------


def extend(job: Job, folder: Path, rows: list[Row], *, network: Any, steps: int) -> list[Row]:
    """Add `costs` to the rows of seed 0: memory and time of a gradient at some T."""
    found: list[Row] = []
    if 0 in job.seeds:
        lengths = COSTS[:1] if job.budget == "smoke" else COSTS
        found = [cost(job.config, network, steps, length) for length in lengths]
    return [row | {"costs": found if row["seed"] == 0 else []} for row in rows]


def cost(config: Config, network: Any, steps: int, length: int) -> Row:
    """Measure the gradient of one batch of random sequences of a length.

    Returns:
      `num_steps`, `temp_bytes` (memory that XLA plans beside inputs and gradients), and `seconds`.
    """
    made = network(config, models.hparams(config))
    batch = config.train.batch_size
    params, _ = made.init(jax.random.key(0), (STEPS,))
    xs = jax.random.uniform(jax.random.key(1), (length, batch, STEPS))
    labels = jnp.arange(batch) % 10

    @jax.jit
    def gradient(params: Any, xs: jax.Array) -> Any:
        def mean(outs: jax.Array) -> jax.Array:
            return jnp.sum(loss(outs, labels)) / (length * batch)

        return online.accumulated(made, min(steps, length), mean, params, xs)

    program = gradient.lower(params, xs).compile()
    analysis, seconds = program.memory_analysis(), []
    for _ in range(1 + CALLS):
        start = time.perf_counter()
        jax.block_until_ready(program(params, xs))
        seconds.append(time.perf_counter() - start)
    temp = None if analysis is None else analysis.temp_size_in_bytes
    return {"num_steps": length, "temp_bytes": temp, "seconds": min(seconds[1:])}


EVER = 10**6  # longer than any sequence: all gradients


def _variant(about: str, network: Any, steps: int) -> Variant:
    recipe: dict[str, Any] = {"network": network, "steps": steps}
    return Variant(
        about,
        {
            "smoke": Plan(1, SMOKE),
            "quick": Plan(3, QUICK),
            "long": Plan(3, FULL),
            "full": Plan(3, FULL),
        },
        programs.load_named,
        functools.partial(build, **recipe | {"steps": min(steps, STEPS)}),
        functools.partial(extend, **recipe),
    )


VARIANTS = {
    "ottt": _variant("OTTT: one step, with presynaptic traces", traced, 1),
    "truncated_1": _variant("gradients cut at every step", plain, 1),
    "truncated_2": _variant("gradients cut every 2 steps", plain, 2),
    "truncated_5": _variant("gradients cut every 5 steps", plain, 5),
    "stbp": _variant("gradients of all steps", plain, EVER),
}
