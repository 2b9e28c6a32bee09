"""Calls of layers, those too whose functions take no restarts, no mask or give no statistics."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from stbp_jax import arguments, meshes
from stbp_jax.core import (
    MISSING,
    AnyArray,
    Array,
    Layer,
    LayerStats,
    Params,
    PyTree,
    State,
    Unroll,
    given,
    restart_where,
)


def step_layer(
    layer: Layer,
    params: Params,
    state: State,
    x: PyTree,
    is_first: Bool[AnyArray, " B"] | None = None,
) -> tuple[State, PyTree]:
    """Call `layer.step`; where it takes no `is_first`, put those examples at rest before it.

    >>> import stbp_jax as sj
    >>> layer = sj.dense(2, sj.lif())
    >>> params, _ = layer.init(jax.random.key(0), (3,))
    >>> state, _ = layer.initial_state(params, (1, 3))
    >>> _, y = step_layer(layer, params, state, jnp.ones((1, 3)), jnp.array([True]))
    >>> y.shape
    (1, 2)
    """
    if is_first is None:
        return layer.step(params, state, x)
    if _takes(layer.step, 4):
        return layer.step(params, state, x, is_first)
    rest, _ = layer.initial_state(params, jax.tree.map(jnp.shape, x))
    forms: list[Any] = [jax.tree.structure(tree) for tree in (rest, state)]
    if forms[0] != forms[1]:
        raise TypeError(
            f"is_first needs a step that takes it in {layer!r}, whose state holds what was drawn: "
            "write step(params, state, x, is_first=None)"
        )
    return layer.step(params, restart_where(is_first, state, rest), x)


def unroll_layer(
    layer: Layer,
    params: Params,
    state: State,
    xs: PyTree,
    is_first: Bool[AnyArray, "T B"] | None = None,
) -> tuple[State, PyTree]:
    """Call `layer.unroll`; where it takes no `is_first`, scan the step with restarts.

    >>> import stbp_jax as sj
    >>> layer = sj.dense(2, sj.lif())
    >>> params, _ = layer.init(jax.random.key(0), (3,))
    >>> state, _ = layer.initial_state(params, (1, 3))
    >>> unroll_layer(layer, params, state, jnp.ones((4, 1, 3)))[1].shape
    (4, 1, 2)
    """
    if is_first is None:
        return layer.unroll(params, state, xs)
    if _takes(layer.unroll, 4):
        return layer.unroll(params, state, xs, is_first)
    arguments.restarts("is_first", is_first, xs)
    params, state, xs, is_first = meshes.vary_alike(params, state, xs, is_first)

    def body(state: State, now: Any) -> tuple[State, Array]:
        return step_layer(layer, params, state, *now)

    return meshes.scan(body, state, (xs, is_first))


@functools.lru_cache(maxsize=1024)
def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function takes `count` arguments by position."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    kinds = [p.kind for p in parameters]
    variadic = inspect.Parameter.VAR_POSITIONAL in kinds
    by_position = sum(kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds)
    return variadic or by_position >= count


def unroll_with_stats(
    layer: Layer,
    params: Params,
    state: State,
    xs: PyTree,
    is_first: Bool[AnyArray, "T B"] | None = None,
    mask: Bool[AnyArray, "T B"] | None = None,
) -> tuple[State, PyTree, tuple[LayerStats, ...]]:
    """Call `layer.unroll_with_stats`; if it is None, `layer.unroll` with the entry `MISSING`.

    >>> import stbp_jax as sj
    >>> layer = sj.dense(2, sj.lif())
    >>> params, _ = layer.init(jax.random.key(0), (3,))
    >>> state, _ = layer.initial_state(params, (1, 3))
    >>> _, ys, stats = unroll_with_stats(layer, params, state, jnp.ones((4, 1, 3)))
    >>> ys.shape, len(stats)
    ((4, 1, 2), 1)
    """
    if layer.unroll_with_stats is not None:
        if mask is not None:
            if not _takes(layer.unroll_with_stats, 5):
                raise TypeError(
                    f"mask needs statistics that take it in {layer!r}: write "
                    "unroll_with_stats(params, state, xs, is_first=None, mask=None)"
                )
            return layer.unroll_with_stats(params, state, xs, is_first, mask)
        return layer.unroll_with_stats(params, state, xs, *given(is_first))
    missing = jax.tree.map(jnp.asarray, MISSING)
    return (*unroll_layer(layer, params, state, xs, is_first), (missing,))


def without_stats(unroll: Unroll) -> Callable[..., tuple[State, Array, tuple[LayerStats, ...]]]:
    """Make the `unroll_with_stats` of a layer in which nothing spikes from its `unroll`.

    >>> unroll = without_stats(lambda params, state, xs: (state, 2 * xs))
    >>> unroll((), (), jnp.ones((1, 1)))[1:]
    (Array([[2.]], dtype=float32), ())
    """

    def unroll_with_stats(
        params: Params,
        state: State,
        xs: Array,
        is_first: Array | None = None,
        mask: Array | None = None,
    ) -> tuple[State, Array, tuple[LayerStats, ...]]:
        return (*unroll(params, state, xs, *given(is_first)), ())

    return unroll_with_stats
