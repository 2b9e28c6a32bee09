"""Readouts: outputs `[T, B, C]` become scores `[B, C]`.

What a score means is defined in `losses` and `metrics`.
"""

from typing import Any

import jax
import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array


def _check_outs(name: str, outs: Any) -> None:
    arguments.array(name, outs)
    if outs.ndim < 2 or outs.shape[0] == 0:
        raise ValueError(
            f"{name} must be time-major, [T, B, ...] with T >= 1, got {list(outs.shape)}"
        )


def rate(outs: Array) -> Array:
    """Mean over time: 1/T Σₜ oᵗ, `[T, B, C]` to `[B, C]`.

    Args:
      outs: spikes or membranes, `[T, B, ...]`, of any real dtype.

    Returns:
      `[B, ...]`, floats.

    Raises:
      TypeError: outputs that are no array of real numbers.
      ValueError: no T or no B axis, or T = 0; numbers that 32 bits cannot hold.

    Source: Wu et al. 2018, equation (9).
    """
    _check_outs("outs", outs)
    return jnp.mean(arguments.held("outs", outs), axis=0)


def first_spike(spikes: Array) -> Array:
    """The step of each unit's first spike, 0 ... T - 1; T where it stays silent.

    The earliest unit wins: take `-first_spike(outs)` as scores for `accuracy`. It has no gradient.

    Args:
      spikes: `[T, B, ...]`, 0 or 1. A traced NaN is not seen, and counts as silence.

    Returns:
      int32 `[B, ...]`.

    Raises:
      TypeError: spikes that are no array of real numbers.
      ValueError: no T or no B axis, or T = 0; NaN.

    >>> first_spike(jnp.array([[[0.0, 0.0]], [[1.0, 0.0]]])).tolist()
    [[1, 2]]
    """
    _check_outs("spikes", spikes)
    arguments.no_nan("spikes", spikes)
    fired = spikes > 0
    return jnp.where(jnp.any(fired, axis=0), jnp.argmax(fired, axis=0), spikes.shape[0]).astype(
        jnp.int32
    )


def peak_membrane(membranes: Array) -> Array:
    """Maximum over time of a `leaky_integrator` readout, `[T, B, C]` to `[B, C]`.

    The gradient goes to the step of the maximum alone.

    Args:
      membranes: `[T, B, ...]`.

    Returns:
      `[B, ...]`, NaN where a membrane is.

    Raises:
      TypeError: membranes that are no array of real numbers.
      ValueError: no T or no B axis, or T = 0; numbers that 32 bits cannot hold.
    """
    _check_outs("membranes", membranes)
    return jnp.max(arguments.held("membranes", membranes), axis=0)


def mean_log_probability(outs: Array) -> Array:
    """Mean over time of each step's log-softmax: 1/T Σₜ log softmax(oᵗ), `[T, B, C]` to `[B, C]`.

    With `negative_log_likelihood` it is the cross-entropy at every step, averaged over time: every
    step shall tell the class, and the early ones learn too.

    Args:
      outs: membranes or spikes, `[T, B, C]`, of any real dtype.

    Returns:
      `[B, C]`, floats of at most 0.

    Raises:
      TypeError: outputs that are no array of real numbers.
      ValueError: no T, B or C axis, T = 0 or C = 0; numbers that 32 bits cannot hold.

    >>> mean_log_probability(jnp.zeros((3, 1, 2))).round(3)
    Array([[-0.693, -0.693]], dtype=float32)
    """
    _check_outs("outs", outs)
    if outs.ndim < 3 or outs.shape[-1] == 0:  # of [T, B] the softmax would be over examples
        raise ValueError(f"outs must have shape [T, B, C] with C >= 1, got {list(outs.shape)}")
    outs = arguments.held("outs", outs)
    if not jnp.issubdtype(outs.dtype, jnp.floating):
        outs = jnp.asarray(outs, jnp.result_type(float))
    return jnp.mean(jax.nn.log_softmax(outs, axis=-1), axis=0)
