"""Learning from images that are moved against the network: gradients through time, of the input."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax import checks
from stbp_jax.core import Array, Params
from stbp_jax.training.pipeline import Batch, LossFn


def adversarial(loss_fn: LossFn, *, epsilon: Any) -> LossFn:
    """The same loss of the images that it likes least nearby: x + ε sign(∂L/∂x), within [0, 1].

    ∂L/∂x comes by the same backward pass through time as the parameters' gradient, so that an
    update costs two. It needs a code that gradients pass, such as `constant`; through drawn or
    packed spikes they are 0, and the images stay as they are. Labels stay.

    Args:
      loss_fn: `(params, key, (images [B, ...], labels [B])) -> (scalar loss, report)`, of images
        as uint8, or floats in [0, 1].
      epsilon: how far each pixel is moved, in units of the full range; a scalar of at least 0, may
        be traced.

    Returns:
      A loss like `loss_fn`, of the moved images; its report is theirs.

    Raises:
      TypeError: when it is called, images of another dtype.
      ValueError: `epsilon` negative or not finite.

    Source: Goodfellow, Shlens, Szegedy 2015, the fast gradient sign method; the moved images alone
    are learnt from, as in Madry et al. 2018.

    >>> pull = lambda params, key, batch: (jnp.sum(params * batch[0]), None)
    >>> against = adversarial(pull, epsilon=0.25)
    >>> images = jnp.array([[0.5, 0.5, 0.9]])
    >>> float(against(jnp.array([1.0, -1.0, 1.0]), jax.random.key(0), (images, jnp.array([0])))[0])
    1.5
    """
    epsilon = checks.not_negative("epsilon", epsilon)

    def moved_loss(params: Params, key: Array, batch: Batch) -> tuple[Array, Any]:
        images, labels = batch
        checks.images("images", images)
        if jnp.result_type(images) == jnp.uint8:
            images = jnp.asarray(images, jnp.result_type(float)) / 255
        fixed = lax.stop_gradient(params)
        against, _ = jax.grad(lambda x: loss_fn(fixed, key, (x, labels)), has_aux=True)(images)
        moved = jnp.clip(images + epsilon * jnp.sign(against), 0, 1)
        return loss_fn(params, key, (lax.stop_gradient(moved), labels))

    return moved_loss
