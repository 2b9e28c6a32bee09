"""Pooling: windows of pixels become one."""

from typing import Any

import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array, Layer, Params, Shape
from stbp_jax.layers._dtypes import float_type
from stbp_jax.layers.synapse import Synapse, pointwise


def avg_pool(window: int) -> Layer:
    """Mean over windows of `window` x `window` pixels, stride `window`; rows left over are cut.

    No neuron follows: the next synapse sees means of spikes, as in the authors' code.

    Args:
      window: in pixels.

    Returns:
      A `Layer` from `[T, B, height, width, channels]` to
      `[T, B, height // window, width // window, channels]`.

    Raises:
      ValueError: inputs that are not images, without channels, or smaller than the window.
      TypeError: `window` not a static integer; inputs that are no real numbers.

    >>> import jax
    >>> avg_pool(2).init(jax.random.key(0), (5, 4, 3))[1]
    (2, 2, 3)
    """
    window = arguments.count("window", window)
    name = f"avg_pool({window})"

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
        tiles = x.reshape((x.shape[0], rows, window, columns, window, channels))
        dtype = float_type(x)
        wide = jnp.promote_types(dtype, jnp.float32)  # bfloat16 counts to 256
        return jnp.mean(tiles, axis=(2, 4), dtype=wide).astype(dtype)

    def named() -> dict[str, Any]:
        return {"layer": "avg_pool", "window": window}

    return pointwise(Synapse(init, apply, constants=named))
