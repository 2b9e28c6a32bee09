"""Pooling of image windows."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array, Layer, Params, Shape, wide_dtype
from stbp_jax.layers._dtypes import float_type
from stbp_jax.layers.synapse import Synapse, pointwise


def avg_pool(window: int) -> Layer:
    """Mean over windows of `window` x `window` pixels with stride `window`.

        yᵗ[r, c] = mean over i, j < window of xᵗ[r window + i, c window + j]

    Rows and columns that fill no window are dropped. The layer has no neuron, so the next synapse
    sees means of spikes, as in the authors' code.

    Args:
      window: side of a window, in pixels.

    Returns:
      A `Layer` from `[T, B, height, width, channels]` to
      `[T, B, height // window, width // window, channels]`.

    Raises:
      ValueError: the inputs are not images, have no channels, or are smaller than the window.
      TypeError: `window` is not a static integer, or the inputs are not real numbers.

    >>> import jax
    >>> avg_pool(2).init(jax.random.key(0), (5, 4, 3))[1]
    (2, 2, 3)
    """

    def mean(tiles: Array) -> Array:
        dtype = float_type(tiles)
        wide = wide_dtype(dtype)  # bfloat16 sums of ones stop at 256
        return jnp.mean(tiles, axis=(2, 4), dtype=wide).astype(dtype)

    return _pool("avg_pool", window, mean)


def max_pool(window: int) -> Layer:
    """Maximum over windows of `window` x `window` pixels with stride `window`.

        yᵗ[r, c] = max over i, j < window of xᵗ[r window + i, c window + j]

    Of spikes, the result is a spike wherever one of the window is. Rows and columns that fill no
    window are dropped. The gradient of equal maxima is divided among them.

    Args:
      window: side of a window, in pixels.

    Returns:
      A `Layer`, as `avg_pool`.

    Raises:
      ValueError, TypeError: as `avg_pool`.

    >>> import jax
    >>> max_pool(2).init(jax.random.key(0), (5, 4, 3))[1]
    (2, 2, 3)
    """

    def maximum(tiles: Array) -> Array:
        return jnp.max(tiles.astype(float_type(tiles)), axis=(2, 4))

    return _pool("max_pool", window, maximum)


def _pool(kind: str, window: int, over: Callable[[Array], Array]) -> Layer:
    """The layer that reduces tiles `[B, rows, window, columns, window, channels]`."""
    window = arguments.count("window", window)
    name = f"{kind}({window})"

    def out_shape(shape: Shape) -> Shape:
        if len(shape) != 3 or min(shape[:2]) < window:
            raise ValueError(
                f"{name} needs images [height, width, channels] of at least "
                f"{window}x{window} pixels, got {list(shape)}"
            )
        return (shape[0] // window, shape[1] // window, shape[2])

    def init(key: Array, shape: Shape) -> tuple[Params, Shape]:
        shape = arguments.shape("shape", shape)
        out = out_shape(shape)
        if out[2] == 0:
            raise ValueError(f"{name} needs images with channels, got {list(shape)}")
        return (), out

    def apply(params: Params, x: Array) -> Array:
        arguments.array(f"{name}: inputs", x)
        rows, columns, channels = out_shape(x.shape[1:])
        x = x[:, : rows * window, : columns * window]
        # One axis at a time: a sharded batch allows no other reshape.
        x = x.reshape((x.shape[0], rows, window, columns * window, channels))
        return over(x.reshape((*x.shape[:3], columns, window, channels)))

    def named() -> dict[str, Any]:
        return {"layer": kind, "window": window}

    return pointwise(Synapse(init, apply, constants=named))
