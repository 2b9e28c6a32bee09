"""Products of presynaptic values and weights: what `dense` takes as its `product`.

Decides in which precision the sums of a synapse are made. Membranes stay in the dtype of the
weights, and so do the weights that an optimiser holds. Leaves out convolutions, which run in the
dtype of their weights.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from stbp_jax.core import Array

Product = Callable[[Array, Array], Array]


def full_product(x: Array, kernel: Array) -> Array:
    """X W in the dtype of the weights: the default.

    Args:
      x: `[B, in]`.
      kernel: `[in, out]`.

    Returns:
      `[B, out]`, in the kernel's dtype.
    """
    return x.astype(kernel.dtype) @ kernel


def bfloat16_product(x: Array, kernel: Array) -> Array:
    """X W with both rounded to bfloat16, summed in float32; likewise both gradients.

    A spike is exact in bfloat16, so that of the forward product only the weights are rounded, to
    8 bits of mantissa. Backward keeps 2 bytes of each input instead of 4. On a CPU it needs JAX
    0.10 or later: older backends may refuse such a product.

    Args:
      x: `[B, in]`.
      kernel: `[in, out]`, float32 or wider.

    Returns:
      `[B, out]`, in the kernel's dtype.

    >>> bfloat16_product(jnp.ones((1, 1)), jnp.array([[1 + 2**-9]])).tolist()
    [[1.0]]
    """
    return _bfloat16(x.astype(kernel.dtype), kernel)


def split_product(x: Array, kernel: Array) -> Array:
    """X W for spikes, by three bfloat16 products that together hold all 24 bits of a weight.

    For tensor cores, which multiply bfloat16 many times as fast as float32. Equal to the float32
    product up to the order of its sums, and so is the weights' gradient; the error handed down is a
    float32 product.

    Args:
      x: `[B, in]`, exact in bfloat16, as 0 and 1 are; else it is rounded.
      kernel: `[in, out]`, float32.

    Returns:
      `[B, out]`, in the kernel's dtype.

    >>> split_product(jnp.ones((1, 1)), jnp.array([[1 + 2**-9]])).tolist()
    [[1.001953125]]
    """
    return _split(x.astype(kernel.dtype), kernel)


def _dot(x: Array, kernel: Array) -> Array:
    """Of two bfloat16 matrices, summed in float32."""
    return jnp.dot(x, kernel, preferred_element_type=jnp.float32)


@jax.custom_vjp
def _bfloat16(x: Array, kernel: Array) -> Array:
    return _bfloat16_forward(x, kernel)[0]


def _bfloat16_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    low, low_kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    return _dot(low, low_kernel).astype(kernel.dtype), (low, low_kernel)


def _bfloat16_backward(residuals: tuple[Array, Array], bar: Array) -> tuple[Array, Array]:
    low, low_kernel = residuals
    low_bar = bar.astype(jnp.bfloat16)
    bars = _dot(low_bar, low_kernel.T), _dot(low.T, low_bar)
    return bars[0].astype(bar.dtype), bars[1].astype(bar.dtype)


_bfloat16.defvjp(_bfloat16_forward, _bfloat16_backward)


def _parts(x: Array) -> list[Array]:
    """Three bfloat16 arrays whose sum is `x` to 24 bits."""
    parts = []
    for _ in range(3):
        # reduce_precision, because XLA may drop a cast there and back.
        part = jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
        parts.append(part.astype(jnp.bfloat16))
        x = x - part
    return parts


@jax.custom_vjp
def _split(x: Array, kernel: Array) -> Array:
    return _split_forward(x, kernel)[0]


def _split_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    low = x.astype(jnp.bfloat16)
    # The small ones first: their sum is not lost in the large one.
    y = sum(_dot(low, part) for part in reversed(_parts(kernel)))
    return jnp.asarray(y, kernel.dtype), (low, kernel)


def _split_backward(residuals: tuple[Array, Array], bar: Array) -> tuple[Array, Array]:
    low, kernel = residuals
    kernel_bar = sum(_dot(low.T, part) for part in reversed(_parts(bar)))
    return bar @ kernel.T, jnp.asarray(kernel_bar, kernel.dtype)


_split.defvjp(_split_forward, _split_backward)
