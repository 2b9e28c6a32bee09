"""Metrics for evaluation: accuracy, firing rates and synaptic operations.

They measure a network; no training minimizes them.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float32, Integer, Real

from stbp_jax import arguments
from stbp_jax.core import AnyArray, Array, Numbers


def accuracy(
    scores: Real[AnyArray, "*batch C"] | Bool[AnyArray, "*batch C"],
    labels: Integer[AnyArray, "*batch"] | Sequence[Any],
) -> Float32[Array, ""]:
    """Fraction of examples whose largest score is that of the label; the lowest class wins ties.

    An example with a NaN score counts as wrong. It is the mean of `correct`.

    Args:
      scores: `[B, C]` or `[T, B, C]`, of any real dtype.
      labels: integers `[B]` or `[T, B]`, as in `correct`.

    Returns:
      Scalar in [0, 1].

    Raises:
      ValueError: as in `correct`, or there are no examples.
      TypeError: as in `correct`.

    >>> float(accuracy(jnp.array([[0.9, 0.1], [0.8, 0.2]]), jnp.array([0, 1])))
    0.5
    """
    arguments.array("scores", scores)
    _check_not_empty("scores", scores)
    return jnp.mean(correct(scores, labels), dtype=jnp.float32)


def correct(
    scores: Real[AnyArray, "*batch C"] | Bool[AnyArray, "*batch C"],
    labels: Integer[AnyArray, "*batch"] | Sequence[Any],
) -> Bool[Array, "*batch"]:
    """Whether the largest score of each example is that of the label; the lowest class wins ties.

    An example with a NaN score is wrong.

    Args:
      scores: `[B, C]` or `[T, B, C]`, of any real dtype.
      labels: integers `[B]` or `[T, B]`. The values of traced labels are not checked: labels
        outside [0, C) count as wrong.

    Returns:
      Bool of the labels' shape.

    Raises:
      ValueError: shapes that do not match, fewer than two classes, labels outside [0, C).
      TypeError: labels that are not integers, scores that are not real numbers.

    >>> correct(jnp.array([[0.9, 0.1], [0.8, 0.2]]), jnp.array([0, 1])).tolist()
    [True, False]
    """
    arguments.array("scores", scores)
    if scores.ndim not in (2, 3) or scores.shape[-1] == 0:
        raise ValueError(
            f"scores must have shape [B, C] or [T, B, C] with a class, got {list(scores.shape)}"
        )
    labels = arguments.listed("labels", labels)
    arguments.labels("labels", labels, shape=scores.shape[:-1], classes=scores.shape[-1])
    best = jnp.argmax(scores, axis=-1)
    right = best == jnp.asarray(labels).astype(best.dtype)
    if jnp.issubdtype(scores.dtype, jnp.floating):
        right &= ~jnp.any(jnp.isnan(scores), axis=-1)
    return right


def _check_not_empty(name: str, x: Any) -> None:
    """Check that `x` has elements: the mean of none would be NaN."""
    if 0 in x.shape:
        raise ValueError(f"{name} must not be empty, got shape {list(x.shape)}")


def firing_rate(
    spikes: Real[AnyArray, "*steps_and_units"] | Bool[AnyArray, "*steps_and_units"],
) -> Float32[Array, ""]:
    """Spikes per unit and step: the mean of oᵗ over steps, examples and units.

    Args:
      spikes: `[T, B, ...]`, 0 or 1.

    Returns:
      Scalar in [0, 1].

    Raises:
      ValueError: `spikes` is empty, for example T = 0.
      TypeError: `spikes` is not an array of real numbers.

    >>> float(firing_rate(jnp.array([[[0.0, 1.0, 0.0, 0.0]]])))
    0.25
    """
    arguments.held("spikes", arguments.array("spikes", spikes))
    _check_not_empty("spikes", spikes)
    return jnp.mean(spikes, dtype=jnp.float32)


def silent_fraction(
    spikes: Real[AnyArray, "T B *units"] | Bool[AnyArray, "T B *units"],
) -> Float32[Array, ""]:
    """Fraction of units that never fire, at any step of any example.

    Args:
      spikes: `[T, B, *units]`, 0 or 1.

    Returns:
      Scalar in [0, 1]; NaN if a spike is NaN.

    Raises:
      ValueError: `spikes` has no units axis, or no step, example or unit.
      TypeError: `spikes` is not an array of real numbers.

    >>> float(silent_fraction(jnp.array([[[0.0, 1.0, 0.0, 1.0]]])))
    0.5
    """
    arguments.array("spikes", spikes)
    if spikes.ndim < 3:
        raise ValueError(f"spikes must have shape [T, B, *units], got {list(spikes.shape)}")
    _check_not_empty("spikes", spikes)
    silent = jnp.mean(jnp.all(spikes == 0, axis=(0, 1)), dtype=jnp.float32)
    if not jnp.issubdtype(spikes.dtype, jnp.floating):
        return silent
    return jnp.where(jnp.any(jnp.isnan(spikes)), jnp.nan, silent)


def synaptic_operations(
    spikes: Real[AnyArray, "T B *in"] | Bool[AnyArray, "T B *in"],
    fan_out: Numbers | Real[AnyArray, "*#in"] | Bool[AnyArray, "*#in"],
) -> Float32[Array, " B"]:
    """Synaptic operations (SOPs) of each example: Σₜ Σᵢ [oᵢᵗ ≠ 0] fan_outᵢ.

    Each operation is one addition. The same layer of the ANN baseline needs fan-in x units
    multiply-accumulates, once. The count of an example with a NaN input is NaN.

    Args:
      spikes: the layer's *inputs*, `[T, B, *in]`.
      fan_out: number of synapses that each input drives: a scalar, or `[*in]`, as the `fan_out` of
        a synapse gives it.

    Returns:
      `[B]`.

    Raises:
      ValueError: `spikes` has no T or no B axis; `fan_out` has another shape.
      TypeError: `spikes` is not an array of real numbers.

    >>> synaptic_operations(jnp.array([[[1.0, 0.0, 1.0]]]), 10)
    Array([20.], dtype=float32)
    """
    arguments.array("spikes", spikes)
    if spikes.ndim < 2:
        raise ValueError(f"spikes must have shape [T, B, *in], got {list(spikes.shape)}")
    arguments.array("fan_out", np.asarray(fan_out) if isinstance(fan_out, int | float) else fan_out)
    if jnp.shape(fan_out) not in ((), spikes.shape[2:]):
        raise ValueError(
            f"fan_out must be a number or have the inputs' shape {list(spikes.shape[2:])}, got "
            f"{list(jnp.shape(fan_out))}"
        )
    if jnp.ndim(fan_out):
        fan_out = jnp.asarray(fan_out)[None, None]
    weighted = (spikes != 0).astype(jnp.float32) * jnp.asarray(fan_out, jnp.float32)
    if jnp.issubdtype(spikes.dtype, jnp.floating):
        weighted = jnp.where(jnp.isnan(spikes), jnp.nan, weighted)
    return jnp.sum(weighted, axis=(0, *range(2, weighted.ndim)))
