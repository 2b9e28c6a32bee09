"""Neurons that do not spike: the leaky readout, and none at all."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array, Neuron, Params, Shape, State, name_of, scan
from stbp_jax.neurons.units import check_per_unit, with_batch


def leaky_integrator(*, decay: Any) -> Neuron:
    """A readout that does not spike: uᵗ = τ uᵗ⁻¹ + Iᵗ, and its output is the membrane.

    Args:
      decay: τ in [0, 1] per step; a scalar or of the units' shape. 1 integrates, 0 passes through.

    Returns:
      A `Neuron` with nothing learned; its state is the membrane `[B, *units]`.

    Raises:
      ValueError: `decay` outside [0, 1], or of a shape that does not fit the units.

    >>> neuron = leaky_integrator(decay=0.5)
    >>> state = neuron.initial_state((1, 1), jnp.float32)
    >>> neuron.unroll((), state, jnp.ones((3, 1, 1)))[1].ravel()
    Array([1.  , 1.5 , 1.75], dtype=float32)
    """
    arguments.unit_interval("decay", decay)

    def init(key: Array, shape: Shape) -> Params:
        check_per_unit("decay", decay, shape)
        return ()

    def initial_state(shape: Shape, dtype: Any) -> Array:
        check_per_unit("decay", decay, shape[1:])
        return jnp.zeros(shape, dtype)

    def step(params: Params, membrane: Array, current: Array) -> tuple[Array, Array]:
        arguments.state("state", membrane, jnp.shape(current))
        membrane = jnp.asarray(with_batch(decay), membrane.dtype) * membrane + current
        return membrane, membrane

    def named() -> dict[str, Any]:
        return {"neuron": "leaky_integrator", "decay": decay}

    return Neuron(init, initial_state, step, scan(step), spiking=False, constants=named)


def activation(function: Callable[[Array], Array]) -> Neuron:
    """An activation function as a neuron: outᵗ = function(Iᵗ); for non-spiking twins.

    Args:
      function: elementwise, any shape, `jax.nn.relu` for one.

    Returns:
      A `Neuron` with no state and nothing learned.

    Raises:
      TypeError: `function` cannot be called.
    """

    def apply(params: Params, state: State, x: Array) -> tuple[State, Array]:
        return state, function(x)

    arguments.function("function", function, "an activation function, such as jax.nn.relu")
    return Neuron(
        lambda key, shape: (),
        lambda shape, dtype: (),
        apply,
        apply,
        spiking=False,
        constants=lambda: {"neuron": "activation", "function": name_of(function)},
    )
