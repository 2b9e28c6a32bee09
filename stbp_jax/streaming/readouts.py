"""Running readouts: neurons without parameters that give the scores of all steps so far."""

from typing import Any

import jax.numpy as jnp

from stbp_jax.core import Array, Neuron, Params, Shape, State, scan, wide_dtype


def running_rate() -> Neuron:
    """Mean of the outputs so far, scoresᵗ = 1/t Σₛ≤ₜ oˢ: `rate` of the first t steps.

    A running readout is a `Neuron` without parameters: its currents are the outputs of the network,
    its outputs are the scores so far. `leaky_integrator(decay=...)` weighs recent steps more, and
    `activation(lambda y: y)` takes the last output. Sums are in float32, or in the type of the
    outputs if it is wider, so spikes are counted exactly up to 2²⁴.

    >>> readout = running_rate()
    >>> state = readout.initial_state((1, 1), jnp.float32)
    >>> readout.unroll((), state, jnp.array([[[1.0]], [[0.0]]]))[1].ravel()
    Array([1. , 0.5], dtype=float32)
    """

    def initial_state(shape: Shape, dtype: Any) -> State:
        wide = wide_dtype(dtype)  # bfloat16 counts to 256
        return jnp.zeros(shape, wide), jnp.zeros(shape[:1], jnp.int32)

    def step(params: Params, state: State, out: Array) -> tuple[State, Array]:
        total = state[0] + out
        count = jnp.minimum(state[1], 2**31 - 2) + 1  # int32 would wrap to a negative rate
        steps = jnp.expand_dims(count, range(1, total.ndim))
        return (total, count), total / steps.astype(total.dtype)

    unroll = scan(step, initial_state)
    return Neuron(lambda key, shape: (), initial_state, step, unroll, spiking=False)


def running_peak() -> Neuron:
    """Maximum of the outputs so far: `peak_membrane` of the first t steps.

    >>> peak = running_peak()
    >>> outs = jnp.array([1.0, 0.5])[:, None, None]
    >>> peak.unroll((), peak.initial_state((1, 1), jnp.float32), outs)[1].ravel()
    Array([1., 1.], dtype=float32)
    """

    def initial_state(shape: Shape, dtype: Any) -> State:
        if jnp.issubdtype(dtype, jnp.floating):
            return jnp.full(shape, -jnp.inf, dtype)
        if dtype == jnp.bool_:
            return jnp.zeros(shape, dtype)
        return jnp.full(shape, jnp.iinfo(dtype).min, dtype)

    def step(params: Params, peak: State, out: Array) -> tuple[State, Array]:
        peak = jnp.maximum(peak, out)
        return peak, peak

    unroll = scan(step, initial_state)
    return Neuron(lambda key, shape: (), initial_state, step, unroll, spiking=False)
