"""Other ways to unroll a layer over time: step by step, in chunks, or with gradients cut."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax import arguments, core
from stbp_jax.core import Array, Layer, LayerStats, Params, State, scan


def stepwise(layer: Layer) -> Layer:
    """The same layer, unrolled by a scan of its `step`: for feedback, delays and comparison."""
    arguments.instance("layer", layer, Layer, "a Layer, such as dense(10)")
    return layer._replace(unroll=scan(layer.step))


def chunked(layer: Layer, steps: int, *, policy: Callable[..., Any] | None = None) -> Layer:
    """The same layer, unrolled `steps` time steps at a time: for long sequences.

    A scan over chunks hands the state on; gradients cross from chunk to chunk. Backward keeps the
    sequence that came in and the state that enters each chunk, and computes all else of one chunk
    anew when it gets there: the memory of one chunk for the time of one more forward pass. With
    `policy=keep_membranes` it also keeps the membranes of all steps, and makes no product twice:
    then it is the faster schedule as well, once the arrays of all steps outgrow the caches.

    Args:
      layer: a layer or a network.
      steps: of a chunk; a last chunk may be shorter. 15 to 30 is a good start.
      policy: what backward keeps, as in `jax.checkpoint`; None is nothing within a chunk.

    Returns:
      A `Layer` that computes the same.

    Raises:
      ValueError: `steps` below 1.

    >>> from stbp_jax import apply, dense, lif, serial
    >>> from stbp_jax.neurons import keep_membranes
    >>> net = chunked(serial(dense(20, lif()), dense(10, lif())), 30, policy=keep_membranes)
    >>> params, _ = net.init(jax.random.key(0), (16,))
    >>> apply(net, params, jnp.ones((100, 2, 16)))[1].shape
    (100, 2, 10)
    """
    return _in_chunks(layer, steps, functools.partial(jax.checkpoint, policy=policy))


def truncated(layer: Layer, steps: int) -> Layer:
    """The same layer, its gradients cut every `steps` time steps.

    Truncated backpropagation through time, in stretches of `steps`: the state that enters a stretch
    is a constant. All that a layer carries is cut: membranes, and what comes back through recurrent
    weights, synaptic currents and readouts too. Where all layers are `lif`, `steps=1` is SDBP
    (`detach_time`); from T on it is STBP.

    Args:
      layer: a layer or a network.
      steps: of a stretch, counted from the first step; the last may be shorter.

    Returns:
      A `Layer` of the same outputs.

    Raises:
      ValueError: `steps` below 1.

    >>> from stbp_jax import dense, lif, serial
    >>> net = truncated(serial(dense(20, lif()), dense(10, lif())), 4)
    """

    def cut(run: Callable[..., Any]) -> Callable[..., Any]:
        return lambda params, state, xs: run(params, lax.stop_gradient(state), xs)

    return _in_chunks(layer, steps, cut)


def _in_chunks(
    layer: Layer, steps: int, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Layer:
    """The same layer, unrolled by a scan over stretches of `steps` time steps.

    Args:
      layer: a layer or a network.
      steps: of a stretch.
      wrap: what is done to the run of a stretch, `(params, state, xs) -> (state, ...)`.
    """
    arguments.instance("layer", layer, Layer, "a Layer, such as dense(10)")
    steps = arguments.count("steps", steps)

    def through(
        run: Callable[..., Any], params: Params, state: State, xs: Array
    ) -> tuple[State, Array, tuple[LayerStats, ...]]:
        arguments.sequence("xs", xs)
        run = wrap(run)
        whole, rest = divmod(xs.shape[0], steps)
        if not whole:
            return run(params, state, xs)

        def body(state: State, xs: Array) -> tuple[State, tuple[Array, tuple[LayerStats, ...]]]:
            state, *told = run(params, state, xs)
            return state, tuple(told)

        head = xs[: whole * steps].reshape((whole, steps, *xs.shape[1:]))
        state, (ys, reports) = lax.scan(body, state, head)
        ys, shares = ys.reshape((whole * steps, *ys.shape[2:])), [steps / len(xs)] * whole
        if rest:
            state, last, told = run(params, state, xs[whole * steps :])
            ys, shares = jnp.concatenate([ys, last]), [*shares, rest / len(xs)]
            reports = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), reports, told)
        return state, ys, tuple(_over(report, shares) for report in reports)

    def unroll(params: Params, state: State, xs: Array) -> tuple[State, Array]:
        return through(lambda *args: (*layer.unroll(*args), ()), params, state, xs)[:2]

    def unroll_with_stats(
        params: Params, state: State, xs: Array
    ) -> tuple[State, Array, tuple[LayerStats, ...]]:
        return through(functools.partial(core.unroll_with_stats, layer), params, state, xs)

    return layer._replace(unroll=unroll, unroll_with_stats=unroll_with_stats)


def _over(report: LayerStats, shares: list[float]) -> LayerStats:
    """One report of several stretches, each with its share of the steps."""
    weights = jnp.asarray(shares, report.in_window.dtype)
    return LayerStats(
        firing_rate=jnp.tensordot(weights, report.firing_rate, 1),
        in_window=jnp.dot(weights, report.in_window),
        operations=jnp.sum(report.operations, axis=0),
    )
