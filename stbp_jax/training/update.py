"""Updates of the parameters, and the training loss of a pipeline."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from stbp_jax import calls
from stbp_jax.core import Array, Params, PyTree
from stbp_jax.training.datasets import parts_of
from stbp_jax.training.forward import (
    Steps,
    loss_and_metrics,
    mean,
    only,
    per_example,
    recorded,
    rest,
    scores_of,
    steps_of,
)
from stbp_jax.training.pipeline import (
    Batch,
    LossFn,
    Pipeline,
    TrainState,
    check_function,
    check_optimizer,
    check_pipeline,
)


def make_train_step(
    loss_fn: LossFn, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, PyTree], tuple[TrainState, tuple[Array, PyTree]]]:
    """Makes one update as a `lax.scan` body.

    Args:
      loss_fn: `(params, key, batch) -> (scalar loss, report)`, such as `loss_of(pipeline)`.
      optimizer: a `GradientTransformation` of optax. Its update also gets `value` and `grad`, the
        loss and its gradient, and `value_fn`, the loss as a function of the parameters.

    Returns:
      `step(state, batch) -> (state, (loss, report))`.

    Raises:
      TypeError: `loss_fn` is not callable, or `optimizer` has no `init` or `update`. `step` raises
        it if the state is not a `TrainState`.

    >>> loss_fn = lambda w, key, x: (jnp.sum((w - x) ** 2), None)
    >>> optimizer = optax.sgd(0.25)
    >>> w = jnp.zeros(2)
    >>> state = TrainState(w, optimizer.init(w), jax.random.key(0), jnp.int32(0))
    >>> state, (loss, _) = make_train_step(loss_fn, optimizer)(state, jnp.ones(2))
    >>> state.params, float(loss)
    (Array([0.5, 0.5], dtype=float32), 2.0)
    """
    watched = make_watched_step(loss_fn, optimizer)

    def step(state: TrainState, batch: PyTree) -> tuple[TrainState, tuple[Array, PyTree]]:
        state, (loss, report, _) = watched(state, batch)
        return state, (loss, report)

    return step


def make_watched_step(
    loss_fn: LossFn, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, PyTree], tuple[TrainState, tuple[Array, PyTree, Array]]]:
    """`make_train_step` with a third output `finite`: whether the update has finite numbers."""
    check_function("loss_fn", loss_fn)
    check_optimizer(optimizer)
    update = optax.with_extra_args_support(optimizer).update

    def step(state: TrainState, batch: PyTree) -> tuple[TrainState, tuple[Array, PyTree, Array]]:
        if not isinstance(state, TrainState):
            raise TypeError(f"state must be a TrainState, got {type(state).__name__}")
        key = jax.random.fold_in(state.key, state.step)
        value_and_grad = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, report), grads = value_and_grad(state.params, key, batch)
        updates, opt_state = update(
            grads,
            state.opt_state,
            state.params,
            value=loss,
            grad=grads,
            value_fn=lambda params: loss_fn(params, key, batch)[0],
        )
        params = optax.apply_updates(state.params, updates)
        # An infinite learning rate shows only in the parameters.
        finite = _all_finite((loss, grads, params))
        return TrainState(params, opt_state, state.key, state.step + 1), (loss, report, finite)

    return step


def _all_finite(tree: PyTree) -> Array:
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return functools.reduce(jnp.logical_and, leaves)


def loss_of(pipeline: Pipeline) -> LossFn:
    """The training loss of a pipeline, for `make_train_step` and for own loops.

    The loss is the mean over the batch, weighted if the batch has weights, as `objective` makes it.
    The key serves the augmentation, the encoding and the layers. Shapes are checked; numbers are
    checked if they are concrete.

    Args:
      pipeline: a `Pipeline`.

    Returns:
      `(params, key, batch) -> (scalar loss, metrics)`. A batch is `(inputs, targets)` or `(inputs,
      targets, weights)`; the metrics are a dict from their names to scalars.

    Raises:
      TypeError: `pipeline` is not a `Pipeline`, or a field has a wrong type.

    >>> from stbp_jax import constant, cross_entropy, dense, lif, rate
    >>> encode = lambda key, images: constant(images, 5)
    >>> pipeline = Pipeline(encode, dense(3, lif()), rate, cross_entropy, optax.sgd(0.1))
    >>> params, _ = pipeline.network.init(jax.random.key(0), (4,))
    >>> batch = jnp.zeros((2, 4)), jnp.array([0, 2])
    >>> loss, metrics = loss_of(pipeline)(params, jax.random.key(1), batch)
    >>> round(float(loss), 3), float(metrics["accuracy"])
    (1.099, 0.5)
    """
    check_pipeline(pipeline)

    def loss_fn(params: Params, key: Array, batch: Batch) -> tuple[Array, PyTree]:
        inputs, targets, weights = parts_of("batch", batch)
        key_encode, key_layers, key_augment = jax.random.split(key, 3)
        if pipeline.augment is not None:
            inputs = pipeline.augment(key_augment, inputs)
        xs = pipeline.encode(key_encode, inputs)
        steps = steps_of(pipeline, inputs, weights, xs)
        xs = only(xs, steps.own)
        state = rest(pipeline, params, xs, key_layers)
        if pipeline.auxiliary_loss is None:
            _, outs = calls.unroll_layer(pipeline.network, params, state, xs)
        else:
            states, outs = recorded(pipeline, params, state, xs)
        scores = scores_of(pipeline, outs, steps)
        losses, metrics = loss_and_metrics(pipeline, scores, targets, weights, steps)
        if pipeline.auxiliary_loss is not None:
            losses = losses + _auxiliary(pipeline, states, targets, steps)
        return mean(losses, weights), metrics

    if pipeline.objective is None:
        return loss_fn
    return check_function("the result of objective", pipeline.objective(loss_fn))


def _auxiliary(pipeline: Pipeline, states: PyTree, targets: Any, steps: Steps) -> Array:
    """The auxiliary loss of each example."""
    loss: Any = pipeline.auxiliary_loss
    states = only(states, steps.own)
    values = loss(states, targets) if steps.mask is None else loss(states, targets, mask=steps.mask)
    return per_example("auxiliary_loss", values, steps)
