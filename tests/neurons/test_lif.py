"""Unrolls and neurons: the contracts, and numbers worked out by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from tests.contracts import NeuronContract, UnrollContract


class TestLifUnroll(UnrollContract):
    unroll = staticmethod(sj.neurons.lif_unroll)


class TestLifScan(UnrollContract):
    unroll = staticmethod(sj.neurons.lif_scan)


# Decays are powers of two and thresholds dyadic, as the contract's exactness asks.
DECAYS = np.array([0.5, 0.25, 0.5, 0.125, 0.25], np.float32)
THRESHOLDS = np.array([0.5, 0.25, 0.75, 0.375, 0.5], np.float32)


class TestLif(NeuronContract):
    make = staticmethod(lambda: sj.lif(decay=0.5, threshold=0.5, surrogate=sj.gaussian(0.3)))


class TestLifWithLifScan(NeuronContract):
    make = staticmethod(
        lambda: sj.lif(decay=0.5, surrogate=sj.gaussian(0.3), unroll=sj.neurons.lif_scan)
    )


class TestLifExponential(NeuronContract):
    exact = False  # exp(-1 / decay)
    make = staticmethod(
        lambda: sj.lif(decay=0.5, reset=sj.exponential_reset, surrogate=sj.polynomial(2.0))
    )


class TestLifSubtractiveDetached(NeuronContract):
    make = staticmethod(
        lambda: sj.lif(
            decay=0.5,
            reset=sj.detach_reset(sj.soft_reset),
            surrogate=sj.sigmoid(0.3),
        )
    )


class TestLifSDBP(NeuronContract):
    make = staticmethod(
        lambda: sj.lif(decay=0.5, reset=sj.detach_time(sj.hard_reset), surrogate=sj.arctan(1.5))
    )


class TestLifPerUnit(NeuronContract):
    make = staticmethod(
        lambda: sj.lif(
            decay=jnp.asarray(DECAYS),
            threshold=jnp.asarray(THRESHOLDS),
            surrogate=sj.rectangular(jnp.asarray(THRESHOLDS)),
        )
    )


@pytest.mark.heavy
class TestLifImage(NeuronContract):
    units = (5, 2, 3)
    make = staticmethod(
        lambda: sj.lif(
            decay=0.25,
            threshold=jnp.asarray(np.broadcast_to(THRESHOLDS[:, None, None], (5, 2, 3))),
            surrogate=sj.superspike(4.0),
        )
    )


# By hand ------------------------------------------------------------------------------------------


def run(neuron: sj.Neuron, currents: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and membranes of one unit from rest."""
    state = neuron.initial_state((1, 1), jnp.float32)
    outs, membranes = [], []
    for current in currents:
        state, out = neuron.step((), state, jnp.full((1, 1), current))
        outs.append(float(out[0, 0]))
        membranes.append(float(state.membrane[0, 0]))
    return np.array(outs), np.array(membranes)


def test_a_spike_sees_its_own_step_and_resets_the_next() -> None:
    outs, membranes = run(sj.lif(decay=0.5, threshold=1.0), [0.75, 0.75, 0.75, 0.0, 1.0])
    np.testing.assert_array_equal(membranes, [0.75, 1.125, 0.75, 0.375, 1.1875])
    np.testing.assert_array_equal(outs, [0, 1, 0, 0, 1])


def test_a_bias_is_no_shift_of_the_threshold() -> None:
    """Equation (4) adds the bias at every step: under leak it sums to b / (1 - decay)."""
    bias, decay, currents = 0.25, 0.5, jnp.full((4, 1, 1), 0.5)

    def spikes(threshold: float, currents: jax.Array) -> list[float]:
        neuron = sj.lif(decay=decay, threshold=threshold)
        state = neuron.initial_state((1, 1), jnp.float32)
        return neuron.unroll((), state, currents)[1].ravel().tolist()

    # The membrane is .5, .75, .875, ... without the bias, and .75, 1.125 with it.
    assert spikes(1.125, currents + bias) == [0, 1, 0, 1]
    assert spikes(1.125 - bias, currents) == [0, 0, 1, 0]
    assert spikes(0.75, currents[:1] + bias) == spikes(0.75 - bias, currents[:1]) == [1]


def test_in_window_is_half_the_fwhm_each_way() -> None:
    for surrogate in (sj.rectangular(0.5), sj.polynomial(16.0), sj.matched(sj.gaussian, 0.5)):
        neuron = sj.lif(threshold=0.75, surrogate=surrogate)
        membrane = jnp.array([[0.49, 0.51, 0.75, 0.99, 1.01]])
        inside = neuron.probe((), sj.neurons.LIFState(membrane, jnp.zeros((1, 5)))).in_window
        np.testing.assert_array_equal(inside, [[False, True, True, True, False]])


def test_per_unit_constants_are_each_units_own() -> None:
    currents = jnp.asarray(np.random.default_rng(0).integers(0, 256, (6, 2, 5)) / 256, jnp.float32)
    neuron = sj.lif(decay=jnp.asarray(DECAYS), threshold=jnp.asarray(THRESHOLDS))
    _, outs = neuron.unroll((), neuron.initial_state((2, 5), jnp.float32), currents)
    for i in range(5):
        lone = sj.lif(decay=float(DECAYS[i]), threshold=float(THRESHOLDS[i]))
        with jax.disable_jit():
            _, wanted = lone.unroll(
                (), lone.initial_state((2, 1), jnp.float32), currents[..., i : i + 1]
            )
        np.testing.assert_array_equal(outs[..., i : i + 1], wanted)


@pytest.mark.parametrize("name", ["decay", "threshold"])
@pytest.mark.parametrize("shape", [(4,), (1, 5), (5, 1)])
def test_constants_that_do_not_fit_the_units(name: str, shape: tuple[int, ...]) -> None:
    neurons = [sj.lif(**{name: jnp.full(shape, 0.5)})]
    if name == "decay":
        neurons.append(sj.leaky_integrator(decay=jnp.full(shape, 0.5)))
    for neuron in neurons:
        with pytest.raises(ValueError, match=name):
            neuron.init(jax.random.key(0), (5,))
        with pytest.raises(ValueError, match=name):
            neuron.initial_state((2, 5), jnp.float32)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"decay": -0.1}, "decay"),
        ({"decay": 1.5}, "decay"),
        ({"decay": float("nan")}, "decay"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": float("inf")}, "threshold"),
        ({"decay": np.array([0.5, 2.0])}, "decay"),
    ],
)
def test_constants_out_of_range(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        sj.lif(**arguments)
