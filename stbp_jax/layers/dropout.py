"""Dropout: one mask of silent units for a whole sequence."""

from typing import Any

import jax
import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array, Layer, Params, Shape, State, without_report
from stbp_jax.layers._dtypes import float_type
from stbp_jax.layers.synapse import check_slice


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
    arguments.number("rate", rate, "in [0, 1)", lambda r: (r >= 0) & (r < 1))
    arguments.scalar("rate", rate)

    def init(key: Array, shape: Shape) -> tuple[Params, Shape]:
        return (), arguments.shape("shape", shape)

    def initial_state(
        params: Params, shape: Shape, *, key: Array | None = None
    ) -> tuple[State, Shape]:
        check_slice(shape)
        if key is None:
            return (), shape
        arguments.key("key", key)
        kept = jax.random.bernoulli(key, 1 - rate, shape)
        return kept / (1 - jnp.asarray(rate, jnp.result_type(float))), shape

    def masked(state: State, x: Array) -> Array:
        arguments.array("dropout: inputs", x)
        arguments.batch("state", state, len(x))
        return x if isinstance(state, tuple) else x * state.astype(float_type(x))

    def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
        return state, masked(state, x)

    def unroll(params: Params, state: State, xs: Array) -> tuple[State, Array]:
        arguments.sequence("xs", xs)
        return state, jax.vmap(masked, (None, 0))(state, xs)

    return Layer(
        init,
        initial_state,
        step,
        unroll,
        without_report(unroll),
        lambda: {"layer": "dropout"},
    )
