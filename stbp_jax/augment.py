"""Random augmentation of training images, on the device.

Each function changes images in a way that keeps their labels. A `Pipeline` applies it at every
update to training images, and never to test images.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Float, Shaped, UInt8

from stbp_jax import arguments
from stbp_jax.core import AnyArray, Array, KeyArray, Numbers, wide_dtype


def elastic(
    key: KeyArray,
    images: Float[AnyArray, "B height width *channels"]
    | UInt8[AnyArray, "B height width *channels"],
    *,
    sigma: Numbers = 4.0,
    alpha: Numbers = 34.0,
) -> Shaped[Array, "B height width *channels"]:
    """Distorts each image by a smooth random displacement field.

        image'[p] = image[p + α (Gσ * n)[p]],  n uniform in [-1, 1] for each pixel and direction

    Gσ is a Gaussian with a standard deviation of `sigma` pixels. With the defaults, the
    displacements have a standard deviation of 1.4 pixels. Values between pixels are interpolated
    linearly, and values outside an image are 0. Each image has its own displacement field.

    Args:
      key: random key, typed or old-style.
      images: `[B, height, width]` or `[B, height, width, channels]`, uint8 or floats; all channels
        of an image share its displacements.
      sigma: standard deviation of the smoothing, in pixels.
      alpha: strength α of the displacements, in pixels.

    Returns:
      Images of the same shape and dtype.

    Raises:
      TypeError: `key` is not a random key, `images` is not an array of uint8 or floats, or `sigma`
        or `alpha` is not a float.
      ValueError: `images` has a wrong rank or no pixels, `sigma` is not positive, `alpha` is
        negative, or one of the two is not a scalar. Traced numbers are not checked.

    >>> images = jnp.zeros((2, 8, 8)).at[:, 3:5].set(1.0)
    >>> elastic(jax.random.key(0), images, alpha=2.0).shape
    (2, 8, 8)

    Source: Simard, Steinkraus, Platt 2003, with its defaults for MNIST.
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
    noise = jax.random.uniform(key, (2, batch, height, width), jnp.float32, -1, 1)
    blurs = _blur(height, sigma), _blur(width, sigma)
    noise = noise.astype(wide_dtype(blurs[0].dtype))
    shifts = alpha * jnp.einsum("ij,dbjk,kl->dbil", blurs[0], noise, blurs[1])
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"))
    places = grid.astype(shifts.dtype)[:, None] + shifts
    places = jnp.moveaxis(places, 1, 0)  # [B, 2, height, width]

    def fetch(image: Array, places: Array) -> Array:
        return map_coordinates(image, [places[0], places[1]], order=1, mode="constant")

    over_channels = jax.vmap(fetch, (2, None), 2) if images.ndim == 4 else fetch
    values = images.astype(jnp.float32).astype(places.dtype)
    moved = jax.vmap(over_channels)(values, places).astype(jnp.float32)
    if jnp.issubdtype(images.dtype, jnp.integer):
        moved = jnp.round(moved)
    return moved.astype(images.dtype)


def horizontal_flip(
    key: KeyArray,
    images: Shaped[AnyArray, "B height width *channels"],
    *,
    probability: Numbers = 0.5,
) -> Shaped[Array, "B height width *channels"]:
    """Mirrors each image left to right with a probability, for classes without handedness.

    Args:
      key: random key, typed or old-style.
      images: `[B, height, width]` or `[B, height, width, channels]`, of any dtype.
      probability: probability that an image is mirrored; a scalar in [0, 1], may be traced.

    Returns:
      Images of the same shape and dtype.

    Raises:
      TypeError: `key` is not a random key, `images` is not an array, or `probability` is not a
        float.
      ValueError: `images` has a wrong rank or no pixels, or `probability` is outside [0, 1] or not
        a scalar. A traced number is not checked.

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
    """Checks a batch of images and returns it as a JAX array."""
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
    """The matrix of a Gaussian blur along one axis, with zeros outside the image."""
    far = jnp.arange(-size, size + 1).astype(jnp.result_type(sigma))
    bell = jnp.exp(-0.5 * (far / sigma) ** 2)
    bell = bell / jnp.sum(bell)
    place = jnp.arange(size)
    return bell[place[:, None] - place[None] + size]
