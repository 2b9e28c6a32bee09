"""Convolution over images, in the formulation that is fastest on each platform.

On accelerators XLA's own convolution is fast. On the CPU it is slow for few channels, slower under
`vmap` over kernels, and its gradients are slowest inside a loop, such as a scan over updates
(jax 0.10 to 0.12). The CPU therefore computes one matrix product over tiles of a row.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from stbp_jax import arguments, meshes
from stbp_jax.core import AnyArray, Array, wide_dtype
from stbp_jax.layers._matmul import Matmul, full_matmul

Stride = int | tuple[int, int]


def convolve(
    x: Float[AnyArray, "B height width channels"],
    kernel: Float[AnyArray, "kh kw channels features"],
    padding: str,
    *,
    stride: Stride = 1,
    matmul: Matmul = full_matmul,
) -> Float[Array, "B rows columns features"]:
    """Cross-correlation: y[r, c] = Σᵢⱼ x[r s + i, c s + j] kernel[i, j] with stride s.

    JAX selects the formulation by platform when it lowers the program. Both formulations are
    differentiable in forward and reverse mode, and equal up to the order of sums. Another product
    than `full_matmul` computes the matrix product of `banded`, on every platform.

    Args:
      x: `[B, height, width, channels]`, with the kernel's dtype.
      kernel: `[kh, kw, channels, features]`.
      padding: `"valid"` or `"same"`.
      stride: s in pixels, one number or (rows, columns).
      matmul: the product of pixels and kernel, as in `dense`.

    Returns:
      `[B, height', width', features]`.

    Raises:
      ValueError: `padding` is unknown (capitals included), a stride is below 1, or the shapes do
        not fit.
      TypeError: `x` and `kernel` are not arrays of numbers, or differ in dtype; `stride` is not a
        static integer or two; `matmul` is not callable.

    >>> convolve(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 2)), "valid").shape
    (1, 2, 2, 2)
    """
    _check(x, kernel, padding)
    strides = check_stride(stride)
    arguments.function("matmul", matmul, "a product, such as full_matmul")
    by_platform: dict[str, Any] = {
        "cpu": partial(banded, padding=padding, strides=strides),
        "default": partial(direct, padding=padding, strides=strides),
    }
    if 0 in x.shape:
        return by_platform["default"](jnp.asarray(x), jnp.asarray(kernel))
    if matmul is not full_matmul:
        return banded(jnp.asarray(x), jnp.asarray(kernel), padding, strides, matmul)
    return lax.platform_dependent(x, kernel, **by_platform)


def check_stride(stride: Any) -> tuple[int, int]:
    """Return a stride as two integers, of rows and columns; raises unless it is one or two."""
    sizes = stride if isinstance(stride, tuple) else (stride, stride)
    if len(sizes) != 2:
        raise ValueError(f"stride must be one integer or two, got {stride!r}")
    rows, columns = (arguments.count("stride", size) for size in sizes)
    return rows, columns


def out_sizes(size: int, kernel: int, stride: int, padding: str) -> tuple[int, int, int]:
    """The number of outputs along an axis, and the zeros before and after its pixels.

    >>> out_sizes(5, 3, 1, "same"), out_sizes(5, 3, 2, "valid")
    ((5, 1, 1), (2, 0, 0))
    """
    if padding == "valid":
        return (size - kernel) // stride + 1, 0, 0
    count = -(-size // stride)
    zeros = max((count - 1) * stride + kernel - size, 0)
    return count, zeros // 2, zeros - zeros // 2


def _check(x: AnyArray, kernel: AnyArray, padding: str) -> None:
    if not isinstance(padding, str) or padding not in ("valid", "same"):
        raise ValueError(f"padding must be 'valid' or 'same', got {padding!r}")
    arguments.rank("x", arguments.array("x", x), ("B", "height", "width", "channels"))
    arguments.rank(
        "kernel", arguments.array("kernel", kernel), ("kh", "kw", "channels", "features")
    )
    if x.dtype != kernel.dtype:
        raise TypeError(f"x must have the kernel's dtype {kernel.dtype}, got {x.dtype}")
    if x.shape[3] != kernel.shape[2]:
        raise ValueError(f"x must have {kernel.shape[2]} channels, got {list(x.shape)}")
    if padding == "valid" and (x.shape[1] < kernel.shape[0] or x.shape[2] < kernel.shape[1]):
        raise ValueError(
            f"x must be at least as large as the kernel {list(kernel.shape[:2])}, got "
            f"{list(x.shape)}"
        )


def direct(x: Array, kernel: Array, padding: str, strides: tuple[int, int] = (1, 1)) -> Array:
    """`convolve` by XLA's convolution."""

    def local(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(
            x,
            kernel,
            window_strides=strides,
            padding=padding.upper(),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    return meshes.over_batch(local, x, kernel)


def banded(
    x: Array,
    kernel: Array,
    padding: str,
    strides: tuple[int, int] = (1, 1),
    matmul: Matmul = full_matmul,
) -> Array:
    """`convolve` as one matrix product, in float32 or wider.

    Each row of outputs is cut into tiles about as wide as the kernel. The pixels that a tile sees
    form one vector, and a banded (Toeplitz) matrix maps this vector to all outputs of the tile.
    This takes less than twice the necessary multiplications. In return, each pixel is copied far
    less often than with one vector for each output, and the product is wide even for few features.
    """
    dtype = x.dtype
    kh, kw, channels, features = kernel.shape
    batch, height, width, _ = x.shape
    down, right = strides
    rows, top, bottom = out_sizes(height, kh, down, padding)
    columns, left, _ = out_sizes(width, kw, right, padding)
    tile = tile_width(columns, -(-kw // right))
    tiles = -(-columns // tile)
    block = tile * right  # pixels from one tile to the next
    seen = (tile - 1) * right + kw  # pixels of a tile
    # A tile also sees pixels of the blocks to its right.
    further = -(-max(seen - block, 0) // block)
    end = (tiles + further) * block - left  # pixels up to here, with zeros beyond the image

    # In bfloat16, the gradients' sums over tiles would be rounded at each addition.
    x, kernel = (a.astype(wide_dtype(dtype)) for a in (x, kernel))
    x = x[:, :, :end]
    x = jnp.pad(x, ((0, 0), (top, bottom), (left, max(end - width, 0)), (0, 0)))
    # Each reshape splits or joins one axis: a sharded batch allows no other.
    x = x.reshape((batch, height + top + bottom, tiles + further, block, channels))
    x = x.reshape((batch, height + top + bottom, tiles + further, block * channels))
    views = [
        x[:, i : i + (rows - 1) * down + 1 : down, n : n + tiles, : (seen - n * block) * channels]
        for i in range(kh)
        for n in range(further + 1)
    ]
    pixels = jnp.concatenate(views, axis=-1)  # [batch, rows, tiles, pixels that a tile sees]
    # Of more axes than two, the kernel's gradient would copy the pixels.
    y = matmul(pixels.reshape((batch * rows * tiles, -1)), _band(kernel, tile, right))
    y = y.reshape((batch, rows, tiles, tile * features))
    y = y.reshape((batch, rows, tiles, tile, features))
    y = y.reshape((batch, rows, tiles * tile, features))[:, :, :columns]
    return y.astype(dtype)


def tile_width(columns: int, kw: int) -> int:
    """A tile width from half the kernel's width to the kernel's, dividing `columns` if possible."""
    for tile in range(kw, kw // 2, -1):
        if columns % tile == 0:
            return tile
    return -(-columns // -(-columns // kw))


def _band(kernel: Array, tile: int, stride: int) -> Array:
    """The kernel at `tile` positions in a row: `[kh * seen * channels, tile * features]`."""
    kh, kw, channels, features = kernel.shape
    seen = (tile - 1) * stride + kw  # columns of pixels
    # Each copy is `stride` columns longer than a row, so that after the reshape each starts that
    # much further right.
    longer = seen + stride
    copies = jnp.pad(kernel, ((0, 0), (0, longer - kw), (0, 0), (0, 0)))
    copies = jnp.broadcast_to(copies[:, None], (kh, tile, longer, channels, features))
    copies = copies.reshape((kh, tile * longer, channels, features))[:, : tile * seen]
    shifted = copies.reshape((kh, tile, seen, channels, features))
    return shifted.transpose((0, 2, 3, 1, 4)).reshape((kh * seen * channels, tile * features))
