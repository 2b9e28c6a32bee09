"""Scores so far: running readouts, as neurons that learn nothing.

Decides what a prefix of the outputs is worth. Leaves out when that suffices (`loop`).
"""

from typing import Any

import jax.numpy as jnp

from stbp_jax.core import Array, Neuron, Params, Shape, State, scan


def running_rate() -> Neuron:
    """Mean of the outputs so far: at step t what `rate` gives of the first t steps.

    A running readout is a `Neuron` that learns nothing: the outputs are its currents, the scores so
    far its output. `leaky_integrator(decay=...)` forgets, `activation(lambda y: y)` takes the last
    output.
    Sums are in float32, or in the type of the outputs where that is wider: spikes of a unit are
    counted exactly up to 2²⁴.

    >>> readout = running_rate()
    >>> state = readout.initial_state((1, 1), jnp.float32)
    >>> readout.unroll((), state, jnp.array([[[1.0]], [[0.0]]]))[1].ravel()
    Array([1. , 0.5], dtype=float32)
    """

    def initial_state(shape: Shape, dtype: Any) -> State:
        wide = jnp.promote_types(dtype, jnp.float32)  # bfloat16 counts to 256
        return jnp.zeros(shape, wide), jnp.zeros((), jnp.int32)

    def step(params: Params, state: State, out: Array) -> tuple[State, Array]:
        total = state[0] + out
        count = jnp.minimum(state[1], 2**31 - 2) + 1  # int32 would wrap to a negative rate
        return (total, count), total / count.astype(total.dtype)

    return Neuron(lambda key, shape: (), initial_state, step, scan(step), spiking=False)


def running_peak() -> Neuron:
    """Maximum of the outputs so far: at step t what `peak_membrane` gives of the first t steps."""

    def initial_state(shape: Shape, dtype: Any) -> State:
        if jnp.issubdtype(dtype, jnp.floating):
            return jnp.full(shape, -jnp.inf, dtype)
        if dtype == jnp.bool_:
            return jnp.zeros(shape, dtype)
        return jnp.full(shape, jnp.iinfo(dtype).min, dtype)

    def step(params: Params, peak: State, out: Array) -> tuple[State, Array]:
        peak = jnp.maximum(peak, out)
        return peak, peak

    return Neuron(lambda key, shape: (), initial_state, step, scan(step), spiking=False)
