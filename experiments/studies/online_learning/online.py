"""Gradients computed forward in time, in one scan whose memory does not grow with T.

The scan runs the network segment by segment, and adds the gradient of each segment to a sum. The
state that enters a segment is a constant, so that this is truncation. `traced` and
`traced_recurrent` add OTTT's presynaptic traces to the state: with segments of one step, a weight's
gradient then includes the past of its inputs.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

import stbp_jax as sj
from stbp_jax.initializers import Initializer, Weights, plus_bias
from stbp_jax.neurons.recurrent import RecurrentState
from stbp_jax.training import LossFn

Array = jax.Array


def accumulated(
    network: sj.Layer, steps: int, loss: Callable[[Array], Array], params: Any, xs: Array
) -> tuple[Array, Array, Any]:
    """Return loss, scores and gradient, all summed over segments.

    Args:
      network: of the gradient.
      steps: of a segment, at most T; the last segment may be shorter.
      loss: `outs [K, B, C] -> scalar` of a segment.
      params: of the network.
      xs: `[T, B, ...]`.

    Returns:
      `(loss, scores [B, C], gradient)`; the scores are the sum of the outputs over time.
    """
    state, shape = network.initial_state(params, xs.shape[1:])
    zeros = (
        jnp.zeros((), xs.dtype),
        jnp.zeros(shape, xs.dtype),
        jax.tree.map(jnp.zeros_like, params),
    )

    def segment(carried: Any, xs: Array) -> Any:
        state, sums = carried

        def run(params: Any) -> tuple[Array, Any]:
            after, outs = network.unroll(params, lax.stop_gradient(state), xs)
            return loss(outs), (after, jnp.sum(outs, 0))

        (value, (state, scores)), grads = jax.value_and_grad(run, has_aux=True)(params)
        return state, jax.tree.map(jnp.add, sums, (value, scores, grads))

    def nth(carried: Any, n: Array) -> tuple[Any, None]:
        return segment(carried, lax.dynamic_slice_in_dim(xs, n * steps, steps)), None

    # XLA copies the whole sequence if segments of one step are an axis of the scan's input.
    carried, _ = lax.scan(nth, (state, zeros), jnp.arange(len(xs) // steps))
    if left := len(xs) % steps:
        carried = segment(carried, xs[-left:])
    return carried[1]


def objective(
    network: sj.Layer, steps: int, encode: Callable[..., Array], loss: Callable[..., Array]
) -> Callable[[LossFn], LossFn]:
    """Return an objective of `Pipeline` whose gradient is that of `accumulated`.

    Args:
      network: of the gradient; its outputs and parameters are those of the pipeline's network.
      steps: of a segment.
      encode: of the pipeline.
      loss: of the pipeline, `(outs [T, B, C], labels [B]) -> [T, B]`.
    """

    def of(loss_fn: LossFn) -> LossFn:
        def value(params: Any, key: Array, batch: Any) -> tuple[Array, Any]:
            images, labels = batch
            xs = encode(key, images)
            count = xs.shape[0] * xs.shape[1]
            found, scores, grads = accumulated(
                network,
                steps,
                lambda outs: jnp.sum(loss(outs, labels)) / count,
                lax.stop_gradient(params),
                xs,
            )
            report = {"accuracy": jnp.mean(sj.metrics.correct(scores, labels))}
            return _with_gradient(found, grads, params), report

        return value

    return of


def _with_gradient(value: Array, grads: Any, params: Any) -> Array:
    """Return the value, with a gradient that is already known."""
    zeros = jax.tree.map(lambda g, p: jnp.sum(g * (p - lax.stop_gradient(p))), grads, params)
    return value + sum(jax.tree.leaves(zeros))


# Traces ------------------------------------------------------------------------------------------


def traced(units: int, neuron: sj.Neuron, decay: Any, init: Initializer) -> sj.Layer:
    """Return `sj.dense(units, neuron)` with the gradient of OTTT for its weights.

        aᵗ = decay aᵗ⁻¹ + xᵗ                              trace, a constant for gradients
        Iᵗ = xᵗ sg(W) + (aᵗ W - sg(aᵗ W))                 the value of xᵗ W

    The trace of the bias has an input of 1. A gradient of Iᵗ reaches xᵗ, and by aᵗ the weights.

    Args:
      units: of the layer.
      neuron: of the layer, with this decay and a reset that is not in the trace.
      decay: of the trace.
      init: of the weights.

    Source: Xiao, Meng, Zhang, He, Lin: Online Training Through Time for Spiking Neural Networks,
    NeurIPS 2022.
    """
    layer = sj.dense(units, neuron, init=init)

    def initial_state(params: Any, shape: Any, *, key: Any = None) -> tuple[Any, Any]:
        state, out = layer.initial_state(params, shape, key=key)
        return (state, _no_trace(shape)), out

    def step(params: Any, state: Any, x: Array) -> tuple[Any, Array]:
        inner, trace = state
        trace = _next(trace, x, decay)
        inner, out = neuron.step(params.neuron, inner, _current(params.synapse, x, trace))
        return (inner, trace), out

    made = layer._replace(initial_state=initial_state, step=step, unroll_with_stats=None)
    return sj.stepwise(made)


def traced_recurrent(neuron: sj.Neuron, decay: Any, init: Initializer) -> sj.Neuron:
    """Return `sj.recurrent(neuron)` with the gradient of OTTT for its recurrent weights.

    Args:
      neuron: the inner neuron, as in `traced`.
      decay: of the trace of the spikes oᵗ⁻¹.
      init: of the weights.
    """
    layer = sj.recurrent(neuron, init=init)

    def initial_state(shape: Any, dtype: Any) -> Any:
        return layer.initial_state(shape, dtype), _no_trace(shape)

    def step(params: Any, state: Any, current: Array) -> tuple[Any, Array]:
        (inner, before), trace = state
        trace = _next(trace, before, decay)
        current = current + _current(params.weights, before, trace)
        inner, out = neuron.step(params.neuron, inner, current)
        return (RecurrentState(inner, out), trace), out

    unroll = sj.scan(step, initial_state)
    return sj.Neuron(layer.init, initial_state, step, unroll)


def _no_trace(shape: Any) -> Array:
    batch, units = shape
    return jnp.zeros((batch, units + 1))


def _next(trace: Array, x: Array, decay: Any) -> Array:
    """Return aᵗ, `[B, in + 1]`; the last input is the 1 of the bias."""
    return decay * trace + jnp.pad(lax.stop_gradient(x), ((0, 0), (0, 1)), constant_values=1.0)


def _current(weights: Weights, x: Array, trace: Array) -> Array:
    trace = lax.stop_gradient(trace)
    by_trace = trace[:, :-1] @ weights.kernel
    if weights.bias is not None:
        by_trace += trace[:, -1:] @ weights.bias[None]
    held = lax.stop_gradient(weights)
    return plus_bias(x @ held.kernel, held) + (by_trace - lax.stop_gradient(by_trace))
