"""Own dynamics whose state is more than its parts: gradients cross `state` too."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

import stbp_jax as sj
from stbp_jax import neurons
from stbp_jax.testing import check_neuron
from tests.neurons.test_blocks import everywhere


class Constants(NamedTuple):
    decay: Any
    threshold: float
    surrogate: sj.Surrogate


class Compartments(NamedTuple):
    dendrite: Any
    soma: Any
    spikes: Any


def compartments(mixed: Any = 0.25) -> sj.Neuron:
    """The soma of the state is a mixture, and a spike halves its dendrite."""

    def to_state(hidden: Any, spikes: Any) -> Compartments:
        dendrite, other = hidden
        return Compartments(dendrite * (1 - spikes / 2), other + mixed * dendrite, spikes)

    def to_hidden(state: Compartments) -> Any:
        dendrite = state.dendrite / (1 - state.spikes / 2)
        return dendrite, state.soma - mixed * dendrite

    dynamics = neurons.Dynamics(
        reset=lambda c, s: (c.decay * s.dendrite, 0.5 * s.soma * (1 - s.spikes)),
        distance=lambda c, hidden: hidden[1] + mixed * hidden[0] - c.threshold,
        state=to_state,
        hidden=to_hidden,
    )

    def rest(shape: Any, dtype: Any) -> Compartments:
        return Compartments(*[jnp.zeros(shape, dtype)] * 3)

    return neurons.from_dynamics(dynamics, Constants(0.5, 0.25, sj.rectangular(1.0)), rest)


def test_the_gradient_crosses_the_state() -> None:
    check_neuron(compartments())


@pytest.mark.heavy
def test_the_gradient_crosses_the_state_in_blocks() -> None:
    with everywhere():
        check_neuron(compartments())


def test_states_hold_no_traced_numbers() -> None:
    def spikes(mixed: Any) -> Any:
        neuron = compartments(mixed)
        state = neuron.initial_state((1, 2), jnp.float32)
        return jnp.sum(neuron.unroll((), state, jnp.ones((3, 1, 2)))[1])

    with pytest.raises(TypeError, match="state must not close over traced numbers"):
        jax.grad(spikes)(0.5)
