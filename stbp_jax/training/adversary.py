"""Adversarial training on images that are perturbed along the input gradient through time."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax import arguments
from stbp_jax.core import Array, Params
from stbp_jax.training.datasets import parts_of
from stbp_jax.training.pipeline import Batch, LossFn, check_function


def adversarial(loss_fn: LossFn, *, epsilon: Any, share: Any = 0.5) -> LossFn:
    """A loss over the original images and over images moved to increase that loss.

        L'(w) = (1 - share) L(w, x) + share L(w, x'),  x' = x + ε sign(∂L/∂x), clipped to [0, 1]

    One backward pass through time gives ∂L/∂w and ∂L/∂x at x, and a second pass gives ∂L/∂w at x',
    so an update costs two passes at any share. Both passes draw the same numbers from `key` and use
    the same targets. x' is a constant: no gradient crosses its computation. The encoding must pass
    gradients, as `constant` does. Through random or packed spikes ∂L/∂x is 0, and images are not
    moved. With a share of 1, a network may learn to resist only this single step (Wong et al.
    2020).

    Args:
      loss_fn: `(params, key, (images [B, ...], targets)) -> (scalar loss, report)`, with float
        parameters, and images as uint8 or floats in [0, 1]; the batch may have weights too.
      epsilon: the distance ε that each pixel is moved, in units of the full range; a scalar of at
        least 0, may be traced.
      share: the share of the moved images in the loss; a scalar in [0, 1], may be traced.

    Returns:
      A loss with the signature of `loss_fn`; its report is that of the original images. Only first
      derivatives with respect to the parameters are correct.

    Raises:
      TypeError: `loss_fn` is not callable, or `epsilon` or `share` is not a float. The returned
        loss raises it if the batch is not a tuple or the images are no array of such a dtype.
      ValueError: `epsilon` is negative or not finite, `share` is outside [0, 1], or one of them is
        not a scalar. The returned loss raises it if images are outside [0, 1]; in a compiled update
        the pixels are not known, and the moved images are clipped.

    Source: Goodfellow, Shlens, Szegedy 2015, the fast gradient sign method with a share of 1/2. A
    share of 1 is one step of Madry et al. 2018.

    >>> pull = lambda params, key, batch: (jnp.sum(params * batch[0]), None)
    >>> against = adversarial(pull, epsilon=0.25, share=1.0)
    >>> images = jnp.array([[0.5, 0.5, 0.9]])
    >>> params = jnp.array([[1.0, -1.0, 1.0]])
    >>> float(against(params, jax.random.key(0), (images, jnp.array([0])))[0])
    1.5
    """
    epsilon = arguments.not_negative("epsilon", epsilon)
    share = arguments.unit_interval("share", share)
    for name, value in (("epsilon", epsilon), ("share", share)):
        if jnp.ndim(value):
            raise ValueError(f"{name} must be a scalar, got shape {list(jnp.shape(value))}")
    check_function("loss_fn", loss_fn)

    def mixed(params: Params, key: Array, batch: Batch) -> tuple[Array, Any]:
        parts_of("batch", batch)
        images, *others = batch
        arguments.images("images", arguments.array("images", images))
        if jnp.result_type(images) == jnp.uint8:
            images = jnp.asarray(images, jnp.result_type(float)) / 255

        def loss_at(params: Params, images: Array) -> tuple[Array, Any]:
            return loss_fn(params, key, (images, *others))

        both = jax.value_and_grad(loss_at, argnums=(0, 1), has_aux=True)
        (plain, report), (slope, against) = both(lax.stop_gradient(params), images)
        moved = jnp.clip(images + epsilon * jnp.sign(against), 0, 1).astype(images.dtype)
        worse, _ = loss_at(params, lax.stop_gradient(moved))
        return (1 - share) * _with_slope(plain, slope, params) + share * worse, report

    return mixed


@jax.custom_jvp
def _with_slope(value: Array, slope: Params, params: Params) -> Array:
    """The value with a gradient that is already known, which saves a backward pass."""
    return value


@_with_slope.defjvp
def _slope(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    value, slope, _ = primals
    rises = jax.tree.map(lambda s, d: jnp.sum(s * d).astype(value.dtype), slope, tangents[2])
    return value, sum(jax.tree.leaves(rises), jnp.zeros_like(value))
