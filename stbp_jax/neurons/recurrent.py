"""Recurrent connections among the units of a population, around any neuron."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array, Neuron, Params, Shape, State, constants_of, scan
from stbp_jax.initializers import Initializer, Weights, fan_in_uniform, plus_bias
from stbp_jax.layers import full_matmul


class RecurrentParams(NamedTuple):
    """Recurrent weights, kernel `[N, N]` and bias `[N]`, and the inner neuron's parameters.

    >>> import stbp_jax as sj
    >>> sj.recurrent(sj.lif()).init(jax.random.key(0), (3,)).weights.kernel.shape
    (3, 3)
    """

    weights: Weights
    neuron: Params


class RecurrentState(NamedTuple):
    """The inner neuron's state, and its output of the last step, `[B, N]`.

    >>> import stbp_jax as sj
    >>> sj.recurrent(sj.lif()).initial_state((1, 2), jnp.float32).out
    Array([[0., 0.]], dtype=float32)
    """

    neuron: State
    out: Array


def recurrent(neuron: Neuron, *, init: Initializer = fan_in_uniform()) -> Neuron:  # noqa: B008
    """Connect the units of a population to each other: the neuron receives Iᵗ + oᵗ⁻¹ W + b.

    The recurrent current uses the outputs of the previous step, and gradients cross it. In a layer,
    the input's matmul still runs once for all T steps; only oᵗ⁻¹ W is inside the scan, with the
    inner neuron's `step`.

    Args:
      neuron: the inner neuron; its units must have shape `[N]`.
      init: draws W `[N, N]` and b `[N]`.

    Returns:
      A `Neuron` with `RecurrentParams` and `RecurrentState`. Its `init` raises ValueError for units
      of more than one axis.

    Raises:
      TypeError: `neuron` is not a `Neuron`; `init` is not callable.

    >>> from stbp_jax import lif
    >>> params = recurrent(lif()).init(jax.random.key(0), (3,))
    >>> params.weights.kernel.shape, params.weights.bias.shape
    ((3, 3), (3,))
    """
    arguments.instance("neuron", neuron, Neuron, "a Neuron, such as lif()")
    arguments.function("init", init, "an initializer, such as fan_in_uniform()")

    def init_(key: Array, shape: Shape) -> RecurrentParams:
        if len(shape) != 1:
            raise ValueError(
                f"units of recurrent must have shape [N], got {list(shape)}; use flatten()"
            )
        key_weights, key_neuron = jax.random.split(key)
        weights = init(key_weights, (shape[0], shape[0]), jnp.result_type(float))
        return RecurrentParams(weights, neuron.init(key_neuron, shape))

    def initial_state(shape: Shape, dtype: Any) -> RecurrentState:
        return RecurrentState(neuron.initial_state(shape, dtype), jnp.zeros(shape, dtype))

    def step(
        params: RecurrentParams, state: RecurrentState, current: Array
    ) -> tuple[RecurrentState, Array]:
        arguments.state("state", state.out, jnp.shape(current))
        current = current + plus_bias(full_matmul(state.out, params.weights.kernel), params.weights)
        inner, out = neuron.step(params.neuron, state.neuron, current)
        return RecurrentState(inner, out), out

    inner = neuron.probe
    probe = None if inner is None else lambda params, state: inner(params.neuron, state.neuron)

    def named() -> dict[str, Any]:
        return {"neuron": "recurrent", "inner": constants_of(neuron)}

    unroll = scan(step, initial_state)
    return Neuron(init_, initial_state, step, unroll, probe, neuron.spiking, named)
