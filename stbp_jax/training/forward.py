"""The forward pass of a pipeline on one batch, and means over the examples that count.

Padded steps and examples of weight 0 are cut off on both sides of the network: their inputs become
0, and so do their outputs, so that neither their numbers nor a NaN in them reach a gradient.
"""

from collections import OrderedDict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax import calls, meshes
from stbp_jax.core import Array, Params, PyTree, Shape, State
from stbp_jax.training.pipeline import Pipeline


class Steps(NamedTuple):
    """Which steps of which examples count.

    Attributes:
      shape: `(T, B)`.
      own: `[T, B]` bool, false for padded steps and for examples of weight 0; None if all count.
      mask: `[T, B]` bool, the argument `mask=` of readouts, which has a step for each example; None
        if the pipeline has no mask.
    """

    shape: Shape
    own: Array | None
    mask: Array | None


def steps_of(pipeline: Pipeline, inputs: Any, weights: Array | None, xs: Any) -> Steps:
    """The steps that count in a batch.

    Raises:
      TypeError: the mask is not an array of bool.
      ValueError: the mask has another shape than `[T, B]`.
    """
    shape = jax.tree.leaves(xs)[0].shape[:2]
    mask = None if pipeline.mask is None else _checked(pipeline.mask(inputs), shape)
    if weights is None:
        return Steps(shape, mask, mask)
    counts = jnp.broadcast_to(weights[None] > 0, shape)
    if mask is None:
        return Steps(shape, counts, None)
    return Steps(shape, mask & counts, mask | ~counts)


def _checked(mask: Any, shape: Shape) -> Array:
    dtype = getattr(mask, "dtype", type(mask).__name__)
    if dtype != jnp.bool_:
        raise TypeError(f"mask must return an array of bool, got {dtype}")
    if mask.shape != shape:
        raise ValueError(
            f"mask must return the shape [T, B] = {list(shape)}, got {list(mask.shape)}"
        )
    return jnp.asarray(mask)


def only(tree: PyTree, own: Array | None) -> PyTree:
    """The arrays `[T, B, ...]` of a tree with 0 where a step does not count."""
    if own is None:
        return tree

    def cut(x: Array) -> Array:
        if jnp.issubdtype(x.dtype, jax.dtypes.extended):  # a random key
            return x
        x = jnp.asarray(x)  # NumPy's float64 has no zero of its dtype here
        return jnp.where(jnp.expand_dims(own, range(2, x.ndim)), x, jnp.zeros((), x.dtype))

    return jax.tree.map(cut, tree)


def rest(pipeline: Pipeline, params: Params, xs: Any, key: Array | None = None) -> State:
    """The state of the network before the first step of `xs`."""
    shape = jax.tree.map(lambda x: x.shape[1:], xs)
    return pipeline.network.initial_state(params, shape, key=key)[0]


def scores_of(pipeline: Pipeline, outs: Any, steps: Steps) -> Any:
    """The readout of the steps that count."""
    outs = only(outs, steps.own)
    return pipeline.readout(outs) if steps.mask is None else pipeline.readout(outs, mask=steps.mask)


def loss_and_metrics(
    pipeline: Pipeline, scores: Any, targets: Any, weights: Array | None, steps: Steps
) -> tuple[Array, "OrderedDict[str, Array]"]:
    """The loss of each example, `[B]`, and the means of the metrics over a batch.

    Raises:
      ValueError: a loss or metric has another shape than `[B]` or `[T, B]`.
    """
    losses = per_example("loss", pipeline.loss(scores, targets), steps)
    fixed = lax.stop_gradient(scores)
    metrics = OrderedDict[str, Array]()
    for name, metric in pipeline.metrics:
        try:
            values = metric(fixed, targets)
        except (TypeError, ValueError) as error:
            error.add_note(f"in metric {name}; other metrics are Pipeline(metrics=...)")
            raise
        metrics[name] = mean(per_example(f"metric {name}", values, steps), weights)
    return losses, metrics


def per_example(name: str, values: Any, steps: Steps) -> Array:
    """Values of examples as they are; values of steps as means over each example's steps.

    Raises:
      ValueError: the values have another shape than `[B]` or `[T, B]`; a shape `[B, C]` would give
        another mean.
    """
    num_steps, batch = steps.shape
    if jnp.shape(values) == (batch,):
        return values
    if jnp.shape(values) != (num_steps, batch):
        raise ValueError(
            f"{name} must return one number for each example, [{batch}], or for each step of each "
            f"example, [{num_steps}, {batch}], got {list(jnp.shape(values))}"
        )
    values = _floats(values)
    if steps.mask is None:
        return jnp.mean(values, axis=0)
    total = jnp.sum(jnp.where(steps.mask, values, 0), axis=0)
    return total / jnp.sum(steps.mask, axis=0, dtype=total.dtype)


def mean(values: Array, weights: Array | None) -> Array:
    """The mean over examples, `[B]` to a scalar; 0 if no example counts."""
    values = _floats(values)
    if weights is None:
        return jnp.mean(values)
    total = jnp.sum(jnp.where(weights > 0, values, 0) * weights.astype(values.dtype))
    return total / at_least_one(jnp.sum(weights, dtype=values.dtype))


def at_least_one(count: Array) -> Array:
    """A denominator: 1 in place of 0."""
    return jnp.where(count > 0, count, jnp.ones_like(count))


def _floats(values: Array) -> Array:
    """Bools and integers as float32."""
    floats = jnp.issubdtype(values.dtype, jnp.floating)
    return values if floats else values.astype(jnp.float32)


def recorded(pipeline: Pipeline, params: Params, state: State, xs: Any) -> tuple[State, Any]:
    """The states of all layers after every step, and the outputs, of the network step by step."""
    params, state, xs = meshes.vary_alike(params, state, xs)

    def body(state: State, x: Any) -> tuple[State, tuple[State, Any]]:
        state, y = calls.step_layer(pipeline.network, params, state, x)
        return state, (state, y)

    return meshes.scan(body, state, xs)[1]
