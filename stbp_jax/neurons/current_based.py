"""Current-based synapses: a current that decays over steps, in front of any neuron."""

from typing import Any, NamedTuple

from stbp_jax import arguments
from stbp_jax.core import Array, Neuron, Numbers, Params, Shape, State, constants_of, given
from stbp_jax.neurons.leaky_integrator import leaky_integrator


class CurrentState(NamedTuple):
    """The synaptic current iᵗ `[B, *units]`, and the inner neuron's state.

    >>> import jax.numpy as jnp
    >>> import stbp_jax as sj
    >>> neuron = sj.current_based(sj.lif(), decay=0.5)
    >>> neuron.initial_state((1, 2), jnp.float32).current
    Array([[0., 0.]], dtype=float32)
    """

    current: Array
    neuron: State


def current_based(neuron: Neuron, *, decay: Numbers) -> Neuron:
    """Drive neurons by a current that decays over steps: iᵗ = α iᵗ⁻¹ + Iᵗ.

    The neuron receives iᵗ in place of Iᵗ, in the same step. Gradients cross the current's decay.
    With `lif` this is the current-based LIF (CuBa): uᵗ = reset(uᵗ⁻¹, oᵗ⁻¹) + iᵗ. `unroll` computes
    the currents of all steps first and then calls the inner neuron's `unroll` on them.

    `recurrent(current_based(n))` filters both the input and the recurrent current;
    `current_based(recurrent(n))` filters only the input.

    Args:
      neuron: the inner neuron, such as `lif()` or `alif()`.
      decay: α in [0, 1], the fraction of the current that remains after one step; a scalar, or
        numbers that broadcast to the units' shape. At 0 the result behaves as `neuron`.

    Returns:
      A `Neuron` with the parameters of `neuron`; its state is a `CurrentState`. Its `init` and
      `initial_state` raise ValueError for a `decay` whose shape does not match the units.

    Raises:
      ValueError: `decay` is outside [0, 1].
      TypeError: `neuron` is not a `Neuron`.

    >>> import jax.numpy as jnp
    >>> from stbp_jax import lif
    >>> neuron = current_based(lif(decay=0.0, threshold=0.5), decay=0.5)
    >>> state = neuron.initial_state((1, 1), jnp.float32)
    >>> neuron.unroll((), state, jnp.array([1.0, 0.0, 0.0]).reshape(3, 1, 1))[1].ravel()
    Array([1., 1., 0.], dtype=float32)

    Source: Neftci, Mostafa, Zenke 2019; `CuBa` of NIR and Lava.
    """
    arguments.instance("neuron", neuron, Neuron, "a Neuron, such as lif()")
    synapse = leaky_integrator(decay=decay)

    def init(key: Array, shape: Shape) -> Params:
        synapse.init(key, shape)
        return neuron.init(key, shape)

    def initial_state(shape: Shape, dtype: Any) -> CurrentState:
        return CurrentState(synapse.initial_state(shape, dtype), neuron.initial_state(shape, dtype))

    def step(params: Params, state: CurrentState, current: Array) -> tuple[CurrentState, Array]:
        current, driven = synapse.step((), state.current, current)
        inner, out = neuron.step(params, state.neuron, driven)
        return CurrentState(current, inner), out

    def unroll(
        params: Params, state: CurrentState, currents: Array, is_first: Array | None = None
    ) -> tuple[CurrentState, Array]:
        current, driven = synapse.unroll((), state.current, currents, is_first)
        inner, outs = neuron.unroll(params, state.neuron, driven, *given(is_first))
        return CurrentState(current, inner), outs

    inner_probe = neuron.probe
    probe = None if inner_probe is None else lambda params, state: inner_probe(params, state.neuron)

    def named() -> dict[str, Any]:
        return {"neuron": "current_based", "decay": decay, "inner": constants_of(neuron)}

    return Neuron(init, initial_state, step, unroll, probe, neuron.spiking, named)
