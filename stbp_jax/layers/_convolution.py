"""Convolution over images, in the formulation that is fastest on each platform.

On accelerators XLA's own convolution is fast. On the CPU it is slow for few channels, slower under
`vmap` over kernels, and its gradients are slowest inside a loop, such as a scan over updates
(jax 0.10 to 0.12). The CPU therefore computes one matrix product over tiles of a row.
"""

from functools import partial

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from stbp_jax import arguments
from stbp_jax.core import AnyArray, Array, wide_dtype


def convolve(
    x: Float[AnyArray, "B height width channels"],
    kernel: Float[AnyArray, "kh kw channels features"],
    padding: str,
) -> Float[Array, "B rows columns features"]:
    """Cross-correlation with stride 1: y[r, c] = Σᵢⱼ x[r + i, c + j] kernel[i, j].

    JAX selects the formulation by platform when it lowers the program. Both formulations are
    differentiable in forward and reverse mode, and equal up to the order of sums.

    Args:
      x: `[B, height, width, channels]`, with the kernel's dtype.
      kernel: `[kh, kw, channels, features]`.
      padding: `"valid"` or `"same"`.

    Returns:
      `[B, height', width', features]`.

    Raises:
      ValueError: `padding` is unknown (capitals included), or the shapes do not fit.
      TypeError: `x` and `kernel` are not arrays of numbers, or differ in dtype.
    """
    _check(x, kernel, padding)
    if 0 in x.shape:
        return direct(jnp.asarray(x), jnp.asarray(kernel), padding)
    return lax.platform_dependent(
        x,
        kernel,
        cpu=partial(banded, padding=padding),
        default=partial(direct, padding=padding),
    )


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


def direct(x: Array, kernel: Array, padding: str) -> Array:
    """`convolve` by XLA's convolution."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=padding.upper(),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def banded(x: Array, kernel: Array, padding: str) -> Array:
    """`convolve` as one matrix product, in float32 or wider.

    Each row of outputs is cut into tiles about as wide as the kernel. The pixels that a tile sees
    form one vector, and a banded (Toeplitz) matrix maps this vector to all outputs of the tile.
    This takes less than twice the necessary multiplications. In return, each pixel is copied far
    less often than with one vector for each output, and the product is wide even for few features.
    """
    dtype = x.dtype
    kh, kw, channels, features = kernel.shape
    batch, height, width, _ = x.shape
    if padding == "same":
        top, left = (kh - 1) // 2, (kw - 1) // 2
        bottom, right = kh - 1 - top, kw - 1 - left
    else:
        top = left = bottom = right = 0
    rows, columns = height + top + bottom - kh + 1, width + left + right - kw + 1
    tile = tile_width(columns, kw)
    tiles = -(-columns // tile)
    # A tile also sees pixels of the blocks to its right. Each block is as wide as a tile.
    blocks = tiles + -(-(kw - 1) // tile)

    # In bfloat16, the gradients' sums over tiles would be rounded at each addition.
    x, kernel = (a.astype(wide_dtype(dtype)) for a in (x, kernel))
    beyond = blocks * tile - width - left
    x = jnp.pad(x, ((0, 0), (top, bottom), (left, beyond), (0, 0)))
    x = x.reshape((batch, height + top + bottom, blocks, tile * channels))
    views = [
        x[:, i : i + rows, n : n + tiles, : (tile + kw - 1 - n * tile) * channels]
        for i in range(kh)
        for n in range(blocks - tiles + 1)
    ]
    pixels = jnp.concatenate(views, axis=-1)  # [batch, rows, tiles, pixels that a tile sees]
    y = pixels.reshape((batch * rows * tiles, -1)) @ _band(kernel, tile)
    y = y.reshape((batch, rows, tiles * tile, features))[:, :, :columns]
    return y.astype(dtype)


def tile_width(columns: int, kw: int) -> int:
    """A tile width from half the kernel's width to the kernel's, dividing `columns` if possible."""
    for tile in range(kw, kw // 2, -1):
        if columns % tile == 0:
            return tile
    return -(-columns // -(-columns // kw))


def _band(kernel: Array, tile: int) -> Array:
    """The kernel at `tile` positions in a row: `[kh * seen * channels, tile * features]`."""
    kh, kw, channels, features = kernel.shape
    seen = tile + kw - 1  # columns of pixels
    # Each copy is one column longer than a row, so after the reshape each starts one further right.
    copies = jnp.pad(kernel, ((0, 0), (0, tile), (0, 0), (0, 0)))
    copies = jnp.broadcast_to(copies[:, None], (kh, tile, seen + 1, channels, features))
    copies = copies.reshape((kh, tile * (seen + 1), channels, features))[:, : tile * seen]
    shifted = copies.reshape((kh, tile, seen, channels, features))
    return shifted.transpose((0, 2, 3, 1, 4)).reshape((kh * seen * channels, tile * features))
