"""Products of presynaptic values and weights, for the `matmul` argument of `dense` and `conv`.

Each product sums a synapse's inputs in a precision of its own. The membranes and the optimizer's
weights keep the dtype of the kernel.

Every product raises a TypeError if an operand is not an array or the kernel does not hold floats,
and a ValueError if the shapes do not fit.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Real

from stbp_jax import arguments, meshes
from stbp_jax.core import AnyArray, Array, wide_dtype

Matmul = Callable[[Array, Array], Array]
"""`(x [..., in], kernel [in, out]) -> [..., out]` in the kernel's dtype; `...` is T, B or B."""


Inputs = Real[AnyArray, "*batch in"] | Bool[AnyArray, "*batch in"]


def _operands(x: AnyArray, kernel: AnyArray) -> tuple[Array, Array]:
    """Checks both operands and casts `x` to the kernel's dtype."""
    arguments.array("x", x)
    arguments.array("kernel", kernel)
    if not jnp.issubdtype(kernel.dtype, jnp.floating):
        raise TypeError(f"kernel must be of floats, got dtype {kernel.dtype}")
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"x must be real, got dtype {x.dtype}")
    arguments.rank("kernel", kernel, ("in", "out"))
    if not 1 <= x.ndim <= 3:
        raise ValueError(f"x must have shape [in], [B, in] or [T, B, in], got {list(x.shape)}")
    if x.shape[-1] != kernel.shape[0]:
        raise ValueError(
            f"x and kernel must have one number of inputs, got {list(x.shape)} and "
            f"{list(kernel.shape)}"
        )
    return meshes.vary_alike(jnp.asarray(x).astype(kernel.dtype), jnp.asarray(kernel))


def full_matmul(x: Inputs, kernel: Float[AnyArray, "in out"]) -> Float[Array, "*batch out"]:
    """X W in the dtype of the weights, the default of `dense`.

    Args:
      x: `[..., in]`.
      kernel: `[in, out]`.

    Returns:
      `[..., out]`, in the kernel's dtype.

    >>> full_matmul(jnp.array([True, False]), jnp.array([[1.0, 2.0], [3.0, 4.0]]))
    Array([1., 2.], dtype=float32)
    """
    x, kernel = _operands(x, kernel)
    return x @ kernel


def bfloat16_matmul(x: Inputs, kernel: Float[AnyArray, "in out"]) -> Float[Array, "*batch out"]:
    """X W with both operands rounded to bfloat16 and sums in float32; both gradients likewise.

    Spikes are exact in bfloat16, so the forward product rounds only the weights, to 8 bits of
    mantissa. The backward pass keeps 2 bytes of each input instead of 4.

    Args:
      x: `[..., in]`.
      kernel: `[in, out]`, float32 or wider.

    Returns:
      `[..., out]`, in the kernel's dtype.

    >>> bfloat16_matmul(jnp.ones((1, 1)), jnp.array([[1 + 2**-9]])).tolist()
    [[1.0]]
    """
    return _bfloat16(*_operands(x, kernel))


def split_bfloat16_matmul(
    x: Inputs, kernel: Float[AnyArray, "in out"]
) -> Float[Array, "*batch out"]:
    """X W for spikes, as three bfloat16 products that together hold all 24 bits of a weight.

    This product is for tensor cores, which multiply bfloat16 many times as fast as float32. It
    equals the float32 product up to the order of sums, and so does the gradient with respect to the
    weights. The gradient with respect to `x` is a float32 product.

    Args:
      x: `[..., in]`, exact in bfloat16, such as 0 and 1; other values are rounded.
      kernel: `[in, out]`, float32.

    Returns:
      `[..., out]`, in the kernel's dtype.

    Raises:
      TypeError: the kernel is wider than float32.

    >>> split_bfloat16_matmul(jnp.ones((1, 1)), jnp.array([[1 + 2**-9]])).tolist()
    [[1.001953125]]
    """
    x, kernel = _operands(x, kernel)
    if kernel.dtype.itemsize > 4:
        raise TypeError(f"kernel must be float32, whose 24 bits are kept, got {kernel.dtype}")
    return _split(x, kernel)


def event_driven_matmul(x: Inputs, kernel: Float[AnyArray, "in out"]) -> Float[Array, "*batch out"]:
    """X W as the sum of xᵢ Wᵢ over the inputs i that are not 0, for sparse spikes at B = 1.

    Only the weights of non-zero inputs are read, while the full product reads all weights. On one
    CPU core this product costs less if up to a third of the inputs are non-zero. For large batches
    and on accelerators the full product is faster. Each example is summed by itself in the order of
    its inputs, so `step` and `unroll` agree to the last bit. Both gradients are those of the full
    product. If a weight that no input drives is NaN or infinite, the full product is NaN and this
    product is not.

    Args:
      x: `[..., in]`.
      kernel: `[in, out]`.

    Returns:
      `[..., out]`, in the kernel's dtype.

    >>> event_driven_matmul(jnp.array([[0.0, 2.0]]), jnp.array([[1.0], [3.0]])).tolist()
    [[6.0]]
    """
    return _event_driven(*_operands(x, kernel))


_WORD = 32  # inputs per word of spike bits


@jax.custom_vjp
def _event_driven(x: Array, kernel: Array) -> Array:
    if x.ndim == 1:
        return _rows(x[None], kernel)[0]
    if x.ndim > 2:
        return jax.lax.map(lambda x: _event_driven(x, kernel), x)
    return meshes.over_batch(_rows, x, kernel)


def _rows(x: Array, kernel: Array) -> Array:
    x, kernel = meshes.vary_alike(x, kernel)
    size = x.shape[1]
    if not size:
        return jnp.zeros_like(x, shape=(x.shape[0], kernel.shape[1]), dtype=kernel.dtype)
    count = -(-size // _WORD)
    spikes = jnp.pad(x != 0, ((0, 0), (0, _WORD * count - size))).reshape((-1, count, _WORD))
    bits = jnp.uint32(1) << jnp.arange(_WORD, dtype=jnp.uint32).reshape((1, 1, -1))
    words = jnp.sum(jnp.where(spikes, bits, jnp.uint32(0)), axis=-1, dtype=jnp.uint32)

    def row(values_words: tuple[Array, Array]) -> Array:
        values, words = values_words

        def add(carried: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            at, word, total = carried
            lowest = word & (~word + 1)
            offset = jax.lax.population_count(lowest - 1).astype(at.dtype)
            index = jnp.minimum(_WORD * at + offset, size - 1)  # an empty word has no lowest bit
            total += (jnp.where(word != 0, values[index], 0) * kernel[index]).astype(total.dtype)
            word &= word - 1
            at += (word == 0).astype(at.dtype)
            after = words[jnp.minimum(at, count - 1)]
            return at, jnp.where(word == 0, after, word), total

        wide = wide_dtype(kernel.dtype)  # bfloat16 sums of ones stop at 256
        zeros = jnp.zeros_like(kernel[0], dtype=wide)
        start = meshes.vary_alike(jnp.int32(0), words[0], zeros)
        total = jax.lax.while_loop(lambda carried: carried[0] < count, add, start)[2]
        return total.astype(kernel.dtype)

    return jax.lax.map(row, (x, words))


def _event_driven_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _event_driven(x, kernel), (x, kernel)


def _event_driven_backward(residuals: tuple[Array, Array], bar: Array) -> tuple[Array, Array]:
    x, kernel = residuals
    return bar @ kernel.T, _over_examples(x, bar, kernel)


_event_driven.defvjp(_event_driven_forward, _event_driven_backward)


def _dot(x: Array, kernel: Array) -> Array:
    """The product of bfloat16 values and a matrix, summed in float32."""
    return jnp.dot(x, kernel, preferred_element_type=jnp.float32)


def _over_examples(x: Array, bar: Array, kernel: Array) -> Array:
    """The gradient of a kernel, Σ x barᵀ over all examples, placed as the kernel is."""
    leading = tuple(range(x.ndim - 1))
    wide = wide_dtype(bar.dtype)
    return jax.lax.dot_general(
        x,
        bar,
        ((leading, leading), ((), ())),
        preferred_element_type=wide,
        out_sharding=meshes.placement(kernel),
    )


@jax.custom_vjp
def _bfloat16(x: Array, kernel: Array) -> Array:
    return _bfloat16_forward(x, kernel)[0]


def _bfloat16_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    low, low_kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    return _dot(low, low_kernel).astype(kernel.dtype), (low, low_kernel)


def _bfloat16_backward(residuals: tuple[Array, Array], bar: Array) -> tuple[Array, Array]:
    low, low_kernel = residuals
    low_bar = bar.astype(jnp.bfloat16)
    bars = _dot(low_bar, low_kernel.T), _over_examples(low, low_bar, low_kernel)
    return bars[0].astype(bar.dtype), bars[1].astype(bar.dtype)


_bfloat16.defvjp(_bfloat16_forward, _bfloat16_backward)


def _parts(x: Array) -> list[Array]:
    """Three bfloat16 arrays whose sum equals `x` to 24 bits."""
    parts = []
    for _ in range(3):
        # XLA may drop a cast to bfloat16 and back, but not reduce_precision.
        part = jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
        parts.append(part.astype(jnp.bfloat16))
        x = x - part
    return parts


@jax.custom_vjp
def _split(x: Array, kernel: Array) -> Array:
    return _split_forward(x, kernel)[0]


def _split_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    low = x.astype(jnp.bfloat16)
    # Small parts first, so that the largest part does not absorb them one by one.
    y = sum(_dot(low, part) for part in reversed(_parts(kernel)))
    return jnp.asarray(y, kernel.dtype), (low, kernel)


def _split_backward(residuals: tuple[Array, Array], bar: Array) -> tuple[Array, Array]:
    low, kernel = residuals
    kernel_bar = sum(_over_examples(low, part, kernel) for part in reversed(_parts(bar)))
    return bar @ kernel.T, jnp.asarray(kernel_bar, kernel.dtype)


_split.defvjp(_split_forward, _split_backward)
