"""Layers that change the shape or the packing of inputs: `flatten` and `unpack`."""

import math
from typing import Any

import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array, Layer, Params, Shape, State
from stbp_jax.layers.synapse import Synapse, check_slice, pointwise


def flatten() -> Layer:
    """Joins all axes of an example into one.

    Returns:
      A `Layer` from `[T, B, *in]` to `[T, B, prod(in)]`.

    Raises:
      TypeError: the inputs are not real numbers.

    >>> import jax
    >>> flatten().init(jax.random.key(0), (4, 4, 3))[1]
    (48,)
    """

    def init(key: Array, shape: Shape) -> tuple[Params, Shape]:
        return (), (math.prod(arguments.shape("shape", shape)),)

    def apply(params: Params, x: Array) -> Array:
        arguments.array("flatten(): inputs", x)
        return x.reshape((x.shape[0], math.prod(x.shape[1:])))

    return pointwise(Synapse(init, apply, constants=lambda: {"layer": "flatten"}))


def unpack(*shape: int) -> Layer:
    """Unpacks spikes from the bits that `encoders.pack` makes.

    Under `chunked`, memory holds the bits of the whole sequence and the spikes of one chunk.

    Args:
      *shape: shape of one example.

    Returns:
      A `Layer` from uint8 `[T, B, ceil(prod(shape) / 8)]` to floats `[T, B, *shape]`.

    Raises:
      TypeError: the inputs are not uint8.
      ValueError: the inputs have a wrong size.

    >>> import jax
    >>> params, out = unpack(2, 5).init(jax.random.key(0), (2,))
    >>> out
    (2, 5)
    """
    shape = tuple(arguments.count("shape", size) for size in shape)
    size = math.prod(shape)
    wanted = (-(-size // 8),)

    def out_shape(given: Shape) -> Shape:
        if given != wanted:
            raise ValueError(
                f"unpack{shape} needs time slices [B, {wanted[0]}] of bytes, got {list(given)}"
            )
        return shape

    def apply(params: Params, x: Array) -> Array:
        arguments.array(f"unpack{shape}: inputs", x)
        out_shape(x.shape[1:])
        if x.dtype != jnp.uint8:
            raise TypeError(f"unpack{shape} needs uint8, got {x.dtype}")
        bits = jnp.unpackbits(x, axis=-1, count=size)
        return bits.reshape((x.shape[0], *shape)).astype(jnp.result_type(float))

    def init(key: Array, given: Shape) -> tuple[Params, Shape]:
        return (), out_shape(arguments.shape("shape", given))

    def named() -> dict[str, Any]:
        return {"layer": "unpack", "shape": list(shape)}

    layer = pointwise(Synapse(init, apply, constants=named))

    def initial_state(
        params: Params, given: Shape, *, key: Array | None = None
    ) -> tuple[State, Shape]:
        check_slice(given)
        return (), (given[0], *out_shape(given[1:]))

    return layer._replace(initial_state=initial_state)
