"""Combinators, which build a `Layer` out of layers: in sequence, side by side, around a layer."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from stbp_jax import arguments, core
from stbp_jax.core import Array, Layer, LayerStats, Params, Shape, State
from stbp_jax.layers._dtypes import float_type


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
        return through(_no_stats(core.step_layer), params, state, x, is_first)[:2]

    def unroll(
        params: Params, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        return through(_no_stats(core.unroll_layer), params, state, xs, is_first)[:2]

    def unroll_with_stats(
        params: Params, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array, tuple[LayerStats, ...]]:
        return through(core.unroll_with_stats, params, state, xs, is_first)

    def named() -> dict[str, Any]:
        return {"layer": "serial", "layers": [core.constants_of(layer) for layer in layers]}

    return Layer(init, initial_state, step, unroll, unroll_with_stats, named, layers)


def residual(layer: Layer) -> Layer:
    """A layer with a connection around it: yᵗ = xᵗ + layer(xᵗ).

    Args:
      layer: a layer or a network whose outputs have the shape of its inputs.

    Returns:
      A `Layer` with the params and the state of `layer`. Its `init` raises ValueError where the
      outputs have another shape than the inputs.

    Raises:
      TypeError: `layer` is not a `Layer`.

    >>> from stbp_jax import dense, lif
    >>> residual(dense(4, lif())).init(jax.random.key(0), (4,))[1]
    (4,)

    Source: the spike-element-wise addition of Fang et al. 2021 (SEW-ResNet).
    """
    arguments.instance("layer", layer, Layer, "a Layer, such as dense(10)")

    def init(key: Array, shape: Shape) -> tuple[Params, Shape]:
        params, out = layer.init(key, shape)
        if tuple(out) != tuple(shape):
            raise ValueError(
                f"residual needs a layer that keeps the shape {list(shape)} of its inputs, got "
                f"outputs {list(out)}"
            )
        return params, out

    def step(
        params: Params, state: State, x: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        state, y = core.step_layer(layer, params, state, x, is_first)
        return state, _float(x) + y

    def unroll(
        params: Params, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        state, ys = core.unroll_layer(layer, params, state, xs, is_first)
        return state, _float(xs) + ys

    def unroll_with_stats(
        params: Params, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array, tuple[LayerStats, ...]]:
        state, ys, stats = core.unroll_with_stats(layer, params, state, xs, is_first)
        return state, _float(xs) + ys, stats

    def named() -> dict[str, Any]:
        return {"layer": "residual", "inner": core.constants_of(layer)}

    return Layer(init, layer.initial_state, step, unroll, unroll_with_stats, named)


def concatenate(*layers: Layer) -> Layer:
    """Layers side by side on the same input; their outputs are joined along the last axis.

    Args:
      *layers: one or more layers; a network is a layer too.

    Returns:
      A `Layer` whose params and state are tuples with one entry per layer. Its `init` raises
      ValueError where the outputs differ in more than the last axis.

    Raises:
      ValueError: no layer is given.
      TypeError: an argument is not a `Layer`.

    >>> from stbp_jax import alif, dense, lif
    >>> concatenate(dense(8, lif()), dense(4, alif())).init(jax.random.key(0), (5,))[1]
    (12,)
    """
    if not layers:
        raise ValueError("concatenate needs at least one layer, got none")
    for layer in layers:
        arguments.instance("layers", layer, Layer, "a Layer, such as dense(10)")

    def joined(shapes: list[Shape]) -> Shape:
        if len({tuple(shape[:-1]) for shape in shapes}) > 1:
            raise ValueError(
                "concatenate needs outputs that differ in the last axis alone, got "
                f"{[list(shape) for shape in shapes]}"
            )
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))

    def init(key: Array, shape: Shape) -> tuple[Params, Shape]:
        keys = jax.random.split(key, len(layers))
        made = [layer.init(k, shape) for layer, k in zip(layers, keys, strict=True)]
        return tuple(params for params, _ in made), joined([out for _, out in made])

    def initial_state(
        params: Params, shape: Shape, *, key: Array | None = None
    ) -> tuple[State, Shape]:
        keys = [None] * len(layers) if key is None else jax.random.split(key, len(layers))
        made = [
            layer.initial_state(p, shape, key=k)
            for layer, p, k in zip(layers, params, keys, strict=True)
        ]
        return tuple(state for state, _ in made), joined([out for _, out in made])

    def beside(
        run: Callable[..., tuple[Any, ...]],
        params: Params,
        state: State,
        x: Array,
        is_first: Array | None,
    ) -> tuple[State, Array, tuple[LayerStats, ...]]:
        parts = zip(layers, params, state, strict=True)
        made = [run(layer, p, s, x, is_first) for layer, p, s in parts]
        states, ys, stats = zip(*made, strict=True)
        return states, jnp.concatenate(ys, axis=-1), tuple(one for of in stats for one in of)

    def step(
        params: Params, state: State, x: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        return beside(_no_stats(core.step_layer), params, state, x, is_first)[:2]

    def unroll(
        params: Params, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        return beside(_no_stats(core.unroll_layer), params, state, xs, is_first)[:2]

    def unroll_with_stats(
        params: Params, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array, tuple[LayerStats, ...]]:
        return beside(core.unroll_with_stats, params, state, xs, is_first)

    def named() -> dict[str, Any]:
        return {"layer": "concatenate", "layers": [core.constants_of(layer) for layer in layers]}

    return Layer(init, initial_state, step, unroll, unroll_with_stats, named)


def _float(x: Array) -> Array:
    """Integers and bools as floats, which strict dtype promotion adds to outputs."""
    return jnp.asarray(x, float_type(x))


def _no_stats(run: Callable[..., tuple[State, Array]]) -> Callable[..., tuple[Any, ...]]:
    return lambda *args: (*run(*args), ())
