"""Encoders: numbers in [0, 1] become sequences `[T, B, ...]`.

Events of a camera are binned in `events`.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from stbp_jax import arguments
from stbp_jax.core import Array, Shape

# Steps of Bernoulli spikes that are drawn together. Draws of all steps at once would outgrow the
# caches; 15 and the byte that rounds the limits fill four words.
LONGEST_BLOCK, BLOCK = 32, 15

_SPIKES = "a dtype of floats, integers or bools", jnp.floating, jnp.integer, jnp.bool_


def _intensities(images: Any, dtype: Any) -> Array:
    arguments.array("images", images, "uint8, or floats in [0, 1]")
    arguments.images("images", images)
    if jnp.result_type(images) == jnp.uint8:
        return jnp.asarray(images, dtype) / jnp.asarray(255, dtype)
    return jnp.asarray(images, dtype)


def bernoulli(key: Array, images: Any, num_steps: int, *, dtype: Any = None) -> Array:
    """Rate code: at every step a spike with probability p, independent over steps and pixels.

    oᵗ ~ Bernoulli(p), p = pixel / 255 for uint8. Each 32-bit draw serves four steps, a byte each:
    a spike where byte < limit, and the limit is 256 p rounded up or down at random once for each
    pixel and up to 32 steps. So p is exact to 2⁻¹⁷ (0 never fires, 1 always does), and two steps
    of a pixel share no more than that rounding, a covariance below 4e-6.

    Args:
      key: one key of any kind; `jax.random.key(0, impl="rbg")` is faster on accelerators.
      images: `[B, ...]`, uint8 or floats in [0, 1]. The values of traced images are not checked.
      num_steps: T.
      dtype: of the spikes; default the float type.

    Returns:
      Spikes `[T, B, ...]`, 0 or 1.

    Raises:
      TypeError: `key` not a random key; images that are no array, or of another dtype; `num_steps`
        not an integer; `dtype` not a dtype of real numbers.
      ValueError: more than one key; values outside [0, 1] or not finite; `num_steps` below 1.

    >>> bernoulli(jax.random.key(0), jnp.array([[0.0, 1.0]]), 2).tolist()
    [[[0.0, 1.0]], [[0.0, 1.0]]]

    Source: Wu et al. 2018, section 3.1.
    """
    arguments.key("key", key)
    num_steps = arguments.count("num_steps", num_steps)
    dtype = arguments.dtype("dtype", dtype, *_SPIKES)
    scaled = jnp.round(_intensities(images, jnp.float32) * 65536).astype(jnp.uint32)
    dtype = jnp.result_type(float) if dtype is None else dtype
    if num_steps <= LONGEST_BLOCK:
        return _block(key, scaled, num_steps, dtype)
    blocks = -(-num_steps // BLOCK)
    steps = -(-num_steps // blocks)  # as even as can be: what is too much must be cut off
    keys = jax.random.split(key, blocks)
    spikes = lax.map(lambda k: _block(k, scaled, steps, dtype), keys)
    return spikes.reshape((blocks * steps, *scaled.shape))[:num_steps]


def _block(key: Array, scaled: Array, num_steps: int, dtype: Any) -> Array:
    """Spikes of a few steps, with one rounding of the limits; `scaled` is 65536 p."""
    words = _words(key, num_steps // 4 + 1, scaled.shape)
    shifts = jnp.arange(0, 32, 8, dtype=jnp.uint32).reshape((1, 4) + (1,) * scaled.ndim)
    drawn = ((words[:, None] >> shifts) & 255).reshape((4 * len(words), *scaled.shape))
    # There is always a byte more than steps: it rounds the limit.
    limits = (scaled + 255 - drawn[num_steps]) >> 8
    return (drawn[:num_steps] < limits[None]).astype(dtype)


def _words(key: Array, count: int, shape: Shape) -> Array:
    """32-bit draws `[count, *shape]`."""
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if jax.random.key_impl(key) != "threefry2x32":
        return jax.random.bits(key, (count, *shape), jnp.uint32)
    # jax.random.bits hashes once for every word and gives half of the hash away; and on a CPU it
    # goes over memory in every round. The barrier keeps a word from being hashed for each byte.
    halves = -(-count // 2)
    flat = (halves, math.prod(shape))
    counters = (lax.broadcasted_iota(jnp.uint32, flat, axis) for axis in (0, 1))
    pair = lax.optimization_barrier(threefry2x32(jax.random.key_data(key), *counters))
    return jnp.stack(pair).reshape((2 * halves, *shape))[:count]


def threefry2x32(key: Array, high: Array, low: Array) -> tuple[Array, Array]:
    """The generator of JAX's default keys: 64 bits for every key and 64-bit counter.

    Args:
      key: two words.
      high: words of any shape.
      low: words of the same shape.

    Returns:
      Two arrays of words, of that shape.

    Source: Salmon, Moraes, Dror, Shaw 2011, Threefry-2x32 with 20 rounds.
    """
    rotations = ((13, 15, 26, 6), (17, 29, 16, 24))
    keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x, y = high + keys[0], low + keys[1]
    for i in range(5):
        for r in rotations[i % 2]:
            x = x + y
            y = ((y << np.uint32(r)) | (y >> np.uint32(32 - r))) ^ x
        x, y = x + keys[(i + 1) % 3], y + keys[(i + 2) % 3] + np.uint32(i + 1)
    return x, y


def constant(images: Any, num_steps: int, *, dtype: Any = None) -> Array:
    """Direct input: the value itself at every step, as a current; xᵗ = p.

    Args:
      images: `[B, ...]`, uint8 or floats in [0, 1].
      num_steps: T.
      dtype: of the result, a float type; default the float type.

    Returns:
      `[T, B, ...]`, the same slice T times.

    Raises:
      TypeError: images that are no array, or of another dtype; `num_steps` not an integer; `dtype`
        not a float type, in which an intensity would be 0 or 1.
      ValueError: values outside [0, 1] or not finite; `num_steps` below 1.

    >>> constant(jnp.array([[0.5]]), 3).ravel()
    Array([0.5, 0.5, 0.5], dtype=float32)
    """
    num_steps = arguments.count("num_steps", num_steps)
    dtype = arguments.dtype("dtype", dtype, "a dtype of floats", jnp.floating)
    values = _intensities(images, jnp.result_type(float) if dtype is None else dtype)
    return jnp.broadcast_to(values[None], (num_steps, *values.shape))


def latency(images: Any, num_steps: int, *, dtype: Any = None) -> Array:
    """Time code: one spike for each pixel above 0, the brighter the earlier.

    It comes at step round((1 - p)(T - 1)): p = 1 at the first step, p near 0 at the last.

    Args:
      images: `[B, ...]`, uint8 or floats in [0, 1]. The values of traced images are not checked.
      num_steps: T.
      dtype: of the spikes; default the float type.

    Returns:
      Spikes `[T, B, ...]`, 0 or 1.

    Raises:
      TypeError: images that are no array, or of another dtype; `num_steps` not an integer; `dtype`
        not a dtype of real numbers.
      ValueError: values outside [0, 1] or not finite; `num_steps` below 1.

    >>> latency(jnp.array([[1.0, 0.5, 0.0]]), 3)[:, 0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    num_steps = arguments.count("num_steps", num_steps)
    dtype = arguments.dtype("dtype", dtype, *_SPIKES)
    values = _intensities(images, jnp.float32)
    times = jnp.round((1 - values) * (num_steps - 1)).astype(jnp.int32)
    dtype = jnp.result_type(float) if dtype is None else dtype
    fires = jax.nn.one_hot(times, num_steps, dtype=dtype, axis=0)
    return fires * (values > 0)[None]


def pack(spikes: Any) -> Array:
    """Spikes as bits, eight units a byte: an input of 1/32 of the memory, for `unpack`.

    Args:
      spikes: `[T, B, *in]`; whatever is not 0 is a spike, a traced NaN too.

    Returns:
      `[T, B, ceil(prod(in) / 8)]`, uint8.

    Raises:
      TypeError: spikes that are no array of real numbers.
      ValueError: no T or no B axis; NaN.

    >>> pack(jnp.array([[[1.0, 0.0, 1.0]]])).tolist()
    [[[160]]]
    """
    arguments.array("spikes", spikes)
    if spikes.ndim < 2:
        raise ValueError(f"spikes must be sequences [T, B, ...], got {list(spikes.shape)}")
    arguments.no_nan("spikes", spikes)
    # NumPy compares NumPy's: 64 bits in 32 may become 0.
    flat = jnp.asarray(spikes != 0).reshape((*spikes.shape[:2], math.prod(spikes.shape[2:])))
    return jnp.packbits(flat, axis=-1)
