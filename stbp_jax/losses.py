"""Losses of each example, on scores `[B, C]` or spikes; the user takes the mean.

Scores come from a readout (`readouts`).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from stbp_jax import arguments
from stbp_jax.core import Array

_HINT = "; outputs [T, B, C] need a readout first, rate(outs) for one"


def _check_scores(name: str, scores: Any) -> None:
    arguments.array(name, scores)
    arguments.rank(name, scores, "BC", _HINT)
    if scores.shape[1] == 0:
        raise ValueError(f"{name} must have at least one class, got {list(scores.shape)}")


def _check_floats(name: str, scores: Any) -> None:
    """Scores that a gradient passes: those of `first_spike` are integers, and train nothing."""
    _check_scores(name, scores)
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        raise TypeError(f"{name} must be floats, got dtype {scores.dtype}")


def half_squared_error(scores: Array, targets: Any) -> Array:
    """Half the squared distance to the target: 1/2 Σ_c (y_c - score_c)².

    Its mean over examples is the paper's loss; a mean over classes too (PyTorch's MSELoss) is 2/C
    of it.

    Args:
      scores: `[B, C]`, output rates for one.
      targets: `[B, C]`, or integer labels `[B]`, read as one-hot. The values of traced labels are
        not checked: one outside [0, C) is a target of zeros.

    Returns:
      `[B]`.

    Raises:
      ValueError: shapes that do not fit, no classes, labels outside [0, C).
      TypeError: labels that are not integers; scores or targets that are no real numbers.

    >>> half_squared_error(jnp.array([[1.0, 0.5]]), jnp.array([0]))
    Array([0.125], dtype=float32)

    Source: Wu et al. 2018, equation (9).
    """
    _check_scores("scores", scores)
    targets = arguments.listed("targets", targets)
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        scores = jnp.asarray(scores, jnp.result_type(float))  # the square of a uint8 would wrap
    elif scores.dtype != jnp.result_type(scores):
        scores = jnp.asarray(scores, jnp.result_type(scores))  # float64 of NumPy
    if targets.ndim == 1:
        batch, classes = scores.shape
        arguments.labels("targets", targets, batch=batch, classes=classes)
        targets = jax.nn.one_hot(targets, classes, dtype=scores.dtype)
    elif targets.shape != scores.shape:
        raise ValueError(
            f"targets must have the scores' shape {list(scores.shape)} or be labels "
            f"[{scores.shape[0]}], got {list(targets.shape)}"
        )
    arguments.array("targets", targets)
    return 0.5 * jnp.sum((targets - scores) ** 2, axis=-1)


def cross_entropy(scores: Array, labels: Any) -> Array:
    """Softmax cross-entropy: -log softmax(score)_label.

    Args:
      scores: `[B, C]`, any floats.
      labels: integers `[B]`. The values of traced ones are not checked: C or more gives NaN, one
        below 0 counts from the last class.

    Returns:
      `[B]`.

    Raises:
      ValueError: shapes that do not fit, no classes, labels outside [0, C).
      TypeError: scores that are not floats, labels that are not integers.

    >>> cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([1])).round(3)
    Array([0.693], dtype=float32)
    """
    _check_floats("scores", scores)
    batch, classes = scores.shape
    labels = arguments.listed("labels", labels)
    arguments.labels("labels", labels, batch=batch, classes=classes)
    return optax.losses.softmax_cross_entropy_with_integer_labels(scores, jnp.asarray(labels))


def negative_log_likelihood(log_probabilities: Array, labels: Any) -> Array:
    """The negative score of the label: -score_label, for scores that are log-probabilities.

    After `mean_log_probability` it is the cross-entropy over time: 1/T Σₜ -log softmax(oᵗ)_label.

    Args:
      log_probabilities: `[B, C]`, floats.
      labels: integers `[B]`. The values of traced ones are not checked: C or more gives NaN, one
        below 0 counts from the last class.

    Returns:
      `[B]`.

    Raises:
      ValueError: shapes that do not fit, no classes, labels outside [0, C).
      TypeError: scores that are not floats, labels that are not integers.

    >>> negative_log_likelihood(jnp.array([[-0.1, -2.4]]), jnp.array([1]))
    Array([2.4], dtype=float32)
    """
    _check_floats("log_probabilities", log_probabilities)
    batch, classes = log_probabilities.shape
    labels = arguments.listed("labels", labels)
    arguments.labels("labels", labels, batch=batch, classes=classes)
    chosen = jnp.asarray(labels)[:, None]
    return -jnp.take_along_axis(log_probabilities, chosen, axis=1)[:, 0]


def activity_penalty(spikes: Array, *, target: Any) -> Array:
    """Squared distance of firing rates from a wanted one: mean over units of (rate - target)².

    Args:
      spikes: `[T, B, *units]` of one layer.
      target: spikes per step in [0, 1]; a scalar or of the units' shape. The values of a traced
        one are not checked.

    Returns:
      `[B]`.

    Raises:
      ValueError: `target` outside [0, 1] or of another shape; spikes without steps or units.
      TypeError: spikes that are no array of real numbers; `target` not a float.

    >>> activity_penalty(jnp.ones((4, 1, 3)), target=0.5)
    Array([0.25], dtype=float32)
    """
    arguments.unit_interval("target", target)
    arguments.array("spikes", spikes)
    if spikes.ndim < 3 or 0 in (spikes.shape[0], *spikes.shape[2:]):
        raise ValueError(
            "spikes must have shape [T, B, *units] with a step and a unit, got "
            f"{list(spikes.shape)}"
        )
    if jnp.shape(target) not in ((), spikes.shape[2:]):
        raise ValueError(
            f"target must be a scalar or have the units' shape {list(spikes.shape[2:])}, got "
            f"{list(jnp.shape(target))}"
        )
    excess = jnp.mean(arguments.held("spikes", spikes), axis=0) - (
        target[None] if jnp.ndim(target) else target
    )
    return jnp.mean(excess**2, axis=range(1, excess.ndim))
