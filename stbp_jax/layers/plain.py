"""Layers that learn nothing and have no neurons: shapes, pooling, dropout."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from stbp_jax import checks
from stbp_jax.core import Array, Layer, Params, Shape, State, without_report
from stbp_jax.layers.synapse import Synapse, check_slice, pointwise


def _float_type(x: Array) -> Any:
    """The dtype of `x` where it is a float, else the default float."""
    floats = jnp.issubdtype(x.dtype, jnp.floating)
    return jnp.result_type(x) if floats else jnp.result_type(float)


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

    >>> avg_pool(2).init(jax.random.key(0), (5, 4, 3))[1]
    (2, 2, 3)
    """
    window = checks.count("window", window)
    name = f"avg_pool({window})"

    def out_shape(shape: Shape) -> Shape:
        if len(shape) != 3 or min(shape[:2]) < window:
            raise ValueError(
                f"{name} needs images [height, width, channels] of at least "
                f"{window}x{window} pixels, got {list(shape)}"
            )
        return (shape[0] // window, shape[1] // window, shape[2])

    def init(key: Array, shape: Shape) -> tuple[Params, Shape]:
        shape = checks.shape("shape", shape)
        out = out_shape(shape)
        if out[2] == 0:
            raise ValueError(f"{name} needs images with channels, got {list(shape)}")
        return (), out

    def apply(params: Params, x: Array) -> Array:
        checks.array(f"{name}: inputs", x)
        rows, columns, channels = out_shape(x.shape[1:])
        x = x[:, : rows * window, : columns * window]
        tiles = x.reshape((x.shape[0], rows, window, columns, window, channels))
        dtype = _float_type(x)
        wide = jnp.promote_types(dtype, jnp.float32)  # bfloat16 counts to 256
        return jnp.mean(tiles, axis=(2, 4), dtype=wide).astype(dtype)

    def named() -> dict[str, Any]:
        return {"layer": "avg_pool", "window": window}

    return pointwise(Synapse(init, apply, constants=named))


def flatten() -> Layer:
    """Joins all axes of an example: `[T, B, *in]` to `[T, B, prod(in)]`.

    >>> flatten().init(jax.random.key(0), (4, 4, 3))[1]
    (48,)
    """

    def init(key: Array, shape: Shape) -> tuple[Params, Shape]:
        return (), (math.prod(checks.shape("shape", shape)),)

    def apply(params: Params, x: Array) -> Array:
        checks.array("flatten(): inputs", x)
        return x.reshape((x.shape[0], math.prod(x.shape[1:])))

    return pointwise(Synapse(init, apply, constants=lambda: {"layer": "flatten"}))


def unpack(*shape: int) -> Layer:
    """Spikes from bits, as `coding.pack` made them.

    Under `chunked` the bits alone are kept, and one chunk of spikes at a time.

    Args:
      *shape: of one example.

    Returns:
      A `Layer` from uint8 `[T, B, ceil(prod(shape) / 8)]` to floats `[T, B, *shape]`.

    Raises:
      TypeError: inputs that are not uint8.
      ValueError: inputs of another size.

    >>> params, out = unpack(2, 5).init(jax.random.key(0), (2,))
    >>> out
    (2, 5)
    """
    shape = tuple(checks.count("shape", size) for size in shape)
    size = math.prod(shape)
    wanted = (-(-size // 8),)

    def out_shape(given: Shape) -> Shape:
        if given != wanted:
            raise ValueError(
                f"unpack{shape} needs time slices [B, {wanted[0]}] of bytes, got {list(given)}"
            )
        return shape

    def apply(params: Params, x: Array) -> Array:
        checks.array(f"unpack{shape}: inputs", x)
        out_shape(x.shape[1:])
        if x.dtype != jnp.uint8:
            raise TypeError(f"unpack{shape} needs uint8, got {x.dtype}")
        bits = jnp.unpackbits(x, axis=-1, count=size)
        return bits.reshape((x.shape[0], *shape)).astype(jnp.result_type(float))

    def init(key: Array, given: Shape) -> tuple[Params, Shape]:
        return (), out_shape(checks.shape("shape", given))

    def named() -> dict[str, Any]:
        return {"layer": "unpack", "shape": list(shape)}

    layer = pointwise(Synapse(init, apply, constants=named))

    def initial_state(
        params: Params, given: Shape, *, key: Array | None = None
    ) -> tuple[State, Shape]:
        check_slice(given)
        return (), (given[0], *out_shape(given[1:]))

    return layer._replace(initial_state=initial_state)


def dropout(rate: Any) -> Layer:
    """Silences each unit with probability `rate` for a whole sequence; the rest times 1/(1-rate).

    One mask is drawn in `initial_state` from its key and lives in the state, so that every step,
    and both schedules, see the same. Without a key the layer is the identity.

    Args:
      rate: in [0, 1); a scalar. It may be traced, and its value is not checked then.

    Returns:
      A `Layer` that keeps shapes.

    Raises:
      ValueError: `rate` outside [0, 1), or not a scalar; more than one key.
      TypeError: `rate` not a float, a key that is none, inputs that are no real numbers.
    """
    checks.number("rate", rate, "in [0, 1)", lambda r: (r >= 0) & (r < 1))
    checks.scalar("rate", rate)

    def init(key: Array, shape: Shape) -> tuple[Params, Shape]:
        return (), checks.shape("shape", shape)

    def initial_state(
        params: Params, shape: Shape, *, key: Array | None = None
    ) -> tuple[State, Shape]:
        check_slice(shape)
        if key is None:
            return (), shape
        checks.key("key", key)
        kept = jax.random.bernoulli(key, 1 - rate, shape)
        return kept / (1 - jnp.asarray(rate, jnp.result_type(float))), shape

    def masked(state: State, x: Array) -> Array:
        checks.array("dropout: inputs", x)
        checks.batch("state", state, len(x))
        return x if isinstance(state, tuple) else x * state.astype(_float_type(x))

    def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
        return state, masked(state, x)

    def unroll(params: Params, state: State, xs: Array) -> tuple[State, Array]:
        checks.sequence("xs", xs)
        return state, jax.vmap(masked, (None, 0))(state, xs)

    return Layer(
        init,
        initial_state,
        step,
        unroll,
        without_report(unroll),
        lambda: {"layer": "dropout"},
    )
