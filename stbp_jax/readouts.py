"""Readouts: functions from output sequences `[T, B, C]` to scores `[B, C]`, or to all steps.

`losses` and `metrics` take scores.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int32, Real

from stbp_jax import arguments
from stbp_jax.core import AnyArray, Array

Mask = Bool[AnyArray, "T B"]
"""Whether a step belongs to the example."""


def _check_outs(name: str, outs: Any) -> None:
    arguments.array(name, outs)
    if outs.ndim < 2 or outs.shape[0] == 0:
        raise ValueError(
            f"{name} must be time-major, [T, B, ...] with T >= 1, got {list(outs.shape)}"
        )


def rate(
    outs: Real[AnyArray, "T B *out"] | Bool[AnyArray, "T B *out"], *, mask: Mask | None = None
) -> Float[Array, " B *out"]:
    """Mean over time: 1/T Σₜ oᵗ; with a mask, over the steps of each example.

    Args:
      outs: spikes or membranes, `[T, B, ...]`, of any real dtype.
      mask: `[T, B]` bool, whether a step belongs to the example; None for all steps. Padded steps
        change neither the result nor a gradient, whatever they hold.

    Returns:
      Floats `[B, ...]`.

    Raises:
      TypeError: `outs` is not an array of real numbers, or `mask` is not an array of bool.
      ValueError: `outs` has no T or no B axis, T = 0, or numbers that 32 bits cannot hold; `mask`
        has another shape than `[T, B]`, or no step for an example.

    >>> rate(jnp.array([[[0.0, 1.0]], [[1.0, 1.0]]]))
    Array([[0.5, 1. ]], dtype=float32)

    Source: Wu et al. 2018, equation (9).
    """
    _check_outs("outs", outs)
    return _mean(arguments.held("outs", outs), mask)


def identity(outs: Array, *, mask: Array | None = None) -> Array:
    """All steps: oᵗ itself, for losses and metrics with a target at every step.

    Args:
      outs: spikes or membranes, `[T, B, ...]`, of any real dtype.
      mask: `[T, B]` bool, whether a step belongs to the example; None for all steps. Padded steps
        become 0 and have no gradient, whatever they hold.

    Returns:
      `[T, B, ...]`.

    Raises:
      TypeError: `outs` is not an array of real numbers.
      ValueError: `outs` has no T or no B axis, T = 0, or numbers that 32 bits cannot hold.

    >>> identity(jnp.array([[[2.0]], [[3.0]]]), mask=jnp.array([[True], [False]])).ravel()
    Array([2., 0.], dtype=float32)
    """
    _check_outs("outs", outs)
    outs = arguments.held("outs", outs)
    return outs if mask is None else jnp.where(arguments.steps_of("mask", mask, outs), outs, 0)


def _mean(outs: Array, mask: Mask | None) -> Array:
    """The mean over the steps of each example."""
    if mask is None:
        return jnp.mean(outs, axis=0)
    steps = arguments.steps_of("mask", mask, outs)
    total = jnp.sum(jnp.where(steps, outs, 0), axis=0)
    floats = jnp.issubdtype(total.dtype, jnp.floating)
    dtype = total.dtype if floats else jnp.result_type(float)
    return total.astype(dtype) / jnp.sum(steps, axis=0, dtype=dtype)


def first_spike(
    spikes: Real[AnyArray, "T B *out"] | Bool[AnyArray, "T B *out"], *, mask: Mask | None = None
) -> Int32[Array, " B *out"]:
    """Step of each unit's first spike: min {t : oᵗ > 0}, t = 0 ... T - 1; T for a silent unit.

    The unit that fires first decides the class: `accuracy` takes `-first_spike(outs)` as scores.
    The result has no gradient.

    Args:
      spikes: `[T, B, ...]`, 0 or 1. A traced NaN is not checked and counts as no spike.
      mask: `[T, B]` bool, whether a step belongs to the example; None for all steps. Padded steps
        change nothing, whatever they hold.

    Returns:
      int32 `[B, ...]`.

    Raises:
      TypeError: `spikes` is not an array of real numbers.
      ValueError: `spikes` has no T or no B axis, T = 0, or NaN.

    >>> first_spike(jnp.array([[[0.0, 0.0]], [[1.0, 0.0]]])).tolist()
    [[1, 2]]
    """
    _check_outs("spikes", spikes)
    arguments.no_nan("spikes", spikes)
    fired = spikes > 0
    if mask is not None:
        fired = fired & arguments.steps_of("mask", mask, spikes)
    return jnp.where(jnp.any(fired, axis=0), jnp.argmax(fired, axis=0), spikes.shape[0]).astype(
        jnp.int32
    )


def peak_membrane(
    membranes: Real[AnyArray, "T B *out"] | Bool[AnyArray, "T B *out"], *, mask: Mask | None = None
) -> Real[Array, " B *out"] | Bool[Array, " B *out"]:
    """Maximum over time: maxₜ uᵗ, for an output layer of `leaky_integrator` neurons.

    The gradient reaches only the step of the maximum.

    Args:
      membranes: `[T, B, ...]`, of any real dtype.
      mask: `[T, B]` bool, whether a step belongs to the example; None for all steps. Padded steps
        change neither the result nor a gradient, whatever they hold.

    Returns:
      `[B, ...]`; NaN for a unit with a NaN membrane.

    Raises:
      TypeError: `membranes` is not an array of real numbers.
      ValueError: `membranes` has no T or no B axis, T = 0, or numbers that 32 bits cannot hold.

    >>> peak_membrane(jnp.array([[[0.5, 0.0]], [[0.25, 1.0]]]))
    Array([[0.5, 1. ]], dtype=float32)
    """
    _check_outs("membranes", membranes)
    membranes = arguments.held("membranes", membranes)
    if mask is None:
        return jnp.max(membranes, axis=0)
    steps = arguments.steps_of("mask", mask, membranes)
    floats = jnp.issubdtype(membranes.dtype, jnp.floating)
    lowest = -jnp.inf if floats else jnp.iinfo(membranes.dtype).min
    return jnp.max(jnp.where(steps, membranes, lowest), axis=0)


def mean_log_probability(
    outs: Real[AnyArray, "T B C"] | Bool[AnyArray, "T B C"], *, mask: Mask | None = None
) -> Float[Array, "B C"]:
    """Mean over time of the log-probabilities of each step: 1/T Σₜ log softmax(oᵗ).

    With `negative_log_likelihood` the loss is the cross-entropy of each step, averaged over time:
    it trains every step to predict the class, early steps included.

    Args:
      outs: membranes or spikes, `[T, B, C]`, of any real dtype.
      mask: `[T, B]` bool, whether a step belongs to the example; None for all steps. Padded steps
        change neither the result nor a gradient, whatever they hold.

    Returns:
      Floats `[B, C]`, at most 0.

    Raises:
      TypeError: `outs` is not an array of real numbers.
      ValueError: `outs` has no T, B or C axis, T = 0, C = 0, or numbers that 32 bits cannot hold.

    >>> mean_log_probability(jnp.zeros((3, 1, 2))).round(3)
    Array([[-0.693, -0.693]], dtype=float32)
    """
    _check_outs("outs", outs)
    if outs.ndim < 3 or outs.shape[-1] == 0:  # the last axis must not be B
        raise ValueError(f"outs must have shape [T, B, C] with C >= 1, got {list(outs.shape)}")
    outs = arguments.held("outs", outs)
    if not jnp.issubdtype(outs.dtype, jnp.floating):
        outs = jnp.asarray(outs, jnp.result_type(float))
    if mask is not None:  # a padded NaN must not meet the softmax
        outs = jnp.where(arguments.steps_of("mask", mask, outs), outs, 0)
    return _mean(jax.nn.log_softmax(outs, axis=-1), mask)
