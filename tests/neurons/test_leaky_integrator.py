"""Neurons that do not spike: the contract, and sums written by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from tests.contracts import NeuronContract

# Decays are powers of two and thresholds dyadic, as the contract's exactness asks.
DECAYS = np.array([0.5, 0.25, 0.5, 0.125, 0.25], np.float32)


class TestLeaky(NeuronContract):
    spikes = False
    make = staticmethod(lambda: sj.leaky_integrator(decay=0.5))


class TestLeakyPerUnit(NeuronContract):
    spikes = False
    make = staticmethod(lambda: sj.leaky_integrator(decay=jnp.asarray(DECAYS)))


class TestStateless(NeuronContract):
    spikes = False
    units = (5, 2)
    make = staticmethod(lambda: sj.neurons.activation(jax.nn.relu))


@pytest.mark.parametrize("decay", [0.0, 0.25, 1.0, DECAYS], ids=["0", "1/4", "1", "per unit"])
def test_leaky_is_a_decaying_sum(decay: Any) -> None:
    """Its output is its membrane, sum over s <= t of decay^(t - s) I^s."""
    currents = np.random.default_rng(0).integers(-64, 65, (4, 2, 5)) / 64
    neuron = sj.leaky_integrator(decay=decay if np.ndim(decay) == 0 else jnp.asarray(decay))
    rest = neuron.initial_state((2, 5), jnp.float32)
    last, outs = neuron.unroll((), rest, jnp.asarray(currents, jnp.float32))
    for t in range(4):
        wanted = sum(decay ** (t - s) * currents[s] for s in range(t + 1))
        np.testing.assert_array_equal(outs[t], wanted)
    np.testing.assert_array_equal(last, outs[-1])


def test_stateless_is_its_function() -> None:
    currents = jnp.array([[[-1.0, 0.5]], [[2.0, -0.25]]])
    state, outs = sj.neurons.activation(jax.nn.relu).unroll((), (), currents)
    assert state == ()
    np.testing.assert_array_equal(outs, [[[0, 0.5]], [[2, 0]]])
