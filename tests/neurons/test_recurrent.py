"""Recurrent populations: the contract, a chain by hand, and the recursion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax.neurons import RecurrentParams
from tests import reference as ref
from tests.contracts import NeuronContract


class TestRecurrentLif(NeuronContract):
    learns = True
    make = staticmethod(
        lambda: sj.recurrent(sj.lif(decay=0.5, threshold=0.25, surrogate=sj.gaussian(0.3)))
    )


class TestRecurrentLeaky(NeuronContract):
    learns = True
    spikes = False
    exact = False  # products of membranes and weights outgrow 24 bits
    make = staticmethod(lambda: sj.recurrent(sj.leaky_integrator(decay=0.5)))


def test_recurrent_spikes_come_back_one_step_later() -> None:
    """A chain: unit 0 is driven, 0 excites 1, 1 inhibits 0."""
    weights = sj.initializers.Weights(jnp.array([[0.0, 1.0], [-4.0, 0.0]]), jnp.array([0.0, 0.25]))
    neuron = sj.recurrent(sj.lif(decay=0.5, threshold=1.0))
    state = neuron.initial_state((1, 2), jnp.float32)
    currents = jnp.zeros((4, 1, 2)).at[:, 0, 0].set(1.0)
    state, outs = neuron.unroll(RecurrentParams(weights, ()), state, currents)
    np.testing.assert_array_equal(outs[:, 0], [[1, 0], [1, 1], [0, 1], [0, 0]])
    np.testing.assert_array_equal(state.neuron.membrane[0], [-4.5, 0.25])
    np.testing.assert_array_equal(state.out[0], [0, 0])


def test_recurrent_is_the_recursion() -> None:
    rng = np.random.default_rng(1)
    back, bias = rng.uniform(-0.7, 0.7, (5, 5)), rng.uniform(-0.1, 0.1, 5)
    currents = rng.uniform(-0.2, 0.9, (6, 2, 5))
    layer = ref.Layer(None, None, "h4", 0.3, "linear", 0.6, 0.5, "kept", back, bias)
    (path,) = ref.forward([layer], currents)
    neuron = sj.recurrent(sj.lif(decay=0.6, threshold=0.5, surrogate=sj.gaussian(0.3)))
    with jax.enable_x64(True):
        state = neuron.initial_state((2, 5), jnp.float64)
        params = RecurrentParams(sj.initializers.Weights(jnp.asarray(back), jnp.asarray(bias)), ())
        state, outs = neuron.unroll(params, state, jnp.asarray(currents))
    np.testing.assert_array_equal(outs, path.o[1:])
    np.testing.assert_allclose(state.neuron.membrane, path.u[-1], atol=1e-14)


def test_recurrent_needs_one_axis_of_units() -> None:
    with pytest.raises(ValueError, match=r"flatten\(\)"):
        sj.recurrent(sj.lif()).init(jax.random.key(0), (3, 3, 2))
