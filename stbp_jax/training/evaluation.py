"""Evaluation of a network on a whole set: loss, metrics and statistics of its neurons."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax import arguments, calls, meshes
from stbp_jax.core import Array, Params, PyTree
from stbp_jax.training.datasets import as_arrays, check_form, check_values, parts_of
from stbp_jax.training.forward import (
    at_least_one,
    loss_and_metrics,
    mean,
    only,
    rest,
    scores_of,
    steps_of,
)
from stbp_jax.training.history import Counts, Evaluation
from stbp_jax.training.pipeline import Batch, Pipeline, check_pipeline


def evaluate(
    pipeline: Pipeline,
    params: Params,
    key: Array,
    inputs: Any,
    targets: Any,
    weights: Array | None = None,
    *,
    batch_size: int = 500,
) -> Evaluation:
    """Runs a whole set through a pipeline, without augmentation or dropout.

    The compiled program is kept for the next call with the same pipeline object. The set is checked
    before anything is computed, by the checks of the encoder, the loss and the metrics. Under `jit`
    or `vmap` only its lengths, shapes and dtypes are checked. There, pixels outside [0, 1] are used
    unchanged, and a label out of range counts as an error with the loss that the pipeline returns
    for it.

    Args:
      pipeline: a `Pipeline`.
      params: parameters of its network; `eval_params` is not applied.
      key: random key of the input spikes.
      inputs: a pytree of arrays `[N, ...]`, such as images.
      targets: a pytree of arrays `[N, ...]`, such as labels.
      weights: `[N]`, of at least 0, the share of each example in loss and metrics; None for equal
        shares. An example of weight 0 is left out of the statistics too, whatever it holds.
      batch_size: examples in a batch, for memory and speed; another size draws other spikes.

    Returns:
      An `Evaluation`; `merge_evaluations` merges those of parts of a set.

    Raises:
      TypeError: an argument has a wrong type, such as a leaf that is not an array.
      ValueError: there are no examples, the arrays have different lengths, weights are negative or
        all 0, or the encoder, network, loss or a metric raises it.

    >>> import numpy as np
    >>> import optax
    >>> import stbp_jax as sj
    >>> def build(hparams, num_updates):
    ...     return sj.Pipeline(
    ...         encode=lambda key, inputs: sj.bernoulli(key, inputs, num_steps=3),
    ...         network=sj.dense(2, sj.lif()),
    ...         readout=sj.rate,
    ...         loss=sj.half_squared_error,
    ...         optimizer=optax.adam(hparams),
    ...     )
    >>> data = np.full((20, 3), 0.5, np.float32), np.arange(20) % 2
    >>> pipeline = build(0.1, 1)
    >>> params, _ = pipeline.network.init(jax.random.key(0), (3,))
    >>> found = evaluate(pipeline, params, jax.random.key(1), *data)
    >>> list(found.metrics), found.firing_rate.shape
    (['accuracy'], (1,))
    """
    check_pipeline(pipeline)
    arguments.key("key", key)
    batch_size = arguments.count("batch_size", batch_size)
    data = (inputs, targets) if weights is None else (inputs, targets, weights)
    check_form("", data)
    check_values("", pipeline, params, data, batch_size=batch_size)
    arrays = (params, key, data)
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

    def run(params: Params, key: Array, data: Batch) -> Evaluation:
        return evaluate_unchecked(pipeline, params, key, data, batch_size)

    return jax.jit(run)


def merge_evaluations(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Merges the evaluations of parts of a set into that of the whole set.

    Every number equals, up to rounding, that of one evaluation of all parts together: a unit is
    silent if it is silent in every part.

    Args:
      evaluations: results of `evaluate` with the same metrics and network, one for each part.

    Returns:
      An `Evaluation`.

    Raises:
      TypeError: an entry is not an `Evaluation`.
      ValueError: there are no evaluations, or they have different metrics or layers, or no rates of
        units, as in a `History`.

    >>> import numpy as np
    >>> import optax
    >>> import stbp_jax as sj
    >>> def build(hparams, num_updates):
    ...     return sj.Pipeline(
    ...         encode=lambda key, inputs: sj.bernoulli(key, inputs, num_steps=3),
    ...         network=sj.dense(2, sj.lif()),
    ...         readout=sj.rate,
    ...         loss=sj.half_squared_error,
    ...         optimizer=optax.adam(hparams),
    ...     )
    >>> data = np.full((20, 3), 0.5, np.float32), np.arange(20) % 2
    >>> pipeline = build(0.1, 1)
    >>> params, _ = pipeline.network.init(jax.random.key(0), (3,))
    >>> parts = [tuple(x[i::2] for x in data) for i in (0, 1)]
    >>> halves = [evaluate(pipeline, params, jax.random.key(1), *part) for part in parts]
    >>> float(merge_evaluations(halves).counts.examples)
    20.0
    """
    evaluations = list(evaluations)
    if not evaluations:
        raise ValueError("evaluations must hold at least one Evaluation, got none")
    for one in evaluations:
        arguments.instance("evaluations", one, Evaluation, "results of evaluate")
        if one.counts is None or len(one.unit_rates) != jnp.shape(one.firing_rate)[-1]:
            raise ValueError("evaluations must have unit_rates, which those of a History lack")
    forms: list[Any] = [jax.tree.map(jnp.shape, one) for one in evaluations]
    for form in forms[1:]:
        if form != forms[0] or list(form.metrics) != list(forms[0].metrics):
            raise ValueError(
                f"evaluations must have the same metrics and layers, got {forms[0]} and {form}"
            )
    means = [
        _Means((e.loss, e.metrics), (e.unit_rates, e.in_window), e.operations) for e in evaluations
    ]
    counts = _stacked(*[e.counts for e in evaluations])
    return _evaluation(_over_batches(_stacked(*means), counts), jax.tree.map(jnp.sum, counts))


class _Means(NamedTuple):
    """Means over the examples by weight, over the steps, and over the examples."""

    by_weight: PyTree  # (loss, metrics)
    by_steps: PyTree  # (rates of units, share in the window), for each layer
    by_examples: PyTree  # operations, for each layer


def evaluate_unchecked(
    pipeline: Pipeline, params: Params, key: Array, data: Batch, batch_size: int
) -> Evaluation:
    """`evaluate` without checks, for sets that are already checked."""

    def on_batch(args: tuple[Array, Array]) -> tuple[_Means, Counts]:
        key, indices = args
        return _on_batch(pipeline, params, key, _take(data, indices))

    data = as_arrays(data)
    alike = pipeline.mask is None and len(data) == 2  # all examples and steps count alike
    count = jax.tree.leaves(data)[0].shape[0]
    batch_size = min(batch_size, count)
    full = count // batch_size
    keys = jax.random.split(key, full + 1)

    indices = jnp.arange(count)
    batches = indices[: full * batch_size].reshape(full, batch_size)

    means, counts = lax.map(on_batch, (keys[:full], batches))
    means = _over_batches(means, None if alike else counts)
    counts = jax.tree.map(jnp.sum, counts)
    left = count - full * batch_size
    if left:  # the last batch is smaller
        last, more = on_batch((keys[full], indices[-left:]))
        if alike:
            means = jax.tree.map(lambda m, t: m + (t - m) * (left / count), means, last)
        else:
            means = _over_batches(_stacked(means, last), _stacked(counts, more))
        counts = jax.tree.map(jnp.add, counts, more)
    return _evaluation(means, counts)


def _stacked(*trees: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _take(data: Batch, indices: Array) -> Batch:
    return jax.tree.map(lambda x: meshes.take(x, indices), data)


def _on_batch(pipeline: Pipeline, params: Params, key: Array, data: Batch) -> tuple[_Means, Counts]:
    """The means of one batch, and what they are taken over."""
    inputs, targets, weights = parts_of("batch", data)
    xs = pipeline.encode(key, inputs)
    steps = steps_of(pipeline, inputs, weights, xs)
    xs = only(xs, steps.own)
    state = rest(pipeline, params, xs)
    _, outs, stats = calls.unroll_with_stats(pipeline.network, params, state, xs, mask=steps.own)
    scores = scores_of(pipeline, outs, steps)
    losses, metrics = loss_and_metrics(pipeline, scores, targets, weights, steps)
    means = _Means(
        (mean(losses, weights), metrics),
        (tuple(s.firing_rate for s in stats), _per_layer(s.in_window for s in stats)),
        _per_layer(s.operations for s in stats),
    )
    num_steps, batch = steps.shape
    own = jnp.full(batch, num_steps) if steps.own is None else jnp.sum(steps.own, axis=0)
    examples = jnp.sum(own > 0)
    counts = examples if weights is None else jnp.sum(weights), examples, jnp.sum(own)
    return means, Counts(*(n.astype(jnp.result_type(float)) for n in counts))


def _over_batches(means: _Means, counts: Counts | None) -> _Means:
    """The means over a leading axis of batches, each with its count."""
    if counts is None:
        return jax.tree.map(lambda m: jnp.mean(m, axis=0), means)

    def over(tree: PyTree, count: Array) -> PyTree:
        shares = count / at_least_one(jnp.sum(count))

        def mean_of(m: Array) -> Array:
            return jnp.sum(jnp.expand_dims(shares, range(1, m.ndim)).astype(m.dtype) * m, axis=0)

        return jax.tree.map(mean_of, tree)

    return _Means(
        over(means.by_weight, counts.weight),
        over(means.by_steps, counts.steps),
        over(means.by_examples, counts.examples),
    )


def _evaluation(means: _Means, counts: Counts) -> Evaluation:
    (loss, metrics), (rates, in_window) = means.by_weight, means.by_steps
    return Evaluation(
        loss,
        metrics,
        firing_rate=_per_layer(jnp.mean(r) for r in rates),
        silent_fraction=_per_layer(map(_silent, rates)),
        in_window=in_window,
        operations=means.by_examples,
        unit_rates=rates,
        counts=counts,
    )


def _silent(rates: Array) -> Array:
    """The share of units that never fire; NaN if a rate is NaN."""
    return jnp.where(jnp.any(jnp.isnan(rates)), jnp.nan, jnp.mean(rates == 0, dtype=jnp.float32))


def _per_layer(numbers: Any) -> Array:
    return jnp.asarray(list(numbers), jnp.float32)
