"""Dropout with one mask of silent units per sequence."""

import jax
import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.calls import without_stats
from stbp_jax.core import Array, Layer, Numbers, Params, Shape, State
from stbp_jax.layers._dtypes import float_type
from stbp_jax.layers.synapse import check_slice


def dropout(rate: Numbers) -> Layer:
    """Silences each unit for a whole sequence with probability `rate`.

        yᵗ = m xᵗ / (1 - rate),  m ~ Bernoulli(1 - rate), the same at all steps

    `initial_state` draws the mask from its key and keeps it in the state, so every step of both
    schedules sees the same mask. Without a key the layer is the identity.

    Args:
      rate: scalar in [0, 1). The value of a traced rate is not checked.

    Returns:
      A `Layer` that keeps shapes.

    Raises:
      ValueError: `rate` is outside [0, 1) or not a scalar; more than one key is given.
      TypeError: `rate` is not a float, the key is not a random key, or the inputs are not real
        numbers.

    >>> import stbp_jax as sj
    >>> layer = dropout(0.5)
    >>> xs = jnp.ones((2, 1, 100))
    >>> outs = sj.apply(layer, (), xs, key=jax.random.key(0))[1]
    >>> sorted(set(outs.ravel().tolist()))
    [0.0, 2.0]
    >>> bool((sj.apply(layer, (), xs)[1] == xs).all())
    True
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
        dtype = jnp.result_type(float)
        kept = jax.random.bernoulli(key, 1 - rate, shape).astype(dtype)
        return kept / (1 - jnp.asarray(rate, dtype)), shape

    def masked(state: State, x: Array) -> Array:
        arguments.array("dropout: inputs", x)
        arguments.batch("state", state, x.shape[0])
        if isinstance(state, tuple):
            return x
        dtype = float_type(x)
        return jnp.asarray(x, dtype) * state.astype(dtype)

    def step(
        params: Params, state: State, x: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        return state, masked(state, x)

    def unroll(
        params: Params, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        arguments.sequence("xs", xs)
        return state, jax.vmap(masked, (None, 0))(state, xs)

    return Layer(
        init,
        initial_state,
        step,
        unroll,
        without_stats(unroll),
        lambda: {"layer": "dropout"},
    )
