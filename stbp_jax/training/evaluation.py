"""Evaluation of a network on a whole set: loss, accuracy and statistics of its neurons."""

import functools
from collections.abc import Callable
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

    The compiled program is kept for the next call with the same pipeline object. The set is checked
    before anything is computed. Under `jit` or `vmap` only its lengths, shapes and dtypes are
    checked. There, pixels outside [0, 1] are used unchanged, and a label out of range counts as an
    error with the loss that the pipeline returns for it.

    Args:
      pipeline: a `Pipeline`.
      params: parameters of its network.
      key: random key of the input spikes.
      images: `[N, ...]`, uint8, floats in [0, 1], or packed events (uint32).
      labels: `[N]`, integers.
      batch_size: examples in a batch, for memory and speed; another size draws other spikes.

    Returns:
      An `Evaluation`.

    Raises:
      TypeError: an argument has a wrong type, or images or labels have a wrong dtype or are not
        arrays.
      ValueError: there are no examples, the number of labels is wrong, the network has no class for
        a label, pixels are outside [0, 1] or not finite, or the network does not take images of
        this size.
    """
    check_pipeline(pipeline)
    arguments.key("key", key)
    batch_size = arguments.count("batch_size", batch_size)
    images, labels = check_form(images, labels)
    check_numbers(pipeline, params, images, labels, batch_size=batch_size)
    arrays = (params, key, images, labels)
    if _traced(arrays):
        return evaluate_unchecked(pipeline, *arrays, batch_size)
    return _program(pipeline, batch_size)(*arrays)


def _traced(arrays: Any) -> bool:
    """Whether a transformation is under way: its tracers must not enter the cache of programs."""
    inside_jit = not arguments.concrete(jnp.zeros(()))
    return inside_jit or not all(map(arguments.concrete, jax.tree.leaves(arrays)))


@functools.lru_cache(maxsize=8)
def _program(pipeline: Pipeline, batch_size: int) -> Callable[..., Evaluation]:
    """The compiled evaluation of a pipeline, kept for its next call."""

    def run(params: Params, key: Array, images: Array, labels: Array) -> Evaluation:
        return evaluate_unchecked(pipeline, params, key, images, labels, batch_size)

    return jax.jit(run)


def evaluate_unchecked(
    pipeline: Pipeline, params: Params, key: Array, images: Array, labels: Array, batch_size: int
) -> Evaluation:
    """`evaluate` without checks, for sets that are already checked."""
    loss, right, stats = _means(pipeline, params, key, images, labels, batch_size)
    rates = [s.firing_rate for s in stats]
    return Evaluation(
        loss,
        right,
        firing_rate=_per_layer(jnp.mean(r) for r in rates),
        silent_fraction=_per_layer(map(_silent, rates)),
        in_window=_per_layer(s.in_window for s in stats),
        operations=_per_layer(s.operations for s in stats),
    )


def _means(
    pipeline: Pipeline, params: Params, key: Array, images: Array, labels: Array, batch_size: int
) -> tuple[Array, Array, tuple[LayerStats, ...]]:
    """The means of loss, accuracy and layer statistics over a whole set."""

    def on_batch(args: tuple[Array, Array, Array]) -> tuple[Array, Array, tuple[LayerStats, ...]]:
        key, images, labels = args
        xs = pipeline.encode(key, images)
        state, _ = pipeline.network.initial_state(params, xs.shape[1:])
        _, outs, stats = core.unroll_with_stats(pipeline.network, params, state, xs)
        scores = pipeline.readout(outs)
        return mean_loss(pipeline, scores, labels), accuracy(scores, labels), stats

    count = images.shape[0]
    batch_size = min(batch_size, count)
    full = count // batch_size
    keys = jax.random.split(key, full + 1)

    def batched(x: Array) -> Array:
        return x[: full * batch_size].reshape((full, batch_size, *x.shape[1:]))

    means = lax.map(on_batch, (keys[:full], batched(images), batched(labels)))
    means = jax.tree.map(lambda m: jnp.mean(m, axis=0), means)
    rest = count - full * batch_size
    if rest:  # the last batch is smaller and weighted by its size
        tail = on_batch((keys[full], images[-rest:], labels[-rest:]))
        means = jax.tree.map(lambda m, t: m + (t - m) * (rest / count), means, tail)
    return means


def _silent(rates: Array) -> Array:
    """The share of units that never fire; NaN if a rate is NaN."""
    return jnp.where(jnp.any(jnp.isnan(rates)), jnp.nan, jnp.mean(rates == 0, dtype=jnp.float32))


def _per_layer(numbers: Any) -> Array:
    return jnp.asarray(list(numbers), jnp.float32)
