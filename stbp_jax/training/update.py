"""Updates of the parameters, and the training loss of a pipeline."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from stbp_jax.core import Array, Params, PyTree
from stbp_jax.metrics import accuracy
from stbp_jax.training.pipeline import (
    Batch,
    LossFn,
    Pipeline,
    TrainState,
    check_function,
    check_optimizer,
    mean_loss,
)


def make_train_step(
    loss_fn: LossFn, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, PyTree], tuple[TrainState, tuple[Array, PyTree]]]:
    """Makes one update as a `lax.scan` body.

    Args:
      loss_fn: `(params, key, batch) -> (scalar loss, report)`.
      optimizer: a `GradientTransformation` of optax.

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

    def step(state: TrainState, batch: PyTree) -> tuple[TrainState, tuple[Array, PyTree, Array]]:
        if not isinstance(state, TrainState):
            raise TypeError(f"state must be a TrainState, got {type(state).__name__}")
        key = jax.random.fold_in(state.key, state.step)
        value_and_grad = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, report), grads = value_and_grad(state.params, key, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # An infinite learning rate shows only in the parameters.
        finite = _all_finite((loss, grads, params))
        return TrainState(params, opt_state, state.key, state.step + 1), (loss, report, finite)

    return step


def _all_finite(tree: PyTree) -> Array:
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return functools.reduce(jnp.logical_and, leaves)


def loss_of(pipeline: Pipeline) -> LossFn:
    """The training loss of a pipeline, for `make_train_step`; its report is the accuracy."""

    def loss_fn(params: Params, key: Array, batch: Batch) -> tuple[Array, Array]:
        images, labels = batch
        key_encode, key_layers, key_augment = jax.random.split(key, 3)
        if pipeline.augment is not None:
            images = pipeline.augment(key_augment, images)
        xs = pipeline.encode(key_encode, images)
        state, _ = pipeline.network.initial_state(params, xs.shape[1:], key=key_layers)
        _, outs = pipeline.network.unroll(params, state, xs)
        scores = pipeline.readout(outs)
        return mean_loss(pipeline, scores, labels), accuracy(scores, labels)

    if pipeline.objective is None:
        return loss_fn
    return check_function("the result of objective", pipeline.objective(loss_fn))
