"""How well a network does on a whole set, and what its neurons do there."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax import checks, core
from stbp_jax.core import Activity, Array, Params
from stbp_jax.metrics import accuracy
from stbp_jax.training.pipeline import Pipeline


class Evaluation(NamedTuple):
    """Of one set; L counts the spiking layers.

    Attributes:
      loss: scalar, mean over the set.
      accuracy: scalar.
      firing_rate: `[L]`, spikes per unit and step.
      silent_fraction: `[L]`, share of units that fire nowhere in the set.
      in_window: `[L]`, share of unit-steps inside the surrogate's window.
      operations: `[L]`, synaptic operations per example.
    """

    loss: Array
    accuracy: Array
    firing_rate: Array
    silent_fraction: Array
    in_window: Array
    operations: Array


def evaluate(
    pipeline: Pipeline,
    params: Params,
    key: Array,
    images: Array,
    labels: Array,
    *,
    batch_size: int = 500,
) -> Evaluation:
    """Encodes and classifies a whole set, without augmentation or dropout.

    Args:
      pipeline: from images to loss.
      params: of its network.
      key: of the input spikes.
      images: `[N, ...]`.
      labels: `[N]`.
      batch_size: examples at once; only memory and speed depend on it.

    Returns:
      An `Evaluation`.
    """
    batch_size = checks.count("batch_size", batch_size)
    loss, right, activities = _means(pipeline, params, key, images, labels, batch_size)
    rates = [a.firing_rate for a in activities]
    return Evaluation(
        loss,
        right,
        firing_rate=_per_layer(jnp.mean(r) for r in rates),
        silent_fraction=_per_layer(jnp.mean(r == 0, dtype=jnp.float32) for r in rates),
        in_window=_per_layer(a.in_window for a in activities),
        operations=_per_layer(a.operations for a in activities),
    )


def _means(
    pipeline: Pipeline, params: Params, key: Array, images: Array, labels: Array, batch_size: int
) -> tuple[Array, Array, tuple[Activity, ...]]:
    """Mean loss, accuracy and activity over a whole set."""

    def on_batch(args: tuple[Array, Array, Array]) -> tuple:
        key, images, labels = args
        xs = pipeline.encode(key, images)
        state, _ = pipeline.network.initial_state(params, xs.shape[1:])
        _, outs, activities = core.observe(pipeline.network, params, state, xs)
        scores = pipeline.readout(outs)
        return jnp.mean(pipeline.loss(scores, labels)), accuracy(scores, labels), activities

    count = images.shape[0]
    batch_size = min(batch_size, count)
    full = count // batch_size
    keys = jax.random.split(key, full + 1)

    def batched(x: Array) -> Array:
        return x[: full * batch_size].reshape((full, batch_size, *x.shape[1:]))

    means = lax.map(on_batch, (keys[:full], batched(images), batched(labels)))
    means = jax.tree.map(lambda m: jnp.mean(m, axis=0), means)
    rest = count - full * batch_size
    if rest:  # the last, smaller batch, weighted by its size
        tail = on_batch((keys[full], images[-rest:], labels[-rest:]))
        means = jax.tree.map(lambda m, t: m + (t - m) * (rest / count), means, tail)
    return means


def _per_layer(numbers: Any) -> Array:
    return jnp.asarray(list(numbers), jnp.float32)
