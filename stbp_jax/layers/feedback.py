"""Feedback from a later layer to an earlier one, one step late."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from stbp_jax import arguments, calls, core
from stbp_jax.core import Array, Layer, LayerStats, Params, PyTree, Shapes, State, map_shapes
from stbp_jax.layers._dtypes import as_floats
from stbp_jax.layers.combinators import Run, combined
from stbp_jax.layers.schedules import in_chunks, stepwise


class FeedbackParams(NamedTuple):
    """The parameters of the layer, and those of the connection back.

    >>> import stbp_jax as sj
    >>> layer = sj.layers.feedback(sj.dense(3, sj.lif()), sj.dense(4))
    >>> params, _ = layer.init(jax.random.key(0), (4,))
    >>> type(params).__name__
    'FeedbackParams'
    """

    layer: Params
    back: Params


class FeedbackState(NamedTuple):
    """The states of the layer and of the connection back, and the last output, `[B, *out]`.

    >>> import stbp_jax as sj
    >>> layer = sj.layers.feedback(sj.dense(3, sj.lif()), sj.dense(4))
    >>> params, _ = layer.init(jax.random.key(0), (4,))
    >>> layer.initial_state(params, (2, 4))[0].out.shape
    (2, 3)
    """

    layer: State
    back: State
    out: PyTree


def feedback(layer: Layer, back: Layer) -> Layer:
    """A layer or network whose last output is added to its input: yᵗ = layer(xᵗ + back(yᵗ⁻¹)).

    At rest y⁰ is 0. Gradients cross the connection. The layer runs step by step, in both schedules.

    Args:
      layer: the layer, or the network from the earlier to the later layer.
      back: the connection, from the outputs to the shape of the inputs, such as `dense`.

    Returns:
      A `Layer` with `FeedbackParams` and `FeedbackState`; its statistics are those of `layer`, then
      those of `back`. Its `init` raises ValueError where `back` gives another shape than the inputs
      have.

    Raises:
      TypeError: `layer` or `back` is not a `Layer`.

    The second layer feeds back to the currents of the first, between its product and its neurons:

    >>> from stbp_jax import dense, lif, serial
    >>> from stbp_jax.layers import identity, spiking
    >>> network = serial(
    ...     dense(20), feedback(serial(spiking(identity, lif()), dense(10, lif())), dense(20))
    ... )
    >>> network.init(jax.random.key(0), (16,))[1]
    (10,)
    """
    for name, part in (("layer", layer), ("back", back)):
        arguments.instance(name, part, Layer, "a Layer, such as dense(10)")

    def init(key: Array, shape: Shapes) -> tuple[FeedbackParams, Shapes]:
        key_layer, key_back = jax.random.split(key)
        params, out = layer.init(key_layer, shape)
        params_back, fed = back.init(key_back, out)
        wanted, found = (map_shapes(list, sizes) for sizes in (shape, fed))
        if found != wanted:
            raise ValueError(
                f"feedback needs a connection back to the shape {wanted} of the inputs, got {found}"
            )
        return FeedbackParams(params, params_back), out

    def initial_state(
        params: FeedbackParams, shape: Shapes, *, key: Array | None = None
    ) -> tuple[FeedbackState, Shapes]:
        key_layer, key_back = (None, None) if key is None else jax.random.split(key)
        state, out = layer.initial_state(params.layer, shape, key=key_layer)
        state_back, _ = back.initial_state(params.back, out, key=key_back)
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(params)]
        dtype = jnp.result_type(*dtypes) if dtypes else jnp.result_type(float)
        zeros = map_shapes(lambda sizes: jnp.zeros(sizes, dtype), out)
        return FeedbackState(state, state_back, zeros), out

    def through(
        run: Run, params: FeedbackParams, state: FeedbackState, x: PyTree, is_first: Array | None
    ) -> tuple[FeedbackState, PyTree, tuple[LayerStats, ...]]:
        last = state.out
        if is_first is not None:
            last = core.restart_where(is_first, last, jax.tree.map(jnp.zeros_like, last))
        state_back, fed, stats_back = run(back, params.back, state.back, last, is_first)
        given = jax.tree.map(lambda a, b: as_floats(a) + b, x, fed)
        inner, y, stats = run(layer, params.layer, state.layer, given, is_first)
        out = jax.tree.map(lambda new, old: new.astype(old.dtype), y, state.out)
        return FeedbackState(inner, state_back, out), y, (*stats, *stats_back)

    def one_step(
        params: FeedbackParams,
        state: FeedbackState,
        xs: PyTree,
        is_first: Array | None = None,
        mask: Array | None = None,
    ) -> tuple[FeedbackState, PyTree, tuple[LayerStats, ...]]:
        x, first = jax.tree.map(lambda a: a[0], (xs, is_first))
        run = functools.partial(_one_step_with_stats, mask=mask)
        state, y, stats = through(run, params, state, x, first)
        return state, jax.tree.map(lambda a: a[None], y), stats

    constants = {
        "layer": "feedback",
        "inner": core.constants_of(layer),
        "back": core.constants_of(back),
    }
    looped = combined(init, initial_state, through, constants)
    counted = in_chunks(looped._replace(unroll_with_stats=one_step), 1, lambda run: run)
    return stepwise(counted)


def _one_step_with_stats(
    layer: Layer,
    params: Params,
    state: State,
    x: PyTree,
    is_first: Array | None,
    mask: Array | None,
) -> tuple[State, PyTree, tuple[LayerStats, ...]]:
    xs, first = jax.tree.map(lambda a: a[None], (x, is_first))
    state, ys, stats = calls.unroll_with_stats(layer, params, state, xs, first, mask)
    return state, jax.tree.map(lambda a: a[0], ys), stats
