"""Connections among the units of a population, around any neuron."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array, Neuron, Params, Shape, State, constants_of, scan
from stbp_jax.initializers import Initializer, Weights, fan_in_uniform, plus_bias
from stbp_jax.layers import full_matmul


class RecurrentParams(NamedTuple):
    """Recurrent weights `[N, N]` and what the inner neuron learns."""

    weights: Weights
    neuron: Params


class RecurrentState(NamedTuple):
    """The inner neuron's state and its last output `[B, N]`."""

    neuron: State
    out: Array


def recurrent(neuron: Neuron, *, init: Initializer = fan_in_uniform()) -> Neuron:  # noqa: B008
    """The same neurons with learned connections among them: I'ᵗ = Iᵗ + oᵗ⁻¹ W + b.

    The feed-forward product stays hoisted over time; only o W is inside the scan. Gradients cross
    the recurrent connections.

    Args:
      neuron: the population, its units of shape `[N]`.
      init: makes W `[N, N]` and b `[N]`.

    Returns:
      A `Neuron` with `RecurrentParams` and `RecurrentState`.

    Raises:
      ValueError: units of more than one axis.
      TypeError: `neuron` is no `Neuron`, `init` no function.
    """
    arguments.instance("neuron", neuron, Neuron, "a Neuron, such as lif()")
    arguments.function("init", init, "an initializer, such as fan_in_uniform()")

    def init_(key: Array, shape: Shape) -> RecurrentParams:
        if len(shape) != 1:
            raise ValueError(
                f"recurrent needs units of shape [N], got {list(shape)}; use flatten()"
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

    in_window = neuron.in_window
    inner_window = (
        None if in_window is None else lambda params, state: in_window(params.neuron, state.neuron)
    )

    def named() -> dict[str, Any]:
        return {"neuron": "recurrent", "inner": constants_of(neuron)}

    return Neuron(init_, initial_state, step, scan(step), inner_window, neuron.spiking, named)
