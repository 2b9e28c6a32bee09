"""Own dynamics: a state that is more than its parts, constants that broadcast, broken resets."""

import contextlib
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
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


def leaky(reset: Any, constants: Any) -> sj.Neuron:
    dynamics = neurons.Dynamics(
        reset=reset,
        distance=lambda c, hidden: hidden[0] - c.threshold,
        state=lambda hidden, spikes: neurons.LIFState(hidden[0], spikes),
        hidden=lambda state: (state.membrane,),
    )
    return neurons.from_dynamics(dynamics, constants, sj.lif().initial_state)


def decayed(c: Any, s: Any) -> Any:
    return c.decay * s.membrane * (1 - s.spikes)


MAKERS = {
    "own": lambda decay: leaky(
        lambda c, s: (decayed(c, s),), Constants(decay, 0.25, sj.rectangular(1.0))
    ),
    "lif": lambda decay: sj.lif(decay=decay, threshold=0.25),
    "alif": lambda decay: sj.alif(decay=decay, threshold=decay, adaptation_strength=decay),
    "leaky_integrator": lambda decay: sj.leaky_integrator(decay=decay),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    "blocks", [False, pytest.param(True, marks=pytest.mark.heavy)], ids=["loop", "blocks"]
)
def test_constants_broadcast_to_the_units(name: str, blocks: bool) -> None:
    units = (3, 2, 4)
    rng = np.random.default_rng(0)
    currents, weights = (
        jnp.asarray(rng.normal(0.2, 1, (5, 2, *units)), jnp.float32) for _ in range(2)
    )

    def loss(decay: Any) -> Any:
        neuron = MAKERS[name](decay)
        neuron.init(jax.random.key(0), units)
        state = neuron.initial_state((2, *units), jnp.float32)
        return jnp.sum(neuron.unroll((), state, currents)[1] * weights)

    with everywhere() if blocks else contextlib.nullcontext():
        for shape in ((4,), (2, 1), (1, 1, 4)):
            decay = jnp.asarray(rng.uniform(0.3, 0.9, shape), jnp.float32)
            got, wanted = (
                jax.jit(jax.value_and_grad(lambda d, by=by: loss(by(d))))(decay)
                for by in (lambda d: d, lambda d: jnp.broadcast_to(d, units))
            )
            chex.assert_trees_all_close(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(3,), (4, 1), (1, 3, 2, 4), (6, 4)])
def test_constants_that_do_not_broadcast(shape: Any) -> None:
    neuron = MAKERS["own"](np.full(shape, 0.5, np.float32))
    with pytest.raises(ValueError, match=r"decay must .* the units' shape \[3, 2, 4\], got \["):
        neuron.init(jax.random.key(0), (3, 2, 4))


def test_a_reset_gives_a_tuple() -> None:
    """One array in its place would be taken apart by examples."""
    neuron = leaky(decayed, Constants(0.5, 0.25, sj.rectangular(1.0)))
    state = neuron.initial_state((3, 2), jnp.float32)
    for run, x in ((neuron.step, jnp.ones((3, 2))), (neuron.unroll, jnp.ones((4, 3, 2)))):
        with pytest.raises(TypeError, match="reset must return a tuple .*, got one array"):
            run((), state, x)


def test_states_hold_no_traced_numbers() -> None:
    def spikes(mixed: Any) -> Any:
        neuron = compartments(mixed)
        state = neuron.initial_state((1, 2), jnp.float32)
        return jnp.sum(neuron.unroll((), state, jnp.ones((3, 1, 2)))[1])

    with pytest.raises(TypeError, match="state must not close over traced numbers"):
        jax.grad(spikes)(0.5)
