"""Numbers that tell how well and how busily a network works.

Decides their formulas. Leaves out gradients: none of these is minimised.
"""

from typing import Any

import jax.numpy as jnp

from stbp_jax import checks
from stbp_jax.core import Array


def accuracy(scores: Array, labels: Any) -> Array:
    """Share of examples whose largest score is at the label; ties go to the lowest class.

    Args:
      scores: `[B, C]`.
      labels: integers `[B]`.

    Returns:
      Scalar in [0, 1].

    Raises:
      ValueError: shapes that do not fit, labels outside [0, C).
      TypeError: labels that are not integers.

    >>> float(accuracy(jnp.array([[0.9, 0.1], [0.8, 0.2]]), jnp.array([0, 1])))
    0.5
    """
    checks.rank("scores", scores, "BC")
    checks.labels("labels", labels, batch=scores.shape[0], classes=scores.shape[1])
    return jnp.mean(jnp.argmax(scores, axis=-1) == jnp.asarray(labels), dtype=jnp.float32)


def firing_rate(spikes: Array) -> Array:
    """Spikes per unit and step, mean over everything.

    Args:
      spikes: `[T, B, ...]`, 0 or 1.

    Returns:
      Scalar in [0, 1].
    """
    return jnp.mean(spikes, dtype=jnp.float32)


def silent_fraction(spikes: Array) -> Array:
    """Share of units that fire at no step in no example; such units learn nothing.

    Args:
      spikes: `[T, B, *units]`, 0 or 1.

    Returns:
      Scalar in [0, 1].

    >>> float(silent_fraction(jnp.array([[[0.0, 1.0, 0.0, 1.0]]])))
    0.5
    """
    return jnp.mean(jnp.all(spikes == 0, axis=(0, 1)), dtype=jnp.float32)


def synaptic_operations(spikes: Array, fan_out: Any) -> Array:
    """Synaptic operations (SOPs) of each example: Σₜ Σᵢ [oᵢᵗ ≠ 0] fan_outᵢ.

    Each is one addition; the non-spiking twin spends fan-in x units multiply-accumulates, once.

    Args:
      spikes: the layer's *inputs*, `[T, B, *in]`.
      fan_out: synapses that each input drives: a number, or `[*in]` as a synapse's `fan_out` gives.

    Returns:
      `[B]`.

    >>> synaptic_operations(jnp.array([[[1.0, 0.0, 1.0]]]), 10)
    Array([20.], dtype=float32)
    """
    if jnp.ndim(fan_out):
        fan_out = jnp.asarray(fan_out)[None, None]
    weighted = (spikes != 0) * jnp.asarray(fan_out, jnp.float32)
    return jnp.sum(weighted, axis=(0, *range(2, weighted.ndim)))
