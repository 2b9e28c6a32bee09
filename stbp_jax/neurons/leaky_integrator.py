"""Neurons that do not spike: leaky integrators and activation functions."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array, Neuron, Numbers, Params, Shape, State, name_of, scan
from stbp_jax.neurons import blocks
from stbp_jax.neurons.units import check_per_unit, with_batch


def leaky_integrator(*, decay: Numbers) -> Neuron:
    """Leaky integrators, for output layers: uᵗ = τ uᵗ⁻¹ + Iᵗ; the output is the membrane uᵗ.

    The membrane depends on the current of its own step. There is no threshold and no reset, and
    gradients cross the leak.

    Args:
      decay: τ in [0, 1], the fraction of the membrane that remains after one step; a scalar, or
        numbers that broadcast to the units' shape. 1 sums the currents, 0 returns each current
        unchanged.

    Returns:
      A `Neuron` without learned parameters; its state is the membrane `[B, *units]`. Its `init` and
      `initial_state` raise ValueError for a `decay` whose shape does not match the units.

    Raises:
      ValueError: `decay` is outside [0, 1].

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
        membrane = jnp.asarray(with_batch(decay, membrane), membrane.dtype) * membrane + current
        return membrane, membrane

    def named() -> dict[str, Any]:
        return {"neuron": "leaky_integrator", "decay": decay}

    def unroll(
        params: Params, state: Array, currents: Array, is_first: Array | None = None
    ) -> tuple[Array, Array]:
        arguments.sequence("currents", currents)
        args = (params, state, currents, is_first)
        steps = jnp.shape(currents)[0]

        def by_blocks(*args: Any) -> tuple[Array, Array]:
            return scan(step, initial_state, steps_per_iteration=blocks.block_steps(steps))(*args)

        return blocks.by_platform(scan(step, initial_state), by_blocks, steps, args)

    return Neuron(init, initial_state, step, unroll, spiking=False, constants=named)


def activation(function: Callable[[Array], Array]) -> Neuron:
    """An activation function as a neuron, for ANN baselines: yᵗ = function(Iᵗ).

    Args:
      function: elementwise, for arrays of any shape, such as `jax.nn.relu`.

    Returns:
      A `Neuron` without a state and without learned parameters.

    Raises:
      TypeError: `function` is not callable.

    >>> import jax
    >>> activation(jax.nn.relu).step((), (), jnp.array([[-1.0, 1.0]]))
    ((), Array([[0., 1.]], dtype=float32))
    """

    def apply(
        params: Params, state: State, x: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
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
