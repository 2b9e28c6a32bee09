"""Combinators, which build a `Layer` out of layers: in sequence, side by side, around a layer.

The three schedules of a combinator are one function, which runs each inner layer by the schedule
that it is given.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from stbp_jax import arguments, calls, core
from stbp_jax.core import Array, Layer, LayerStats, Params, PyTree, Shapes, State, map_shapes
from stbp_jax.layers._dtypes import as_floats

Run = Callable[..., tuple[State, PyTree, tuple[LayerStats, ...]]]
"""`(layer, params, state, x, is_first) -> (state, y, stats)`: a schedule of one layer."""

Through = Callable[..., tuple[State, PyTree, tuple[LayerStats, ...]]]
"""`(run, params, state, x, is_first) -> (state, y, stats)`: a combinator's layers, run by `run`."""


def combined(
    init: Callable[..., Any],
    initial_state: Callable[..., Any],
    through: Through,
    constants: dict[str, Any],
    layers: tuple[Layer, ...] = (),
) -> Layer:
    """Make a layer of inner layers from one function for all schedules.

    Args:
      init: as in `Layer`.
      initial_state: as in `Layer`.
      through: `(run, params, state, x, is_first) -> (state, y, stats)`; it calls
        `run(layer, params, state, x, is_first)` for each inner layer. `x` is a time slice or a
        sequence, so that what it computes itself holds for any leading axes.
      constants: for `repr` and `save`.
      layers: as in `Layer`.

    Returns:
      A `Layer`.
    """

    def step(
        params: Params, state: State, x: PyTree, is_first: Array | None = None
    ) -> tuple[State, PyTree]:
        if is_first is not None:
            arguments.flags("is_first", is_first)
        return through(_no_stats(calls.step_layer), params, state, x, is_first)[:2]

    def unroll(
        params: Params, state: State, xs: PyTree, is_first: Array | None = None
    ) -> tuple[State, PyTree]:
        return through(_no_stats(calls.unroll_layer), params, state, xs, is_first)[:2]

    def unroll_with_stats(
        params: Params,
        state: State,
        xs: PyTree,
        is_first: Array | None = None,
        mask: Array | None = None,
    ) -> tuple[State, PyTree, tuple[LayerStats, ...]]:
        run = functools.partial(calls.unroll_with_stats, mask=mask)
        return through(run, params, state, xs, is_first)

    return Layer(init, initial_state, step, unroll, unroll_with_stats, lambda: constants, layers)


def _no_stats(run: Callable[..., tuple[State, PyTree]]) -> Run:
    return lambda *args: (*run(*args), ())


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
    _check("serial", layers)

    def check(params: Params) -> None:
        if not isinstance(params, tuple | list) or len(params) != len(layers):
            sized = isinstance(params, tuple | list | dict)
            got = type(params).__name__ + (f" of {len(params)}" if sized else "")
            raise TypeError(
                f"params must be a tuple of {len(layers)}, one entry for each layer of serial, as "
                f"init makes, got {got}"
            )

    def init(key: Array, shape: Shapes) -> tuple[Params, Shapes]:
        params = []
        for layer, k in zip(layers, jax.random.split(key, len(layers)), strict=True):
            p, shape = layer.init(k, shape)
            params.append(p)
        return tuple(params), shape

    def initial_state(
        params: Params, shape: Shapes, *, key: Array | None = None
    ) -> tuple[State, Shapes]:
        check(params)
        state = []
        for layer, p, k in zip(layers, params, _keys(key, len(layers)), strict=True):
            s, shape = layer.initial_state(p, shape, key=k)
            state.append(s)
        return tuple(state), shape

    def through(
        run: Run, params: Params, state: State, x: PyTree, is_first: Array | None
    ) -> tuple[State, PyTree, tuple[LayerStats, ...]]:
        check(params)
        after: list[State] = []
        reports: tuple[LayerStats, ...] = ()
        for layer, p, s in zip(layers, params, state, strict=True):
            s, x, report = run(layer, p, s, x, is_first)
            after.append(s)
            reports += report
        return tuple(after), x, reports

    constants = {"layer": "serial", "layers": [core.constants_of(layer) for layer in layers]}
    return combined(init, initial_state, through, constants, layers)


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
    _check("residual", (layer,))

    def init(key: Array, shape: Shapes) -> tuple[Params, Shapes]:
        params, out = layer.init(key, shape)
        wanted, found = (map_shapes(list, sizes) for sizes in (shape, out))
        if found != wanted:
            raise ValueError(
                f"residual needs a layer that keeps the shape {wanted} of its inputs, got "
                f"outputs {found}"
            )
        return params, out

    def through(
        run: Run, params: Params, state: State, x: PyTree, is_first: Array | None
    ) -> tuple[State, PyTree, tuple[LayerStats, ...]]:
        state, y, stats = run(layer, params, state, x, is_first)
        return state, jax.tree.map(lambda a, b: as_floats(a) + b, x, y), stats

    constants = {"layer": "residual", "inner": core.constants_of(layer)}
    return combined(init, layer.initial_state, through, constants)


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
    _check("concatenate", layers)

    def joined(shapes: tuple[Shapes, ...]) -> Shapes:
        if not all(map(core.is_shape, shapes)) or len({tuple(s[:-1]) for s in shapes}) > 1:
            raise ValueError(
                "concatenate needs outputs that differ in the last axis alone, got "
                f"{[map_shapes(list, shape) for shape in shapes]}"
            )
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))

    def each(x: PyTree) -> list[PyTree]:
        return [x] * len(layers)

    def join(ys: tuple[Array, ...]) -> Array:
        return jnp.concatenate(ys, axis=-1)

    constants = {"layer": "concatenate", "layers": [core.constants_of(layer) for layer in layers]}
    return _side_by_side(layers, (), each, join, joined, constants)


def parallel(*layers: Layer, **named: Layer) -> Layer:
    """Layers side by side, each on an input of its own, such as several modalities.

    Args:
      *layers: layers for a tuple of inputs, in order.
      **named: layers for a dict of inputs, by name, in place of `layers`.

    Returns:
      A `Layer` from a tuple to a tuple, or from a dict to a dict. Shapes, params and state are
      tuples or dicts of the same form.

    Raises:
      ValueError: no layer is given.
      TypeError: an argument is not a `Layer`, or layers are given both by place and by name.

    >>> from stbp_jax import apply, conv, dense, flatten, lif, serial
    >>> picture = serial(conv(4, 3, lif()), flatten(), dense(8, lif()))
    >>> net = parallel(picture=picture, sound=dense(8, lif()))
    >>> params, shapes = net.init(jax.random.key(0), {"picture": (6, 6, 1), "sound": (20,)})
    >>> shapes
    {'picture': (8,), 'sound': (8,)}
    >>> xs = {"picture": jnp.ones((5, 2, 6, 6, 1)), "sound": jnp.ones((5, 2, 20))}
    >>> apply(net, params, xs)[1]["sound"].shape
    (5, 2, 8)
    """
    if layers and named:
        raise TypeError("parallel needs layers by place or by name, got both")
    names = tuple(named)
    parts = tuple(named.values()) or layers
    _check("parallel", parts)

    def each(x: PyTree) -> list[PyTree]:
        if names:
            if not isinstance(x, dict) or x.keys() != named.keys():
                got = list(x) if isinstance(x, dict) else type(x).__name__
                raise ValueError(f"parallel needs a dict of inputs {list(names)}, got {got}")
            return [x[name] for name in names]
        if not isinstance(x, tuple | list) or len(x) != len(parts):
            got = f"{len(x)}" if isinstance(x, tuple | list) else type(x).__name__
            raise ValueError(f"parallel needs a tuple of {len(parts)} inputs, got {got}")
        return list(x)

    def keep(ys: PyTree) -> PyTree:
        return ys

    inner = [core.constants_of(layer) for layer in parts]
    constants = {
        "layer": "parallel",
        "layers": dict(zip(names, inner, strict=True)) if names else inner,
    }
    return _side_by_side(parts, names, each, keep, keep, constants)


def rearrange(function: Callable[[PyTree], PyTree]) -> Layer:
    """A layer from a function of a time slice, without parameters or state: yᵗ = function(xᵗ).

    It selects, joins, adds or copies the inputs and outputs of other layers.

    Args:
      function: from `[B, *in]` to `[B, *out]`, arrays or pytrees of arrays, independent for each
        example.

    Returns:
      A `Layer`.

    Raises:
      TypeError: `function` is not callable.

    Two modalities, and a network of both:

    >>> from stbp_jax import dense, lif
    >>> both = rearrange(lambda x: jnp.concatenate([x["picture"], x["sound"]], axis=-1))
    >>> net = serial(parallel(picture=dense(8, lif()), sound=dense(4, lif())), both, dense(2))
    >>> net.init(jax.random.key(0), {"picture": (64,), "sound": (20,)})[1]
    (2,)
    """
    arguments.function("function", function, "a function of a time slice")

    def out(shape: Shapes) -> Shapes:
        like = map_shapes(lambda sizes: jax.ShapeDtypeStruct(sizes, jnp.result_type(float)), shape)
        return jax.tree.map(lambda y: y.shape, jax.eval_shape(function, like))

    def init(key: Array, shape: Shapes) -> tuple[Params, Shapes]:
        with_batch = map_shapes(lambda sizes: (1, *sizes), shape)
        return (), map_shapes(lambda sizes: sizes[1:], out(with_batch))

    def initial_state(
        params: Params, shape: Shapes, *, key: Array | None = None
    ) -> tuple[State, Shapes]:
        return (), out(shape)

    def step(
        params: Params, state: State, x: PyTree, is_first: Array | None = None
    ) -> tuple[State, PyTree]:
        return state, function(x)

    def unroll(
        params: Params, state: State, xs: PyTree, is_first: Array | None = None
    ) -> tuple[State, PyTree]:
        return state, jax.vmap(function)(xs)

    constants = {"layer": "rearrange", "function": core.name_of(function)}
    return Layer(init, initial_state, step, unroll, calls.without_stats(unroll), lambda: constants)


def _check(name: str, layers: Sequence[Layer]) -> None:
    if not layers:
        raise ValueError(f"{name} needs at least one layer, got none")
    for layer in layers:
        arguments.instance("layers", layer, Layer, "a Layer, such as dense(10)")


def _keys(key: Array | None, number: int) -> Any:
    return [None] * number if key is None else jax.random.split(key, number)


def _side_by_side(
    layers: tuple[Layer, ...],
    names: tuple[str, ...],
    each: Callable[[PyTree], list[PyTree]],
    join: Callable[[PyTree], PyTree],
    joined: Callable[[PyTree], Shapes],
    constants: dict[str, Any],
) -> Layer:
    """Layers that run side by side.

    Args:
      layers: the layers.
      names: of the layers, whose params, states and outputs are then dicts; `()` for tuples.
      each: from an input, or its shape, to those of the layers.
      join: from the outputs of all layers to the output.
      joined: from the shapes of the outputs to the shape of the output.
      constants: for `repr` and `save`.
    """

    def pack(parts: Sequence[Any]) -> Any:
        return dict(zip(names, parts, strict=True)) if names else tuple(parts)

    def unpack(parts: Any) -> list[Any]:
        return [parts[name] for name in names] if names else list(parts)

    def init(key: Array, shape: Shapes) -> tuple[Params, Shapes]:
        given = zip(layers, jax.random.split(key, len(layers)), each(shape), strict=True)
        params, outs = zip(*[layer.init(k, s) for layer, k, s in given], strict=True)
        return pack(params), joined(pack(outs))

    def initial_state(
        params: Params, shape: Shapes, *, key: Array | None = None
    ) -> tuple[State, Shapes]:
        given = zip(layers, unpack(params), each(shape), _keys(key, len(layers)), strict=True)
        made = [layer.initial_state(p, s, key=k) for layer, p, s, k in given]
        states, outs = zip(*made, strict=True)
        return pack(states), joined(pack(outs))

    def through(
        run: Run, params: Params, state: State, x: PyTree, is_first: Array | None
    ) -> tuple[State, PyTree, tuple[LayerStats, ...]]:
        given = zip(layers, unpack(params), unpack(state), each(x), strict=True)
        made = [run(layer, p, s, part, is_first) for layer, p, s, part in given]
        states, ys, stats = zip(*made, strict=True)
        return pack(states), join(pack(ys)), tuple(one for of in stats for one in of)

    return combined(init, initial_state, through, constants)
