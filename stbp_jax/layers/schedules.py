"""Schedules that unroll a layer over time: step by step, in chunks, or with gradients cut."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax import arguments, calls, meshes
from stbp_jax.core import Array, Layer, LayerStats, Params, State


def stepwise(layer: Layer) -> Layer:
    """The same layer, unrolled by a scan of its `step`, for feedback, delays and comparison.

    Args:
      layer: a layer or a network.

    Returns:
      A `Layer` with `unroll` = `scan(layer.step)`.

    Raises:
      TypeError: `layer` is not a `Layer`.

    >>> import stbp_jax as sj
    >>> net = sj.dense(2, sj.lif())
    >>> params, _ = net.init(jax.random.key(0), (3,))
    >>> xs = jax.random.normal(jax.random.key(1), (4, 1, 3))
    >>> bool((sj.apply(net, params, xs)[1] == sj.apply(stepwise(net), params, xs)[1]).all())
    True
    """
    arguments.instance("layer", layer, Layer, "a Layer, such as dense(10)")

    def unroll(
        params: Params, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        arguments.sequences("xs", xs)
        if is_first is not None:
            arguments.restarts("is_first", is_first, xs)
        params, state, xs, is_first = meshes.vary_alike(params, state, xs, is_first)

        def body(state: State, now: tuple[Array, Array | None]) -> tuple[State, Array]:
            return calls.step_layer(layer, params, state, *now)

        return meshes.scan(body, state, (xs, is_first))

    return layer._replace(unroll=unroll)


def chunked(layer: Layer, steps: int, *, policy: Callable[..., Any] | None = None) -> Layer:
    """The same layer, unrolled `steps` time steps at a time, for long sequences.

    A scan over chunks carries the state, and gradients cross from chunk to chunk. The backward pass
    keeps the input sequence and the state that enters each chunk, and recomputes everything else
    chunk by chunk. It needs the memory of one chunk and the time of one more forward pass. With
    `policy=keep_membranes` the backward pass also keeps the membranes of all steps and recomputes
    no product. This schedule is also faster once the arrays of all steps outgrow the caches.

    Args:
      layer: a layer or a network.
      steps: steps in a chunk; the last chunk may be shorter. 15 to 30 is a good start.
      policy: selects the values that the backward pass keeps, as in `jax.checkpoint`; None keeps
        nothing within a chunk.

    Returns:
      A `Layer` with the same outputs and gradients.

    Raises:
      TypeError: `layer` is not a `Layer`, or `steps` is not a static integer.
      ValueError: `steps` is below 1.

    >>> from stbp_jax import apply, dense, lif, serial
    >>> from stbp_jax.neurons import keep_membranes
    >>> net = chunked(serial(dense(20, lif()), dense(10, lif())), 30, policy=keep_membranes)
    >>> params, _ = net.init(jax.random.key(0), (16,))
    >>> apply(net, params, jnp.ones((100, 2, 16)))[1].shape
    (100, 2, 10)
    """
    return in_chunks(layer, steps, functools.partial(jax.checkpoint, policy=policy))


def truncated(layer: Layer, steps: int) -> Layer:
    """The same layer with gradients cut every `steps` time steps.

    This is truncated backpropagation through time: gradients treat the state that enters a segment
    of `steps` as a constant. The cut applies to the whole state: membranes, recurrent spikes,
    synaptic currents and readouts. If all layers are `lif`, `steps=1` is SDBP (`detach_time`), and
    any `steps` of at least T is STBP.

    Args:
      layer: a layer or a network.
      steps: steps in a segment, counted from the first step; the last segment may be shorter.

    Returns:
      A `Layer` with the same outputs.

    Raises:
      TypeError: `layer` is not a `Layer`, or `steps` is not a static integer.
      ValueError: `steps` is below 1.

    >>> from stbp_jax import dense, lif, serial
    >>> net = truncated(serial(dense(20, lif()), dense(10, lif())), 4)
    """

    def cut(run: Callable[..., Any]) -> Callable[..., Any]:
        return lambda params, state, *xs: run(params, lax.stop_gradient(state), *xs)

    return in_chunks(layer, steps, cut)


def in_chunks(
    layer: Layer, steps: int, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Layer:
    """The same layer, unrolled by a scan over segments of `steps` time steps.

    Args:
      layer: a layer or a network.
      steps: steps in a segment.
      wrap: transforms the run of one segment, `(params, state, xs, is_first, mask) -> (state,
        ...)`.
    """
    arguments.instance("layer", layer, Layer, "a Layer, such as dense(10)")
    steps = arguments.count("steps", steps)

    def through(
        run: Callable[..., Any],
        params: Params,
        state: State,
        xs: Array,
        is_first: Array | None,
        mask: Array | None = None,
    ) -> tuple[State, Array, tuple[LayerStats, ...]]:
        length, _ = arguments.sequences("xs", xs)
        if is_first is not None:
            arguments.restarts("is_first", is_first, xs)
        if not isinstance(length, int):
            raise TypeError(
                f"chunks of {steps} steps need a static number of steps T, got the symbolic "
                f"T = {length}: export with an integer T; B may be symbolic"
            )
        params, state, xs, is_first = meshes.vary_alike(params, state, xs, is_first)
        run = wrap(run)
        whole, rest = divmod(length, steps)
        if not whole:
            return run(params, state, xs, is_first, mask)

        def body(state: State, now: Any) -> tuple[State, tuple[Array, tuple[LayerStats, ...]]]:
            state, *outs = run(params, state, *now)
            return state, tuple(outs)

        def segments(x: Array) -> Array:
            return x[: whole * steps].reshape((whole, steps, *x.shape[1:]))

        in_segments = jax.tree.map(segments, (xs, is_first, mask))
        state, (ys, reports) = meshes.scan(body, state, in_segments)
        ys = jax.tree.map(lambda y: y.reshape((whole * steps, *y.shape[2:])), ys)
        if rest:
            end = jax.tree.map(lambda x: x[whole * steps :], (xs, is_first, mask))
            state, last, stats = run(params, state, *end)
            ys = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), ys, last)
            reports = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), reports, stats)
        shares = _shares(length, steps, mask) if reports else ()
        return state, ys, tuple(_over(report, *shares) for report in reports)

    def unroll(
        params: Params, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        def run(params: Params, state: State, xs: Array, *firsts: Any) -> tuple[Any, ...]:
            return (*calls.unroll_layer(layer, params, state, xs, firsts[0]), ())

        return through(run, params, state, xs, is_first)[:2]

    def unroll_with_stats(
        params: Params,
        state: State,
        xs: Array,
        is_first: Array | None = None,
        mask: Array | None = None,
    ) -> tuple[State, Array, tuple[LayerStats, ...]]:
        run = functools.partial(calls.unroll_with_stats, layer)
        return through(run, params, state, xs, is_first, mask)

    return layer._replace(unroll=unroll, unroll_with_stats=unroll_with_stats)


def _shares(num_steps: int, steps: int, mask: Array | None) -> tuple[Any, Any]:
    """The share of each segment in the steps, and in the examples, that have a step in it."""
    firsts = range(0, num_steps, steps)
    if mask is None:
        return [min(steps, num_steps - first) / num_steps for first in firsts], 1.0
    parts = [mask[first : first + steps] for first in firsts]
    own = jnp.stack([jnp.sum(part, dtype=jnp.float32) for part in parts])
    examples = jnp.stack([jnp.sum(jnp.any(part, axis=0), dtype=jnp.float32) for part in parts])
    all_examples = jnp.sum(jnp.any(mask, axis=0), dtype=jnp.float32)
    return own / jnp.maximum(jnp.sum(own), 1), examples / jnp.maximum(all_examples, 1)


def _over(report: LayerStats, steps: Any, examples: Any) -> LayerStats:
    """The statistics of all segments in one, weighted by each segment's share."""
    weights = jnp.asarray(steps, report.in_window.dtype)
    return LayerStats(
        firing_rate=jnp.tensordot(weights, report.firing_rate, 1),
        in_window=jnp.dot(weights, report.in_window),
        operations=jnp.sum(examples * report.operations, axis=0),
    )
