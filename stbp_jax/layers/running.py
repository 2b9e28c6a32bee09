"""Runs of a network from rest over whole sequences: `apply` and `apply_with_stats`."""

from stbp_jax import arguments, core
from stbp_jax.core import Array, Layer, LayerStats, Params, State


def apply(
    network: Layer, params: Params, xs: Array, *, key: Array | None = None
) -> tuple[State, Array]:
    """Runs a network from rest over whole sequences.

    Args:
      network: any `Layer`.
      params: from `network.init`.
      xs: `[T, B, *in]`, time-major.
      key: for layers that draw random numbers (dropout); None turns them off.

    Returns:
      `(last state, outs [T, B, *out])`.

    Raises:
      TypeError: `network` is not a `Layer`, or `xs` is not an array.
      ValueError: `xs` has no T or B axis, T is 0, or a layer does not take the input size.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from stbp_jax import dense, flatten, serial
    >>> net = serial(flatten(), dense(10))
    >>> params, _ = net.init(jax.random.key(0), (8, 8))
    >>> apply(net, params, jnp.ones((5, 2, 8, 8)))[1].shape
    (5, 2, 10)
    """
    state = _rest(network, params, xs, key)
    return network.unroll(params, state, xs)


def apply_with_stats(
    network: Layer, params: Params, xs: Array, *, key: Array | None = None
) -> tuple[State, Array, tuple[LayerStats, ...]]:
    """Runs a network from rest as `apply` does, and returns statistics of its spiking layers.

    A user-written layer without `unroll_with_stats` has the entry `core.MISSING`, all NaN.

    Args:
      network: any `Layer`.
      params: from `network.init`.
      xs: `[T, B, *in]`, time-major.
      key: for layers that draw random numbers (dropout); None turns them off.

    Returns:
      `(last state, outs [T, B, *out], stats)`; `stats` is a tuple with one `LayerStats` for each
      spiking layer.

    Raises:
      TypeError, ValueError: as `apply`.
    """
    state = _rest(network, params, xs, key)
    return core.unroll_with_stats(network, params, state, xs)


def _rest(network: Layer, params: Params, xs: Array, key: Array | None) -> State:
    arguments.instance("network", network, Layer, "a Layer, such as dense(10)")
    arguments.sequence("xs", xs)
    return network.initial_state(params, xs.shape[1:], key=key)[0]
