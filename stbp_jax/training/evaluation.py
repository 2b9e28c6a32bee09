"""How well a network does on a whole set, and what its neurons do there."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax import arguments, core
from stbp_jax.core import Array, LayerStats, Params
from stbp_jax.metrics import accuracy
from stbp_jax.training.datasets import check_form, check_numbers
from stbp_jax.training.history import Evaluation
from stbp_jax.training.pipeline import Pipeline, check_pipeline, mean_loss


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

    The set is checked before anything is computed. Under `jit` or `vmap` its numbers are not known:
    lengths, shapes and dtypes are checked, pixels outside [0, 1] are taken as they are, and a label
    out of range counts as an error with whatever loss the pipeline gives it.

    Args:
      pipeline: from images to loss.
      params: of its network.
      key: of the input spikes.
      images: `[N, ...]`, uint8, floats in [0, 1], or packed events (uint32).
      labels: `[N]`, integers.
      batch_size: examples at once; only memory and speed depend on it.

    Returns:
      An `Evaluation`.

    Raises:
      TypeError: arguments of a wrong type; images or labels of a wrong dtype or no arrays.
      ValueError: no examples, labels of another length, a class that the network does not have,
        pixels outside [0, 1] or not finite, images of a size that the network does not take.
    """
    check_pipeline(pipeline)
    arguments.key("key", key)
    batch_size = arguments.count("batch_size", batch_size)
    images, labels = check_form(images, labels)
    check_numbers(pipeline, params, images, labels, batch_size=batch_size)
    return evaluate_unchecked(pipeline, params, key, images, labels, batch_size)


def evaluate_unchecked(
    pipeline: Pipeline, params: Params, key: Array, images: Array, labels: Array, batch_size: int
) -> Evaluation:
    """`evaluate` of a set that is checked already, inside an epoch for one."""
    loss, right, activities = _means(pipeline, params, key, images, labels, batch_size)
    rates = [a.firing_rate for a in activities]
    return Evaluation(
        loss,
        right,
        firing_rate=_per_layer(jnp.mean(r) for r in rates),
        silent_fraction=_per_layer(map(_silent, rates)),
        in_window=_per_layer(a.in_window for a in activities),
        operations=_per_layer(a.operations for a in activities),
    )


def _means(
    pipeline: Pipeline, params: Params, key: Array, images: Array, labels: Array, batch_size: int
) -> tuple[Array, Array, tuple[LayerStats, ...]]:
    """Mean loss, accuracy and activity over a whole set."""

    def on_batch(args: tuple[Array, Array, Array]) -> tuple[Array, Array, tuple[LayerStats, ...]]:
        key, images, labels = args
        xs = pipeline.encode(key, images)
        state, _ = pipeline.network.initial_state(params, xs.shape[1:])
        _, outs, activities = core.unroll_with_stats(pipeline.network, params, state, xs)
        scores = pipeline.readout(outs)
        return mean_loss(pipeline, scores, labels), accuracy(scores, labels), activities

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


def _silent(rates: Array) -> Array:
    """Share of units that never fire; NaN where a rate is not known."""
    return jnp.where(jnp.any(jnp.isnan(rates)), jnp.nan, jnp.mean(rates == 0, dtype=jnp.float32))


def _per_layer(numbers: Any) -> Array:
    return jnp.asarray(list(numbers), jnp.float32)
