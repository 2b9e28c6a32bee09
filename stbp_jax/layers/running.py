"""Runs of a network over whole sequences: `apply` and its variants."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from stbp_jax import arguments, calls, core, meshes
from stbp_jax.closures import reverse_mode
from stbp_jax.core import AnyArray, Array, KeyArray, Layer, LayerStats, Params, PyTree, State


def apply(
    network: Layer,
    params: Params,
    xs: PyTree,
    *,
    key: KeyArray | None = None,
    state: State | None = None,
    is_first: Bool[AnyArray, "T B"] | None = None,
) -> tuple[State, PyTree]:
    """Runs a network over whole sequences, from rest or from a state.

    Args:
      network: any `Layer`.
      params: from `network.init`.
      xs: `[T, B, *in]`, time-major, or a pytree of such arrays with one T and B.
      key: for layers that draw random numbers (dropout); None turns them off. A state holds what
        was drawn for it, so that a key and a state exclude each other.
      state: before the first step, such as the last state of an earlier call; None for rest.
      is_first: `[T, B]` bool; where it is set, that example enters the step at rest, in all layers.
        What was drawn for the sequence (a dropout mask) stays. None for nowhere.

    Returns:
      `(last state, outs [T, B, *out])`, or a pytree of outputs if the network gives one.

    Raises:
      TypeError: `network` is not a `Layer`, `xs` holds no arrays, `is_first` is not an array of
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
    return reverse_mode(calls.unroll_layer, network, params, state, xs, is_first)


def apply_with_stats(
    network: Layer,
    params: Params,
    xs: PyTree,
    *,
    key: KeyArray | None = None,
    state: State | None = None,
    is_first: Bool[AnyArray, "T B"] | None = None,
    mask: Bool[AnyArray, "T B"] | None = None,
) -> tuple[State, PyTree, tuple[LayerStats, ...]]:
    """Runs a network as `apply` does, and returns statistics of its spiking layers.

    A user-written layer without `unroll_with_stats` has the entry `core.MISSING`, all NaN.

    Args:
      network: any `Layer`.
      params: from `network.init`.
      xs: `[T, B, *in]`, time-major, or a pytree of such arrays with one T and B.
      key: for layers that draw random numbers (dropout); None turns them off. A state holds what
        was drawn for it, so that a key and a state exclude each other.
      state: before the first step, such as the last state of an earlier call; None for rest.
      is_first: `[T, B]` bool; where it is set, that example enters the step at rest, in all layers.
        What was drawn for the sequence (a dropout mask) stays. None for nowhere.
      mask: `[T, B]` bool, the steps of each example; other steps count in no statistic. None for
        all steps.

    Returns:
      `(last state, outs [T, B, *out], stats)`; `stats` is a tuple with one `LayerStats` for each
      spiking layer.

    Raises:
      TypeError, ValueError: as `apply`.

    >>> import stbp_jax as sj
    >>> net = sj.serial(sj.dense(4, sj.lif()), sj.dense(2, sj.lif()))
    >>> params, _ = net.init(jax.random.key(0), (8,))
    >>> _, outs, stats = apply_with_stats(net, params, jnp.ones((5, 3, 8)))
    >>> outs.shape, [layer.firing_rate.shape for layer in stats]
    ((5, 3, 2), [(4,), (2,)])
    """
    state = _start(network, params, xs, key, state, is_first)
    if mask is not None:
        arguments.restarts("mask", mask, xs)
    return reverse_mode(calls.unroll_with_stats, network, params, state, xs, is_first, mask)


def record(
    network: Layer,
    params: Params,
    xs: PyTree,
    *,
    key: KeyArray | None = None,
    state: State | None = None,
    is_first: Bool[AnyArray, "T B"] | None = None,
) -> tuple[State, PyTree]:
    """Runs a network as `apply` does, and returns the states of all layers after every step.

    The network runs step by step. Memory holds the states of all T steps.

    Args:
      network: any `Layer`.
      params: from `network.init`.
      xs: `[T, B, *in]`, time-major, or a pytree of such arrays with one T and B.
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
    params, state, xs, is_first = meshes.vary_alike(params, state, xs, is_first)

    def body(state: State, now: Any) -> tuple[State, tuple[State, PyTree]]:
        state, y = calls.step_layer(network, params, state, *now)
        return state, (state, y)

    return reverse_mode(meshes.scan, body, state, (xs, is_first))[1]


def final_state(
    network: Layer,
    params: Params,
    xs: PyTree,
    mask: Bool[AnyArray, "T B"],
    *,
    key: KeyArray | None = None,
    state: State | None = None,
    is_first: Bool[AnyArray, "T B"] | None = None,
) -> State:
    """Runs a network as `apply` does, and returns the state of each example at its own last step.

    The network runs step by step, in the memory of one state.

    Args:
      network: any `Layer`.
      params: from `network.init`.
      xs: `[T, B, *in]`, time-major, or a pytree of such arrays with one T and B.
      mask: `[T, B]` bool, the steps of each example. A step outside of it changes neither the state
        of its example nor a gradient, whatever it holds.
      key: as `apply`.
      state: as `apply`.
      is_first: as `apply`.

    Returns:
      The state; for an example without a step, that before the first step.

    Raises:
      TypeError, ValueError: as `apply`; `mask` is not bool `[T, B]`.

    >>> import jax, jax.numpy as jnp
    >>> from stbp_jax import dense, leaky_integrator
    >>> net = dense(1, leaky_integrator(decay=0.5))
    >>> params, _ = net.init(jax.random.key(0), (3,))
    >>> steps = jnp.arange(4)[:, None] < jnp.array([[2, 4]])
    >>> final_state(net, params, jnp.ones((4, 2, 3)), steps).shape
    (2, 1)
    """
    state = _start(network, params, xs, key, state, is_first)
    arguments.restarts("mask", mask, xs)
    params, state, xs, is_first, mask = meshes.vary_alike(params, state, xs, is_first, mask)

    def body(state: State, now: Any) -> tuple[State, None]:
        x, first, own = now
        x = jax.tree.map(lambda leaf: _own(leaf, own), x)
        after, _ = calls.step_layer(network, params, state, x, first)
        return core.restart_where(~own, after, state), None

    return reverse_mode(meshes.scan, body, state, (xs, is_first, mask))[0]


def _own(x: Array, own: Array) -> Array:
    """The inputs with 0 for other examples, whose NaN would reach the gradient of a product."""
    return jnp.where(jnp.expand_dims(own, range(1, x.ndim)), x, jnp.zeros((), x.dtype))


def _start(
    network: Layer,
    params: Params,
    xs: PyTree,
    key: KeyArray | None,
    state: State | None,
    is_first: AnyArray | None,
) -> State:
    """The state before the first step, once the arguments are checked."""
    arguments.instance("network", network, Layer, "a Layer, such as dense(10)")
    _, batch = arguments.sequences("xs", xs)
    if is_first is not None:
        arguments.restarts("is_first", is_first, xs)
    if state is None:
        return network.initial_state(params, jax.tree.map(lambda x: x.shape[1:], xs), key=key)[0]
    if key is not None:
        raise TypeError("key must be None where a state is given: the state holds what was drawn")
    arguments.batch("state", state, batch)
    return state
