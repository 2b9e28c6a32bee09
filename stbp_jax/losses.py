"""Losses for each example, on scores `[B, C]` or spikes; the user takes the mean.

Decides what is minimised. Leaves out the readout that makes scores (`coding`).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from stbp_jax import checks
from stbp_jax.core import Array

_HINT = "; outputs [T, B, C] need a readout first, rate(outs) for one"


def squared_error(scores: Array, targets: Any) -> Array:
    """Half the squared distance to the target: 1/2 Σ_c (y_c - score_c)².

    Its mean over examples is the paper's loss; a mean over classes too (PyTorch's MSELoss) is 2/C
    of it.

    Args:
      scores: `[B, C]`, output rates for one.
      targets: `[B, C]`, or integer labels `[B]`, read as one-hot.

    Returns:
      `[B]`.

    Raises:
      ValueError: shapes that do not fit, labels outside [0, C).
      TypeError: labels that are not integers.

    >>> squared_error(jnp.array([[1.0, 0.5]]), jnp.array([0]))
    Array([0.125], dtype=float32)

    Source: Wu et al. 2018, equation (9).
    """
    checks.rank("scores", scores, "BC", _HINT)
    if jnp.ndim(targets) == 1:
        batch, classes = scores.shape
        checks.labels("targets", targets, batch=batch, classes=classes)
        targets = jax.nn.one_hot(targets, classes, dtype=scores.dtype)
    elif jnp.shape(targets) != scores.shape:
        raise ValueError(
            f"targets must have the scores' shape {list(scores.shape)} or be labels "
            f"[{scores.shape[0]}], got {list(jnp.shape(targets))}"
        )
    return 0.5 * jnp.sum((targets - scores) ** 2, axis=-1)


def cross_entropy(scores: Array, labels: Any) -> Array:
    """Softmax cross-entropy: -log softmax(score)_label.

    Args:
      scores: `[B, C]`, any real numbers.
      labels: integers `[B]`.

    Returns:
      `[B]`.

    Raises:
      ValueError: shapes that do not fit, labels outside [0, C).
      TypeError: labels that are not integers.

    >>> cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([1])).round(3)
    Array([0.693], dtype=float32)
    """
    checks.rank("scores", scores, "BC", _HINT)
    batch, classes = scores.shape
    checks.labels("labels", labels, batch=batch, classes=classes)
    return optax.losses.softmax_cross_entropy_with_integer_labels(scores, jnp.asarray(labels))


def negative_log_likelihood(log_probabilities: Array, labels: Any) -> Array:
    """The negative score of the label: -score_label, for scores that are log-probabilities.

    After `mean_log_probability` it is the cross-entropy over time: 1/T Σₜ -log softmax(oᵗ)_label.

    Args:
      log_probabilities: `[B, C]`.
      labels: integers `[B]`.

    Returns:
      `[B]`.

    Raises:
      ValueError: shapes that do not fit, labels outside [0, C).
      TypeError: labels that are not integers.

    >>> negative_log_likelihood(jnp.array([[-0.1, -2.4]]), jnp.array([1]))
    Array([2.4], dtype=float32)
    """
    checks.rank("log_probabilities", log_probabilities, "BC", _HINT)
    batch, classes = log_probabilities.shape
    checks.labels("labels", labels, batch=batch, classes=classes)
    chosen = jnp.asarray(labels)[:, None]
    return -jnp.take_along_axis(log_probabilities, chosen, axis=1)[:, 0]


def activity_penalty(spikes: Array, *, target: Any) -> Array:
    """Squared distance of firing rates from a wanted one: mean over units of (rate - target)².

    Args:
      spikes: `[T, B, *units]` of one layer.
      target: spikes per step in [0, 1]; a scalar or of the units' shape.

    Returns:
      `[B]`.

    Raises:
      ValueError: `target` outside [0, 1]; spikes without units.

    >>> activity_penalty(jnp.ones((4, 1, 3)), target=0.5)
    Array([0.25], dtype=float32)
    """
    checks.unit_interval("target", target)
    if jnp.ndim(spikes) < 3:
        raise ValueError(f"spikes must have shape [T, B, *units], got {list(jnp.shape(spikes))}")
    excess = jnp.mean(spikes, axis=0) - (target[None] if jnp.ndim(target) else target)
    return jnp.mean(excess**2, axis=range(1, excess.ndim))
