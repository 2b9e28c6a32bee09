"""Decays that are learned, of any population."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array, Neuron, Params, Shape, State, constants_of
from stbp_jax.neurons.units import check_per_unit

DecayInit = Callable[[Array, Shape], Array]
"""`(key, units) -> decays`, each in (0, 1): a scalar for all units, or one for each."""


class LearnableDecayParams(NamedTuple):
    """Logits w of the decays sigmoid(w), a scalar or `[*units]`, and what else is learned."""

    logits: Array
    neuron: Params


def per_layer(decay: float) -> DecayInit:
    """A decay that all units of a layer share.

    Args:
      decay: at first, in (0, 1); a scalar.

    Returns:
      `(key, units) -> scalar`.

    Raises:
      ValueError: a decay that is not inside (0, 1).
    """
    arguments.open_unit_interval("decay", decay)
    return lambda key, units: jnp.full((), decay, jnp.result_type(float))


def per_neuron(low: float, high: float) -> DecayInit:
    """A decay for each unit, drawn evenly between two numbers.

    Args:
      low: the least, in (0, 1).
      high: the largest, at least `low`, in (0, 1); equal to it all units start alike.

    Returns:
      `(key, units) -> [*units]`.

    Raises:
      ValueError: numbers that are not inside (0, 1), or in the wrong order.

    Source: Perez-Nieves et al. 2021, neural heterogeneity.
    """
    arguments.open_unit_interval("low", low)
    arguments.open_unit_interval("high", high)
    if arguments.concrete(low) and arguments.concrete(high) and high < low:
        raise ValueError(f"high must be at least low, got low {low!r} and high {high!r}")
    return lambda key, units: jax.random.uniform(
        key, units, jnp.result_type(float), minval=low, maxval=high
    )


def learnable_decay(population: Callable[[Any], Neuron], init: DecayInit) -> Neuron:
    """A population whose decay is learned: decay = sigmoid(w).

    The sigmoid keeps it in (0, 1). Gradients to w come through `jax.grad`, by the population's own
    unroll.

    Args:
      population: `decay -> Neuron`, such as `lambda decay: lif(decay=decay)`; of any decay of any
        neuron. Its states must not depend on the decay's value.
      init: first decays: `per_layer(0.5)` for a layer, `per_neuron(0.2, 0.9)` for each neuron.

    Returns:
      A `Neuron` with `LearnableDecayParams`; its state is the population's.

    Raises:
      ValueError: on `init`, decays that are not inside (0, 1) or of a shape that does not fit.
      TypeError: `population` does not give a `Neuron`, or `init` is no function.

    >>> from stbp_jax import lif
    >>> neuron = learnable_decay(lambda decay: lif(decay=decay), per_layer(0.5))
    >>> neuron.init(jax.random.key(0), (3,)).logits
    Array(0., dtype=float32)

    Source: Fang et al. 2021, the parametric LIF (PLIF).
    """
    arguments.function("population", population, "a function from a decay to a Neuron")
    arguments.function("init", init, "a function that draws decays, such as per_layer(0.5)")
    anyone = population(0.5)  # for what does not depend on the decay
    arguments.instance("population", anyone, Neuron, "a function from a decay to a Neuron")

    def now(params: LearnableDecayParams) -> Neuron:
        return population(jax.nn.sigmoid(params.logits))

    def init_(key: Array, shape: Shape) -> LearnableDecayParams:
        key_decay, key_neuron = jax.random.split(key)
        decays = init(key_decay, shape)
        arguments.open_unit_interval("init", decays)
        check_per_unit("init", decays, shape)
        logits = jnp.log(decays) - jnp.log1p(-decays)
        return LearnableDecayParams(logits, anyone.init(key_neuron, shape))

    def step(params: LearnableDecayParams, state: State, current: Array) -> tuple[State, Array]:
        return now(params).step(params.neuron, state, current)

    def unroll(params: LearnableDecayParams, state: State, currents: Array) -> tuple[State, Array]:
        return now(params).unroll(params.neuron, state, currents)

    def in_window(params: LearnableDecayParams, state: State) -> Array:
        inside = now(params).in_window
        assert inside is not None  # it is the same for every decay
        return inside(params.neuron, state)

    return Neuron(
        init_,
        anyone.initial_state,
        step,
        unroll,
        None if anyone.in_window is None else in_window,
        anyone.spiking,
        lambda: {"neuron": "learnable_decay", "at 0.5": constants_of(anyone)},
    )
