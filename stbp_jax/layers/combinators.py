"""Combinators, which build a `Layer` out of layers: `serial`."""

from collections.abc import Callable
from typing import Any

import jax

from stbp_jax import arguments, core
from stbp_jax.core import Array, Layer, LayerStats, Params, Shape, State


def serial(*layers: Layer) -> Layer:
    """Layers in sequence: at step t, xᵗ passes through all of them.

    Args:
      *layers: one or more layers; a network is a layer too.

    Returns:
      A `Layer` with both schedules, whose params and state are tuples with one entry per layer.

    Raises:
      ValueError: no layer is given.
      TypeError: an argument is not a `Layer`.

    >>> from stbp_jax import dense
    >>> net = serial(dense(800), dense(10))
    >>> params, shape = net.init(jax.random.key(0), (784,))
    >>> shape
    (10,)
    """
    if not layers:
        raise ValueError("serial needs at least one layer, got none")
    for layer in layers:
        arguments.instance("layers", layer, Layer, "a Layer, such as dense(10)")

    def init(key: Array, shape: Shape) -> tuple[Params, Shape]:
        params = []
        for layer, k in zip(layers, jax.random.split(key, len(layers)), strict=True):
            p, shape = layer.init(k, shape)
            params.append(p)
        return tuple(params), shape

    def initial_state(
        params: Params, shape: Shape, *, key: Array | None = None
    ) -> tuple[State, Shape]:
        keys = [None] * len(layers) if key is None else jax.random.split(key, len(layers))
        state = []
        for layer, p, k in zip(layers, params, keys, strict=True):
            s, shape = layer.initial_state(p, shape, key=k)
            state.append(s)
        return tuple(state), shape

    def through(
        run: Callable[..., tuple[Any, ...]],
        params: Params,
        state: State,
        x: Array,
        is_first: Array | None,
    ) -> tuple[State, Array, tuple[LayerStats, ...]]:
        after, reports = [], ()
        for layer, p, s in zip(layers, params, state, strict=True):
            s, x, report = run(layer, p, s, x, is_first)
            after.append(s)
            reports += report
        return tuple(after), x, reports

    def step(
        params: Params, state: State, x: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        def run(*args: Any) -> tuple[Any, ...]:
            return (*core.step_layer(*args), ())

        return through(run, params, state, x, is_first)[:2]

    def unroll(
        params: Params, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        def run(*args: Any) -> tuple[Any, ...]:
            return (*core.unroll_layer(*args), ())

        return through(run, params, state, xs, is_first)[:2]

    def unroll_with_stats(
        params: Params, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array, tuple[LayerStats, ...]]:
        return through(core.unroll_with_stats, params, state, xs, is_first)

    def named() -> dict[str, Any]:
        return {"layer": "serial", "layers": [core.constants_of(layer) for layer in layers]}

    return Layer(init, initial_state, step, unroll, unroll_with_stats, named, layers)
