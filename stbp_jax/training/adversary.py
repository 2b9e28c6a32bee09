"""Learning from images that are moved against the network: gradients through time, of the input."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax import arguments
from stbp_jax.core import Array, Params
from stbp_jax.training.datasets import check_pair
from stbp_jax.training.pipeline import Batch, LossFn, check_function


def adversarial(loss_fn: LossFn, *, epsilon: Any, share: Any = 0.5) -> LossFn:
    """Learns from images as they are, and moved to where the loss grows fastest.

        L'(w) = (1 - share) L(w, x) + share L(w, x'),  x' = x + ε sign(∂L/∂x), cut to [0, 1]

    One backward pass through time gives ∂L/∂w and ∂L/∂x at x, a second one ∂L/∂w at x', so that
    an update costs two, at any share. Both passes draw the same from `key`. Labels stay, and x'
    counts as given: no gradient goes through how it was found. It needs a code that gradients
    pass, such as `constant`; through drawn or packed spikes they are 0, and images stay where they
    are. With a share of 1 a network may learn to withstand this single step alone (Wong et al.
    2020).

    Args:
      loss_fn: `(params, key, (images [B, ...], labels [B])) -> (scalar loss, report)`, of
        parameters that are floats, and images as uint8, or floats in [0, 1].
      epsilon: how far each pixel is moved, in units of the full range; a scalar of at least 0, may
        be traced.
      share: of the moved images in the loss; a scalar in [0, 1], may be traced.

    Returns:
      A loss like `loss_fn`; its report is that of the images as they are. First gradients by the
      parameters alone are right.

    Raises:
      TypeError: a loss that cannot be called, numbers that are no floats; when it is called, a
        batch that is no pair, images of another dtype.
      ValueError: `epsilon` negative or not finite, `share` outside [0, 1], either no scalar; when
        it is called, images outside [0, 1]. In a compiled update the numbers of images are not
        known, and those outside are cut.

    Source: Goodfellow, Shlens, Szegedy 2015, the fast gradient sign method, with half of each; a
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
        images, labels = check_pair("batch", batch)
        arguments.images("images", images)
        if jnp.result_type(images) == jnp.uint8:
            images = jnp.asarray(images, jnp.result_type(float)) / 255

        def loss_at(params: Params, images: Array) -> tuple[Array, Any]:
            return loss_fn(params, key, (images, labels))

        both = jax.value_and_grad(loss_at, argnums=(0, 1), has_aux=True)
        (plain, report), (slope, against) = both(lax.stop_gradient(params), images)
        moved = jnp.clip(images + epsilon * jnp.sign(against), 0, 1).astype(images.dtype)
        worse, _ = loss_at(params, lax.stop_gradient(moved))
        return (1 - share) * _with_slope(plain, slope, params) + share * worse, report

    return mixed


@jax.custom_jvp
def _with_slope(value: Array, slope: Params, params: Params) -> Array:
    """The value, with that gradient, so that no second backward pass has to find it again."""
    return value


@_with_slope.defjvp
def _slope(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    value, slope, _ = primals
    rises = jax.tree.map(lambda s, d: jnp.sum(s * d).astype(value.dtype), slope, tangents[2])
    return value, sum(jax.tree.leaves(rises), jnp.zeros_like(value))
