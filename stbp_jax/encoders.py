"""Encoders: functions from values in [0, 1] to input sequences `[T, B, ...]`.

`bernoulli` and `latency` give spikes, `constant` gives currents. Recorded events become sequences
in `stbp_jax.events`.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool, Float, Real, Shaped, UInt8, UInt32

from stbp_jax import arguments
from stbp_jax.core import AnyArray, Array, KeyArray, Shape

# Numbers of steps whose Bernoulli spikes are drawn together: the draws of a long sequence would not
# fit the caches. 15 steps and the byte that rounds the limits fill four words.
LONGEST_BLOCK, BLOCK = 32, 15

_SPIKES = "a dtype of floats, integers or bools", jnp.floating, jnp.integer, jnp.bool_


def _intensities(images: Any, dtype: Any) -> Array:
    arguments.array("images", images, "uint8, or floats in [0, 1]")
    arguments.images("images", images)
    if jnp.result_type(images) == jnp.uint8:
        return jnp.asarray(images, dtype) / jnp.asarray(255, dtype)
    return jnp.asarray(images, dtype)


Images = Float[AnyArray, "B *in"] | UInt8[AnyArray, "B *in"]
"""Values in [0, 1], or bytes."""


def bernoulli(
    key: KeyArray, images: Images, num_steps: int, *, dtype: Any = None
) -> Shaped[Array, "T B *in"]:
    """Rate code: oᵗ ~ Bernoulli(p) at every step, independent over steps and pixels.

    The probability p is the pixel's value, divided by 255 if uint8. Each 32-bit draw serves four
    steps, one byte each. A spike occurs if the byte is below a limit: 256 p, rounded up or down at
    random, once for each pixel and up to 32 steps. So p is exact to 2⁻¹⁷ (0 never fires, 1 always
    does), and two steps of a pixel share only this rounding, a covariance below 4e-6.

    Args:
      key: one key of any kind; `jax.random.key(0, impl="rbg")` is faster on accelerators.
      images: `[B, ...]`, uint8 or floats in [0, 1]. The values of traced images are not checked.
      num_steps: T.
      dtype: of the spikes; the default float type if None.

    Returns:
      Spikes `[T, B, ...]`, 0 or 1.

    Raises:
      TypeError: `key` is not a random key; `images` is not an array or has another dtype;
        `num_steps` is not an integer; `dtype` is not a dtype of real numbers.
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
    steps = -(-num_steps // blocks)  # even blocks: few steps are drawn in vain
    keys = jax.random.split(key, blocks)

    def one(key: KeyArray) -> Array:
        return _block(key, scaled, steps, dtype)

    in_turn, at_once = functools.partial(lax.map, one), jax.vmap(one)
    if jax.random.key_impl(key) == "threefry2x32":  # other keys draw other bits under vmap
        # A loop launches each block on a GPU; a CPU has the draws of one block in its caches.
        spikes = lax.platform_dependent(keys, default=in_turn, cuda=at_once, rocm=at_once)
    else:
        spikes = in_turn(keys)
    return spikes.reshape((blocks * steps, *scaled.shape))[:num_steps]


def _block(key: KeyArray, scaled: Array, num_steps: int, dtype: Any) -> Array:
    """Draw spikes of a few steps, with one rounding of the limits; `scaled` is 65536 p."""
    words = _words(key, num_steps // 4 + 1, scaled.shape)
    shifts = jnp.arange(0, 32, 8, dtype=jnp.uint32).reshape((1, 4) + (1,) * scaled.ndim)
    drawn = ((words[:, None] >> shifts) & 255).reshape((4 * len(words), *scaled.shape))
    # There is at least one byte more than steps: it rounds the limit.
    limits = (scaled + 255 - drawn[num_steps]) >> 8
    return (drawn[:num_steps] < limits[None]).astype(dtype)


def _words(key: KeyArray, count: int, shape: Shape) -> Array:
    """Draw 32-bit words `[count, *shape]`."""
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(jnp.asarray(key))
    if jax.random.key_impl(key) != "threefry2x32":
        return jax.random.bits(key, (count, *shape), jnp.uint32)
    # jax.random.bits computes one hash per word, discards half of it, and on a CPU goes through
    # memory in every round. The barrier prevents a hash per byte.
    halves = -(-count // 2)
    flat = (halves, math.prod(shape))
    counters = (lax.broadcasted_iota(jnp.uint32, flat, axis) for axis in (0, 1))
    pair = lax.optimization_barrier(threefry2x32(jax.random.key_data(key), *counters))
    return jnp.stack(pair).reshape((2 * halves, *shape))[:count]


def threefry2x32(
    key: UInt32[Array, "2"], high: UInt32[Array, "*shape"], low: UInt32[Array, "*shape"]
) -> tuple[UInt32[Array, "*shape"], UInt32[Array, "*shape"]]:
    """Hash a key and 64-bit counters to 64 bits each, as JAX's default keys do.

    Args:
      key: two words, uint32.
      high: high words of the counters, uint32 of any shape.
      low: low words of the counters, uint32 of the same shape.

    Returns:
      Two arrays of uint32 words, of that shape.

    >>> key, low = jnp.zeros(2, jnp.uint32), jnp.arange(3, dtype=jnp.uint32)
    >>> [words.shape for words in threefry2x32(key, jnp.zeros_like(low), low)]
    [(3,), (3,)]

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


def constant(images: Images, num_steps: int, *, dtype: Any = None) -> Float[Array, "T B *in"]:
    """Direct input: xᵗ = p at every step, a current and not a spike.

    Args:
      images: `[B, ...]`, uint8 (p = pixel / 255) or floats in [0, 1]. The values of traced images
        are not checked.
      num_steps: T.
      dtype: of the result; the default float type if None.

    Returns:
      `[T, B, ...]`, the same slice T times.

    Raises:
      TypeError: `images` is not an array or has another dtype; `num_steps` is not an integer;
        `dtype` is not a float type, and would round p to 0 or 1.
      ValueError: values outside [0, 1] or not finite; `num_steps` below 1.

    >>> constant(jnp.array([[0.5]]), 3).ravel()
    Array([0.5, 0.5, 0.5], dtype=float32)
    """
    num_steps = arguments.count("num_steps", num_steps)
    dtype = arguments.dtype("dtype", dtype, "a dtype of floats", jnp.floating)
    values = _intensities(images, jnp.result_type(float) if dtype is None else dtype)
    return jnp.broadcast_to(values[None], (num_steps, *values.shape))


def latency(images: Images, num_steps: int, *, dtype: Any = None) -> Shaped[Array, "T B *in"]:
    """Latency code: one spike for each pixel p > 0, at step t = round((1 - p)(T - 1)).

    Bright pixels fire first: p = 1 at the first step, p near 0 at the last.

    Args:
      images: `[B, ...]`, uint8 (p = pixel / 255) or floats in [0, 1]. The values of traced images
        are not checked.
      num_steps: T.
      dtype: of the spikes; the default float type if None.

    Returns:
      Spikes `[T, B, ...]`, 0 or 1.

    Raises:
      TypeError: `images` is not an array or has another dtype; `num_steps` is not an integer;
        `dtype` is not a dtype of real numbers.
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
    return fires * (values > 0).astype(dtype)[None]


def pack(
    spikes: Real[AnyArray, "T B *in"] | Bool[AnyArray, "T B *in"],
) -> UInt8[Array, "T B bytes"]:
    """Pack spikes into bits, eight units a byte: 1/32 of the memory of float32.

    The layer `stbp_jax.layers.unpack` restores them.

    Args:
      spikes: `[T, B, *in]`; every value but 0 is a spike, a traced NaN too.

    Returns:
      uint8 `[T, B, ceil(prod(in) / 8)]`.

    Raises:
      TypeError: `spikes` is not an array of real numbers.
      ValueError: `spikes` has no T or no B axis, or holds NaN.

    >>> pack(jnp.array([[[1.0, 0.0, 1.0]]])).tolist()
    [[[160]]]
    """
    arguments.array("spikes", spikes)
    if spikes.ndim < 2:
        raise ValueError(f"spikes must be sequences [T, B, ...], got {list(spikes.shape)}")
    arguments.no_nan("spikes", spikes)
    # A NumPy array is compared by NumPy: a 64-bit value that JAX narrows to 32 bits may become 0.
    flat = jnp.asarray(spikes != 0).reshape((*spikes.shape[:2], math.prod(spikes.shape[2:])))
    return jnp.packbits(flat, axis=-1)
