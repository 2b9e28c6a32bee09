"""Losses for each example, `[B]`, from scores `[B, C]`, outputs or spikes `[T, B, *units]`.

A readout (`readouts`) gives the scores. Outputs `[T, B, C]` may meet targets at every step; a loss
then has one number for each step of each example, `[T, B]`, or `[B]` with a mask. The caller takes
the mean over examples.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float, Integer, Real

from stbp_jax import arguments
from stbp_jax.core import AnyArray, Array, Numbers

_SEQUENCES = " or [T, B, C] with a target for every step"


def _check_scores(name: str, scores: Any) -> None:
    arguments.array(name, scores)
    if scores.ndim not in (2, 3):
        raise ValueError(f"{name} must have shape [B, C]{_SEQUENCES}, got {list(scores.shape)}")
    if scores.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one class, got {list(scores.shape)}")


def _check_floats(name: str, scores: Any) -> None:
    """Check for floats: integer scores, as from `first_spike`, have no gradient."""
    _check_scores(name, scores)
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        raise TypeError(f"{name} must be floats, got dtype {scores.dtype}")


def _own_steps(name: str, scores: Any, mask: Any) -> Any:
    """The scores with 0 at padded steps, whose numbers then reach no gradient."""
    if mask is None:
        return scores
    if scores.ndim != 3:
        raise ValueError(
            f"mask needs {name} of every step, [T, B, C], got {list(scores.shape)}; a readout "
            "takes the mask itself"
        )
    return jnp.where(arguments.steps_of("mask", mask, scores), scores, 0)


def _mean_over_steps(xs: AnyArray, mask: Any) -> Array:
    """The mean over the steps of each example, `[T, B, ...]` to `[B, ...]`."""
    steps = arguments.steps_of("mask", mask, xs)
    total = jnp.sum(jnp.where(steps, xs, 0), axis=0)
    return total / jnp.sum(steps, axis=0, dtype=total.dtype)


Scores = Float[AnyArray, "*batch C"]
"""The score of each class, for each example or for each step of each example."""
Labels = Integer[AnyArray, "*batch"] | Sequence[Any]
"""The class of each example, or of each step of each example."""


def half_squared_error(
    scores: Real[AnyArray, "*batch C"] | Bool[AnyArray, "*batch C"],
    targets: Labels | Real[AnyArray, "*batch C"] | Bool[AnyArray, "*batch C"],
    *,
    mask: Bool[AnyArray, "T B"] | None = None,
) -> Float[Array, "..."]:
    """Half the squared distance to the target: 1/2 Σ_c (y_c - score_c)².

    Its mean over examples is the paper's loss. The mean over examples and classes of the squared
    error (PyTorch's MSELoss) is 2/C times that.

    Args:
      scores: `[B, C]`, such as the output rates, or `[T, B, C]`.
      targets: numbers to predict, floats of the scores' shape; or integer labels `[B]` or `[T, B]`,
        which become one-hot, for C of 2 or more. The values of traced labels are not checked: a
        label outside [0, C) becomes a target of zeros.
      mask: `[T, B]` bool, whether a step belongs to the example, for scores `[T, B, C]`; None for
        all steps. The scores of padded steps change neither the result nor a gradient.

    Returns:
      `[B]`; for scores `[T, B, C]` it is `[T, B]`, and with a mask the mean over the steps of each
      example, `[B]`.

    Raises:
      ValueError: shapes that do not match, no classes, labels outside [0, C) or beside one output.
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
    scores = _own_steps("scores", scores, mask)
    *leading, classes = scores.shape
    if wanted.ndim < scores.ndim:
        arguments.labels("targets", wanted, shape=leading, classes=classes)
        wanted = jax.nn.one_hot(wanted, classes, dtype=scores.dtype)
    elif wanted.shape != scores.shape:
        raise ValueError(
            f"targets must have the scores' shape {list(scores.shape)} or be integer labels "
            f"{leading}, got {list(wanted.shape)}"
        )
    arguments.array("targets", wanted)
    if not jnp.issubdtype(wanted.dtype, jnp.floating):
        wanted = jnp.asarray(wanted, scores.dtype)
    losses = 0.5 * jnp.sum((wanted - scores) ** 2, axis=-1)
    return losses if mask is None else _mean_over_steps(losses, mask)


def cross_entropy(
    scores: Scores, labels: Labels, *, mask: Bool[AnyArray, "T B"] | None = None
) -> Float[Array, "..."]:
    """Softmax cross-entropy: -log softmax(score)_label.

    Args:
      scores: floats `[B, C]` or `[T, B, C]`.
      labels: integers `[B]` or `[T, B]`. The values of traced labels are not checked: C or more
        gives NaN, a negative label counts from the last class.
      mask: as in `half_squared_error`.

    Returns:
      As `half_squared_error`.

    Raises:
      ValueError: shapes that do not match, fewer than two classes, labels outside [0, C).
      TypeError: scores that are not floats, labels that are not integers.

    >>> cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([1])).round(3)
    Array([0.693], dtype=float32)
    """
    _check_floats("scores", scores)
    *leading, classes = scores.shape
    labels = arguments.listed("labels", labels)
    arguments.labels("labels", labels, shape=leading, classes=classes)
    scores = _own_steps("scores", scores, mask)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(scores, jnp.asarray(labels))
    return losses if mask is None else _mean_over_steps(losses, mask)


def negative_log_likelihood(
    log_probabilities: Scores, labels: Labels, *, mask: Bool[AnyArray, "T B"] | None = None
) -> Float[Array, "..."]:
    """Negative log-likelihood of the label: -log p_label.

    After `mean_log_probability` it is the cross-entropy of each step, averaged over time:
    -1/T Σₜ log softmax(oᵗ)_label.

    Args:
      log_probabilities: floats `[B, C]` or `[T, B, C]`.
      labels: integers `[B]` or `[T, B]`. The values of traced labels are not checked: C or more
        gives NaN, a negative label counts from the last class.
      mask: as in `half_squared_error`.

    Returns:
      As `half_squared_error`.

    Raises:
      ValueError: shapes that do not match, fewer than two classes, labels outside [0, C).
      TypeError: scores that are not floats, labels that are not integers.

    >>> negative_log_likelihood(jnp.array([[-0.1, -2.4]]), jnp.array([1]))
    Array([2.4], dtype=float32)
    """
    _check_floats("log_probabilities", log_probabilities)
    *leading, classes = log_probabilities.shape
    labels = arguments.listed("labels", labels)
    arguments.labels("labels", labels, shape=leading, classes=classes)
    scores = _own_steps("log_probabilities", log_probabilities, mask)
    chosen = jnp.asarray(labels)[..., None]
    losses = -jnp.take_along_axis(scores, chosen, axis=-1)[..., 0]
    return losses if mask is None else _mean_over_steps(losses, mask)


def activity_penalty(
    spikes: Real[AnyArray, "T B *units"] | Bool[AnyArray, "T B *units"],
    *,
    target: Numbers,
    mask: Bool[AnyArray, "T B"] | None = None,
) -> Float[Array, " B"]:
    """Squared distance of firing rates from a target: mean over units of (1/T Σₜ oᵗ - target)².

    Args:
      spikes: `[T, B, *units]` of one layer.
      target: spikes per step in [0, 1]; a scalar or of the units' shape. Traced values are not
        checked.
      mask: `[T, B]` bool, whether a step belongs to the example; None for all steps. The rates are
        then those of each example's own steps. Padded steps change neither the result nor a
        gradient, whatever they hold.

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
    spikes = arguments.held("spikes", spikes)
    rates = jnp.mean(spikes, axis=0) if mask is None else _mean_over_steps(spikes, mask)
    excess = rates - (jnp.asarray(target)[None] if jnp.ndim(target) else target)
    return jnp.mean(excess**2, axis=range(1, excess.ndim))
