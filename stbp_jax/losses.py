"""Losses for each example, `[B]`, from scores `[B, C]` or spikes `[T, B, *units]`.

A readout (`readouts`) gives the scores. The caller takes the mean over examples.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float, Integer, Real

from stbp_jax import arguments
from stbp_jax.core import AnyArray, Array, Numbers

_HINT = "; outputs [T, B, C] need a readout first, such as rate(outs)"


def _check_scores(name: str, scores: Any) -> None:
    arguments.array(name, scores)
    arguments.rank(name, scores, "BC", _HINT)
    if scores.shape[1] == 0:
        raise ValueError(f"{name} must have at least one class, got {list(scores.shape)}")


def _check_floats(name: str, scores: Any) -> None:
    """Check for floats: integer scores, as from `first_spike`, have no gradient."""
    _check_scores(name, scores)
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        raise TypeError(f"{name} must be floats, got dtype {scores.dtype}")


Labels = Integer[AnyArray, " B"] | Sequence[Any]
"""The class of each example."""


def half_squared_error(
    scores: Real[AnyArray, "B C"] | Bool[AnyArray, "B C"],
    targets: Labels | Real[AnyArray, "B C"] | Bool[AnyArray, "B C"],
) -> Float[Array, " B"]:
    """Half the squared distance to the target: 1/2 Σ_c (y_c - score_c)².

    Its mean over examples is the paper's loss. The mean over examples and classes of the squared
    error (PyTorch's MSELoss) is 2/C times that.

    Args:
      scores: `[B, C]`, such as the output rates.
      targets: `[B, C]`, or integer labels `[B]`, which become one-hot. The values of traced labels
        are not checked: a label outside [0, C) becomes a target of zeros.

    Returns:
      `[B]`.

    Raises:
      ValueError: shapes that do not match, no classes, labels outside [0, C).
      TypeError: labels that are not integers; scores or targets that are not real numbers.

    >>> half_squared_error(jnp.array([[1.0, 0.5]]), jnp.array([0]))
    Array([0.125], dtype=float32)

    Source: Wu et al. 2018, equation (9).
    """
    _check_scores("scores", scores)
    wanted = arguments.listed("targets", targets)
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        scores = jnp.asarray(scores, jnp.result_type(float))  # the square of a uint8 would wrap
    elif scores.dtype != jnp.result_type(scores):
        scores = jnp.asarray(scores, jnp.result_type(scores))  # NumPy's float64
    if wanted.ndim == 1:
        batch, classes = scores.shape
        arguments.labels("targets", wanted, batch=batch, classes=classes)
        wanted = jax.nn.one_hot(wanted, classes, dtype=scores.dtype)
    elif wanted.shape != scores.shape:
        raise ValueError(
            f"targets must have the scores' shape {list(scores.shape)} or be labels "
            f"[{scores.shape[0]}], got {list(wanted.shape)}"
        )
    arguments.array("targets", wanted)
    if not jnp.issubdtype(wanted.dtype, jnp.floating):
        wanted = jnp.asarray(wanted, scores.dtype)
    return 0.5 * jnp.sum((wanted - scores) ** 2, axis=-1)


def cross_entropy(scores: Float[AnyArray, "B C"], labels: Labels) -> Float[Array, " B"]:
    """Softmax cross-entropy: -log softmax(score)_label.

    Args:
      scores: floats `[B, C]`.
      labels: integers `[B]`. The values of traced labels are not checked: C or more gives NaN, a
        negative label counts from the last class.

    Returns:
      `[B]`.

    Raises:
      ValueError: shapes that do not match, no classes, labels outside [0, C).
      TypeError: scores that are not floats, labels that are not integers.

    >>> cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([1])).round(3)
    Array([0.693], dtype=float32)
    """
    _check_floats("scores", scores)
    batch, classes = scores.shape
    labels = arguments.listed("labels", labels)
    arguments.labels("labels", labels, batch=batch, classes=classes)
    return optax.losses.softmax_cross_entropy_with_integer_labels(scores, jnp.asarray(labels))


def negative_log_likelihood(
    log_probabilities: Float[AnyArray, "B C"], labels: Labels
) -> Float[Array, " B"]:
    """Negative log-likelihood of the label: -log p_label.

    After `mean_log_probability` it is the cross-entropy of each step, averaged over time:
    -1/T Σₜ log softmax(oᵗ)_label.

    Args:
      log_probabilities: floats `[B, C]`.
      labels: integers `[B]`. The values of traced labels are not checked: C or more gives NaN, a
        negative label counts from the last class.

    Returns:
      `[B]`.

    Raises:
      ValueError: shapes that do not match, no classes, labels outside [0, C).
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


def activity_penalty(
    spikes: Real[AnyArray, "T B *units"] | Bool[AnyArray, "T B *units"], *, target: Numbers
) -> Float[Array, " B"]:
    """Squared distance of firing rates from a target: mean over units of (1/T Σₜ oᵗ - target)².

    Args:
      spikes: `[T, B, *units]` of one layer.
      target: spikes per step in [0, 1]; a scalar or of the units' shape. Traced values are not
        checked.

    Returns:
      `[B]`.

    Raises:
      ValueError: `target` is outside [0, 1] or has another shape; `spikes` has no step or no unit.
      TypeError: `spikes` is not an array of real numbers; `target` is not a float.

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
    rates = jnp.mean(arguments.held("spikes", spikes), axis=0)
    excess = rates - (jnp.asarray(target)[None] if jnp.ndim(target) else target)
    return jnp.mean(excess**2, axis=range(1, excess.ndim))
