"""An LSTM over the frames that the spiking network sees, with the cell of Flax."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

import stbp_jax as sj
from experiments.datasets.recordings import SPIKES
from experiments.engine import models, programs
from experiments.engine.config import Config, UsageError
from experiments.engine.models import HParams
from experiments.engine.notation import Dense
from experiments.engine.rows import Row
from experiments.engine.studies import Job

Shape = tuple[int, ...]


def lstm(features: int) -> sj.Layer:
    """Return a layer of LSTM units, `linen.OptimizedLSTMCell`.

        i, f, o = σ(xᵗ W + hᵗ⁻¹ R + b)      g = tanh(xᵗ W + hᵗ⁻¹ R + b)      W, R, b of each gate
        cᵗ = f cᵗ⁻¹ + i g                   hᵗ = o tanh(cᵗ)

    Args:
      features: number of units.

    Returns:
      A `Layer` from `[T, B, N]` to `[T, B, features]`, the hᵗ. Its parameters are those of the
      cell, with its initializers: input weights LeCun normal, recurrent ones orthogonal, biases 0.

    Source: Hochreiter, Schmidhuber: Long Short-Term Memory, Neural Computation 9, 1997; the forget
    gate f: Gers, Schmidhuber, Cummins, Neural Computation 12, 2000.
    """
    cell = linen.OptimizedLSTMCell(features)

    def rest(shape: Shape, dtype: Any) -> Any:
        zeros = jnp.zeros((*shape[:-1], features), dtype)
        return zeros, zeros

    def init(key: jax.Array, shape: Shape) -> tuple[Any, Shape]:
        x = jnp.zeros((1, *shape))
        return cell.init(key, rest(x.shape, x.dtype), x)["params"], (features,)

    def initial_state(params: Any, shape: Shape, *, key: Any = None) -> tuple[Any, Shape]:
        dtype = jax.tree.leaves(params)[0].dtype
        return rest(shape, dtype), (*shape[:-1], features)

    def step(params: Any, state: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        carried, h = cell.apply({"params": params}, state, x)
        return carried, jnp.asarray(h)

    unroll = sj.scan(step, rest)
    return sj.Layer(init, initial_state, step, unroll, sj.calls.without_stats(unroll))


def build(config: Config) -> sj.training.Build:
    """Return a function that builds the pipeline: LSTM units on frames, mean linear output.

    All but the network is as for the spiking network.

    Args:
      config: its `layers` are the LSTM units and the classes, such as 186-10.

    Returns:
      `(hparams, num_updates) -> Pipeline`.

    Raises:
      UsageError: `layers` has another form.
    """
    match models.parts(config):
        case [Dense(units)], Dense(classes):
            output = sj.dense(classes, init=sj.initializers.fan_in_uniform(config.model.gain))
            network = sj.serial(sj.flatten(), lstm(units), output)
        case _:
            raise UsageError(f"model.layers must be like 186-10 here, got {config.model.layers}")
    spiking = models.build(config, coding=SPIKES)

    def pipeline(hparams: HParams, num_updates: int) -> sj.Pipeline:
        return spiking(hparams, num_updates)._replace(network=network)

    return pipeline


def extend(job: Job, folder: Path, rows: list[Row]) -> list[Row]:
    """Write the name of the network, and its products at all steps, to the rows."""
    program = programs.prepared(job)
    shape = programs.slice_shape(program)
    network = program.build(program.points[0], 1).network
    params = jax.eval_shape(lambda: network.init(jax.random.key(0), shape)[0])
    kernels = sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim > 1)
    name = f"{math.prod(shape)}-LSTM{job.config.model.layers}"
    steps = job.config.data.num_steps
    return [row | {"network": name, "multiply_accumulates": steps * kernels} for row in rows]
