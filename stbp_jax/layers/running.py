"""Runs of a network over whole sequences: `apply`, `apply_with_stats` and `record`."""

from typing import Any

from jax import lax
from jaxtyping import Bool, Shaped

from stbp_jax import arguments, core
from stbp_jax.core import AnyArray, Array, KeyArray, Layer, LayerStats, Params, State


def apply(
    network: Layer,
    params: Params,
    xs: Shaped[AnyArray, "T B *in"],
    *,
    key: KeyArray | None = None,
    state: State | None = None,
    is_first: Bool[AnyArray, "T B"] | None = None,
) -> tuple[State, Shaped[Array, "T B *out"]]:
    """Runs a network over whole sequences, from rest or from a state.

    Args:
      network: any `Layer`.
      params: from `network.init`.
      xs: `[T, B, *in]`, time-major.
      key: for layers that draw random numbers (dropout); None turns them off. A state holds what
        was drawn for it, so that a key and a state exclude each other.
      state: before the first step, such as the last state of an earlier call; None for rest.
      is_first: `[T, B]` bool; where it is set, that example enters the step at rest, in all layers.
        What was drawn for the sequence (a dropout mask) stays. None for nowhere.

    Returns:
      `(last state, outs [T, B, *out])`.

    Raises:
      TypeError: `network` is not a `Layer`, `xs` is not an array, `is_first` is not an array of
        bool, or both `key` and `state` are given.
      ValueError: `xs` has no T or B axis, T is 0, `is_first` has another shape than `[T, B]`, or a
        layer does not take the input size.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from stbp_jax import dense, flatten, serial
    >>> net = serial(flatten(), dense(10))
    >>> params, _ = net.init(jax.random.key(0), (8, 8))
    >>> apply(net, params, jnp.ones((5, 2, 8, 8)))[1].shape
    (5, 2, 10)
    """
    state = _start(network, params, xs, key, state, is_first)
    return core.unroll_layer(network, params, state, xs, is_first)


def apply_with_stats(
    network: Layer,
    params: Params,
    xs: Shaped[AnyArray, "T B *in"],
    *,
    key: KeyArray | None = None,
    state: State | None = None,
    is_first: Bool[AnyArray, "T B"] | None = None,
) -> tuple[State, Shaped[Array, "T B *out"], tuple[LayerStats, ...]]:
    """Runs a network as `apply` does, and returns statistics of its spiking layers.

    A user-written layer without `unroll_with_stats` has the entry `core.MISSING`, all NaN.

    Args:
      network: any `Layer`.
      params: from `network.init`.
      xs: `[T, B, *in]`, time-major.
      key: for layers that draw random numbers (dropout); None turns them off. A state holds what
        was drawn for it, so that a key and a state exclude each other.
      state: before the first step, such as the last state of an earlier call; None for rest.
      is_first: `[T, B]` bool; where it is set, that example enters the step at rest, in all layers.
        What was drawn for the sequence (a dropout mask) stays. None for nowhere.

    Returns:
      `(last state, outs [T, B, *out], stats)`; `stats` is a tuple with one `LayerStats` for each
      spiking layer.

    Raises:
      TypeError, ValueError: as `apply`.
    """
    state = _start(network, params, xs, key, state, is_first)
    return core.unroll_with_stats(network, params, state, xs, is_first)


def record(
    network: Layer,
    params: Params,
    xs: Shaped[AnyArray, "T B *in"],
    *,
    key: KeyArray | None = None,
    state: State | None = None,
    is_first: Bool[AnyArray, "T B"] | None = None,
) -> tuple[State, Shaped[Array, "T B *out"]]:
    """Runs a network as `apply` does, and returns the states of all layers after every step.

    The network runs step by step. Memory holds the states of all T steps.

    Args:
      network: any `Layer`.
      params: from `network.init`.
      xs: `[T, B, *in]`, time-major.
      key: as `apply`.
      state: as `apply`.
      is_first: as `apply`.

    Returns:
      `(states, outs [T, B, *out])`; every leaf of `states` is that of a state, with a leading T.

    Raises:
      TypeError, ValueError: as `apply`.

    >>> import jax
    >>> from stbp_jax import dense, lif, serial
    >>> net = serial(dense(8, lif()), dense(10, lif()))
    >>> params, _ = net.init(jax.random.key(0), (4,))
    >>> states, outs = record(net, params, jax.numpy.ones((5, 2, 4)))
    >>> states[0].membrane.shape, outs.shape
    ((5, 2, 8), (5, 2, 10))
    """
    state = _start(network, params, xs, key, state, is_first)

    def body(state: State, now: Any) -> tuple[State, tuple[State, Array]]:
        state, y = core.step_layer(network, params, state, *now)
        return state, (state, y)

    return lax.scan(body, state, (xs, is_first))[1]


def _start(
    network: Layer,
    params: Params,
    xs: AnyArray,
    key: KeyArray | None,
    state: State | None,
    is_first: AnyArray | None,
) -> State:
    """The state before the first step, once the arguments are checked."""
    arguments.instance("network", network, Layer, "a Layer, such as dense(10)")
    arguments.sequence("xs", xs)
    if is_first is not None:
        arguments.restarts("is_first", is_first, xs)
    if state is None:
        return network.initial_state(params, xs.shape[1:], key=key)[0]
    if key is not None:
        raise TypeError("key must be None where a state is given: the state holds what was drawn")
    arguments.batch("state", state, xs.shape[1])
    return state
