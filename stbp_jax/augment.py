"""Training images made anew at every update, on the device.

Decides how an image may change and keep its label. Leaves out when: a `Pipeline` augments what it
learns from and never what it is tested on.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from stbp_jax import arguments
from stbp_jax.core import Array


def elastic(key: Array, images: Any, *, sigma: float = 4.0, alpha: float = 34.0) -> Array:
    """Elastic distortion: every pixel is fetched from a little way off, neighbors from nearby.

    The ways are uniform in [-1, 1] in both directions, smoothed by a Gaussian of `sigma` pixels and
    multiplied by `alpha`; with the defaults they have a standard deviation of 1.4 pixels. Between
    pixels values are interpolated linearly; outside an image is 0. Each image gets its own.

    Args:
      key: of any kind.
      images: `[B, height, width]` or `[B, height, width, channels]`, uint8 or floats; channels move
        together.
      sigma: of the smoothing, in pixels.
      alpha: strength, in pixels.

    Returns:
      Images of the same shape and dtype.

    Raises:
      TypeError: a key that is none; images that are no array, or neither uint8 nor floats;
        `sigma` or `alpha` no floats.
      ValueError: images of another rank or without pixels; `sigma` not positive, `alpha` negative;
        one of them not a scalar. Traced numbers are not checked.

    Source: Simard, Steinkraus, Platt 2003; its defaults for MNIST.
    """
    arguments.key("key", key)
    arguments.positive("sigma", sigma)
    arguments.number("alpha", alpha, "0 or more and finite", lambda a: np.isfinite(a) & (a >= 0))
    arguments.scalar("sigma", sigma)
    arguments.scalar("alpha", alpha)
    images = _batch(images)
    if images.dtype != jnp.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"images must be uint8 or floats, got dtype {images.dtype}")
    batch, height, width = images.shape[:3]
    ways = jax.random.uniform(key, (2, batch, height, width), jnp.float32, -1, 1)
    ways = alpha * jnp.einsum("ij,dbjk,kl->dbil", _blur(height, sigma), ways, _blur(width, sigma))
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"))
    where = jnp.moveaxis(grid[:, None] + ways, 1, 0)  # [B, 2, height, width]

    def fetch(image: Array, where: Array) -> Array:
        return map_coordinates(image, [where[0], where[1]], order=1, mode="constant")

    over_channels = jax.vmap(fetch, (2, None), 2) if images.ndim == 4 else fetch
    moved = jax.vmap(over_channels)(images.astype(jnp.float32), where)
    if jnp.issubdtype(images.dtype, jnp.integer):
        moved = jnp.round(moved)
    return moved.astype(images.dtype)


def horizontal_flip(key: Array, images: Any, *, probability: float = 0.5) -> Array:
    """Mirrors each image left to right, or leaves it as it is: for things without handedness.

    Args:
      key: of any kind.
      images: `[B, height, width]` or `[B, height, width, channels]`, of any dtype.
      probability: of an image to be mirrored; a scalar, may be traced.

    Returns:
      Images of the same shape and dtype.

    Raises:
      TypeError: a key that is none; images that are no array; `probability` no float.
      ValueError: images of another rank or without pixels; `probability` outside [0, 1] or not a
        scalar. A traced number is not checked.

    >>> horizontal_flip(jax.random.key(0), jnp.array([[[1, 2, 3]]]), probability=1.0)
    Array([[[3, 2, 1]]], dtype=int32)
    """
    arguments.key("key", key)
    arguments.unit_interval("probability", probability)
    arguments.scalar("probability", probability)
    images = _batch(images)
    mirrored = jax.random.bernoulli(key, probability, images.shape[:1])
    over = mirrored.reshape(-1, *(1,) * (images.ndim - 1))
    return jnp.where(over, images[:, :, ::-1], images)


def _batch(images: Any) -> Array:
    arguments.array("images", images)
    if images.ndim not in (3, 4):
        raise ValueError(
            "images must have shape [B, height, width] or [B, height, width, channels], got "
            f"{list(images.shape)}"
        )
    if 0 in images.shape[1:]:
        raise ValueError(f"images must have pixels, got shape {list(images.shape)}")
    return jnp.asarray(images)


def _blur(size: int, sigma: Any) -> Array:
    """A Gaussian along one axis as a matrix; outside are zeros."""
    far = jnp.arange(-size, size + 1)
    bell = jnp.exp(-0.5 * (far / sigma) ** 2)
    bell = bell / jnp.sum(bell)
    place = jnp.arange(size)
    return bell[place[:, None] - place[None] + size]
