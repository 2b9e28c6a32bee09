"""Learned decays, for any neuron."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array, Neuron, Numbers, Params, Probe, Shape, State, constants_of, given
from stbp_jax.neurons.units import check_per_unit

DecayInit = Callable[[Array, Shape], Array]
"""`(key, units) -> decays`, each in (0, 1): a scalar for all units, or one for each."""


class LearnableDecayParams(NamedTuple):
    """Logits w of the decays sigmoid(w), a scalar or `[*units]`, and the neuron's parameters.

    >>> import stbp_jax as sj
    >>> decays = sj.neurons.per_neuron(0.2, 0.8)
    >>> neuron = sj.learnable_decay(lambda decay: sj.lif(decay=decay), decays)
    >>> neuron.init(jax.random.key(0), (3,)).logits.shape
    (3,)
    """

    logits: Array
    neuron: Params


def per_layer(decay: Numbers) -> DecayInit:
    """Initial decay of `learnable_decay`: one decay that all units of a layer share.

    Args:
      decay: the initial value, a scalar in (0, 1).

    Returns:
      `(key, units) -> scalar`.

    Raises:
      ValueError: `decay` is outside (0, 1).

    >>> round(float(per_layer(0.5)(jax.random.key(0), (3,))), 3)
    0.5
    """
    arguments.open_unit_interval("decay", decay)
    return lambda key, units: jnp.full((), decay, jnp.result_type(float))


def per_neuron(low: Numbers, high: Numbers) -> DecayInit:
    """Initial decay of `learnable_decay`: one decay for each unit, τ ~ U[low, high].

    Args:
      low: lower bound, in (0, 1).
      high: upper bound, in (0, 1) and at least `low`; if equal, all units start with this decay.

    Returns:
      `(key, units) -> [*units]`.

    Raises:
      ValueError: `low` or `high` is outside (0, 1); `high` is below `low`.

    >>> decays = per_neuron(0.2, 0.9)(jax.random.key(0), (3,))
    >>> decays.shape, bool(((0.2 <= decays) & (decays <= 0.9)).all())
    ((3,), True)

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
    """Make a decay of a neuron a learned parameter: τ = sigmoid(w), inside (0, 1).

    Gradients reach w through the neuron's own unroll; `lif_unroll` has them.

    Args:
      population: `decay -> Neuron`, such as `lambda decay: lif(decay=decay)`, for any decay of any
        neuron. The neuron's states must not depend on the value of the decay.
      init: draws the initial decays: `per_layer(0.5)` shares one decay among the units of a layer,
        `per_neuron(0.2, 0.9)` has one for each unit.

    Returns:
      A `Neuron` with `LearnableDecayParams` and the neuron's state. Its `init` raises ValueError
      for initial decays outside (0, 1) or of a shape that does not match the units.

    Raises:
      TypeError: `population` does not return a `Neuron`; `init` is not callable.

    >>> from stbp_jax import lif
    >>> neuron = learnable_decay(lambda decay: lif(decay=decay), per_layer(0.5))
    >>> neuron.init(jax.random.key(0), (3,)).logits
    Array(0., dtype=float32)

    Source: Fang et al. 2021, the parametric LIF (PLIF).
    """
    arguments.function("population", population, "a function from a decay to a Neuron")
    arguments.function("init", init, "a function that draws decays, such as per_layer(0.5)")
    template = population(0.5)  # for its functions that do not depend on the decay
    arguments.instance("population", template, Neuron, "a function from a decay to a Neuron")

    def neuron_of(params: LearnableDecayParams) -> Neuron:
        return population(jax.nn.sigmoid(params.logits))

    def init_(key: Array, shape: Shape) -> LearnableDecayParams:
        key_decay, key_neuron = jax.random.split(key)
        decays = init(key_decay, shape)
        arguments.open_unit_interval("init", decays)
        check_per_unit("init", decays, shape)
        logits = jnp.log(decays) - jnp.log1p(-decays)
        return LearnableDecayParams(logits, template.init(key_neuron, shape))

    def step(params: LearnableDecayParams, state: State, current: Array) -> tuple[State, Array]:
        return neuron_of(params).step(params.neuron, state, current)

    def unroll(
        params: LearnableDecayParams, state: State, currents: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        return neuron_of(params).unroll(params.neuron, state, currents, *given(is_first))

    def probe(params: LearnableDecayParams, state: State) -> Probe:
        inner = neuron_of(params).probe
        assert inner is not None  # the template has one
        return inner(params.neuron, state)

    return Neuron(
        init_,
        template.initial_state,
        step,
        unroll,
        None if template.probe is None else probe,
        template.spiking,
        lambda: {"neuron": "learnable_decay", "at 0.5": constants_of(template)},
    )
