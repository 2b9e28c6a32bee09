"""Adaptive thresholds, synaptic currents and learned decays: the contract, and NumPy loops by hand.

The loops follow the equations in float64 without JAX, forward and backward.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax.neurons import LearnableDecayParams
from tests.contracts import NeuronContract

RNG = np.random.default_rng(0)
STEPS, BATCH, UNITS = 12, 3, 4
CURRENTS = RNG.uniform(-0.3, 0.9, (STEPS, BATCH, UNITS))
BARS = RNG.normal(size=CURRENTS.shape)
DECAYS = np.array([0.5, 0.25, 0.5, 0.125, 0.25], np.float32)


# Contracts ----------------------------------------------------------------------------------------


class TestAlif(NeuronContract):
    make = staticmethod(
        lambda: sj.alif(
            decay=0.5,
            adaptation_decay=0.5,
            adaptation_strength=0.25,
            surrogate=sj.gaussian(0.3),
        )
    )


@pytest.mark.heavy
class TestAlifPerUnit(NeuronContract):
    make = staticmethod(
        lambda: sj.alif(
            decay=jnp.asarray(DECAYS),
            adaptation_decay=jnp.asarray(DECAYS[::-1].copy()),
            adaptation_strength=jnp.asarray(DECAYS),
            surrogate=sj.rectangular(1.5),
        )
    )


@pytest.mark.heavy
class TestAlifSoftReset(NeuronContract):
    make = staticmethod(
        lambda: sj.alif(
            decay=0.5,
            adaptation_decay=0.5,
            adaptation_strength=0.5,
            reset=sj.neurons.adaptive_reset(sj.detach_reset(sj.soft_reset)),
            surrogate=sj.sigmoid(0.3),
        )
    )


@pytest.mark.heavy
class TestAlifSDBP(NeuronContract):
    make = staticmethod(
        lambda: sj.alif(
            decay=0.5,
            adaptation_decay=0.5,
            reset=sj.detach_time(sj.neurons.adaptive_reset(sj.hard_reset)),
            adaptation_strength=0.25,
            surrogate=sj.arctan(1.5),
        )
    )


class TestCurrentBasedLif(NeuronContract):
    make = staticmethod(
        lambda: sj.current_based(sj.lif(decay=0.5, surrogate=sj.gaussian(0.3)), decay=0.5)
    )


class TestCurrentBasedLeaky(NeuronContract):
    spikes = False
    make = staticmethod(
        lambda: sj.current_based(sj.leaky_integrator(decay=0.5), decay=jnp.asarray(DECAYS))
    )


class TestLearntDecayOfALayer(NeuronContract):
    learns, drawn, exact = True, False, False  # sigmoid(w) is not dyadic
    make = staticmethod(
        lambda: sj.learnable_decay(
            lambda decay: sj.lif(decay=decay, surrogate=sj.gaussian(0.3)), sj.neurons.per_layer(0.6)
        )
    )


@pytest.mark.heavy
class TestLearntDecayOfEachNeuron(NeuronContract):
    learns, exact = True, False
    make = staticmethod(
        lambda: sj.learnable_decay(
            lambda decay: sj.lif(decay=decay, surrogate=sj.gaussian(0.3)),
            sj.neurons.per_neuron(0.2, 0.9),
        )
    )


class TestLearntDecayAroundRecurrent(NeuronContract):
    learns, exact = True, False
    make = staticmethod(
        lambda: sj.learnable_decay(
            lambda decay: sj.recurrent(
                sj.lif(decay=decay, threshold=0.25, surrogate=sj.gaussian(0.3))
            ),
            sj.neurons.per_neuron(0.3, 0.8),
        )
    )


class TestLearntReadout(NeuronContract):
    learns, drawn, exact, spikes = True, False, False, False
    make = staticmethod(
        lambda: sj.learnable_decay(
            lambda decay: sj.leaky_integrator(decay=decay), sj.neurons.per_layer(0.9)
        )
    )


# By hand ------------------------------------------------------------------------------------------


def h(v: np.ndarray, a: float = 0.3) -> np.ndarray:
    return np.exp(-(v**2) / (2 * a)) / np.sqrt(2 * np.pi * a)


def traced(neuron: sj.Neuron, params: Any = ()) -> tuple[Any, np.ndarray, Any]:
    """Outputs, and gradients to (params, currents), in float64 by the neuron's own unroll."""
    with jax.enable_x64(True):
        rest = neuron.initial_state((BATCH, UNITS), jnp.float64)

        def outs_of(params: Any, currents: Any) -> Any:
            return neuron.unroll(params, rest, currents)[1]

        outs, pull = jax.vjp(outs_of, params, jnp.asarray(CURRENTS))
        return np.asarray(outs), *pull(jnp.asarray(BARS))


@pytest.mark.parametrize("soft", [False, True], ids=["hard reset", "soft reset"])
def test_alif_is_its_equations(soft: bool) -> None:
    tau, vth, rho, beta = 0.7, 0.4, 0.9, 0.3
    u, a, o = (np.zeros((STEPS + 1, BATCH, UNITS)) for _ in range(3))
    for t in range(1, STEPS + 1):
        before = u[t - 1] - vth * o[t - 1] if soft else u[t - 1] * (1 - o[t - 1])
        a[t] = rho * a[t - 1] + o[t - 1]
        u[t] = tau * before + CURRENTS[t - 1]
        o[t] = u[t] >= vth + beta * a[t]
    eps_u, eps_a = np.zeros((STEPS + 2, BATCH, UNITS)), np.zeros((STEPS + 2, BATCH, UNITS))
    for t in range(STEPS, 0, -1):
        by_o = -tau * vth if soft else -tau * u[t]
        by_u = tau if soft else tau * (1 - o[t])
        delta = BARS[t - 1] + eps_u[t + 1] * by_o + eps_a[t + 1]
        through_spike = delta * h(u[t] - vth - beta * a[t])
        eps_u[t] = through_spike + eps_u[t + 1] * by_u
        eps_a[t] = -beta * through_spike + eps_a[t + 1] * rho

    neuron = sj.alif(
        decay=tau,
        threshold=vth,
        adaptation_decay=rho,
        adaptation_strength=beta,
        surrogate=sj.gaussian(0.3),
        reset=sj.neurons.adaptive_reset(sj.soft_reset if soft else sj.hard_reset),
    )
    outs, _, currents_bar = traced(neuron)
    np.testing.assert_array_equal(outs, o[1:])
    assert 0.1 < outs.mean() < 0.7
    assert (np.abs(eps_a) > 0.01).any()
    np.testing.assert_allclose(currents_bar, eps_u[1:-1], atol=1e-12)


def test_current_based_lif_is_its_equations() -> None:
    alpha, tau, vth = 0.6, 0.7, 0.8
    i, u, o = (np.zeros((STEPS + 1, BATCH, UNITS)) for _ in range(3))
    for t in range(1, STEPS + 1):
        i[t] = alpha * i[t - 1] + CURRENTS[t - 1]
        u[t] = tau * u[t - 1] * (1 - o[t - 1]) + i[t]
        o[t] = u[t] >= vth
    eps_u, eps_i = np.zeros((STEPS + 2, BATCH, UNITS)), np.zeros((STEPS + 2, BATCH, UNITS))
    for t in range(STEPS, 0, -1):
        delta = BARS[t - 1] - eps_u[t + 1] * tau * u[t]
        eps_u[t] = delta * h(u[t] - vth) + eps_u[t + 1] * tau * (1 - o[t])
        eps_i[t] = eps_u[t] + alpha * eps_i[t + 1]

    lif = sj.lif(decay=tau, threshold=vth, surrogate=sj.gaussian(0.3))
    outs, _, currents_bar = traced(sj.current_based(lif, decay=alpha))
    np.testing.assert_array_equal(outs, o[1:])
    assert 0.1 < outs.mean() < 0.7
    np.testing.assert_allclose(currents_bar, eps_i[1:-1], atol=1e-12)


@pytest.mark.parametrize("each", [False, True], ids=["of a layer", "of each neuron"])
def test_learned_decay_is_a_decay_behind_a_sigmoid(each: bool) -> None:
    logits = RNG.normal(size=UNITS) if each else np.asarray(0.4)
    tau, vth = 1 / (1 + np.exp(-logits)), 0.5
    u, o = (np.zeros((STEPS + 1, BATCH, UNITS)) for _ in range(2))
    for t in range(1, STEPS + 1):
        u[t] = tau * u[t - 1] * (1 - o[t - 1]) + CURRENTS[t - 1]
        o[t] = u[t] >= vth
    eps, by_tau = np.zeros((STEPS + 2, BATCH, UNITS)), np.zeros(UNITS)
    for t in range(STEPS, 0, -1):
        delta = BARS[t - 1] - eps[t + 1] * tau * u[t]
        eps[t] = delta * h(u[t] - vth) + eps[t + 1] * tau * (1 - o[t])
        by_tau += (eps[t] * u[t - 1] * (1 - o[t - 1])).sum(0)
    by_logit = by_tau * tau * (1 - tau)

    neuron = sj.learnable_decay(
        lambda decay: sj.lif(decay=decay, surrogate=sj.gaussian(0.3)), sj.neurons.per_layer(0.5)
    )
    with jax.enable_x64(True):
        params = LearnableDecayParams(jnp.asarray(logits), ())
    outs, params_bar, currents_bar = traced(neuron, params)
    np.testing.assert_array_equal(outs, o[1:])
    np.testing.assert_allclose(currents_bar, eps[1:-1], atol=1e-12)
    wanted = by_logit if each else by_logit.sum()
    np.testing.assert_allclose(params_bar.logits, wanted, atol=1e-12)


def test_adaptation_of_strength_0_is_lif() -> None:
    alone = sj.lif(decay=0.6, surrogate=sj.gaussian(0.3))
    adaptive = sj.alif(decay=0.6, adaptation_strength=0.0, surrogate=sj.gaussian(0.3))
    (outs, _, slopes), (wanted, _, wanted_slopes) = traced(adaptive), traced(alone)
    np.testing.assert_array_equal(outs, wanted)
    np.testing.assert_allclose(slopes, wanted_slopes, atol=1e-12)


def test_cuts_of_the_adaptation() -> None:
    """What each composition cuts; else a cut that does nothing would pass the contract."""

    def gradient(reset: Any) -> np.ndarray:
        return np.asarray(traced(sj.alif(decay=0.7, reset=reset, surrogate=sj.gaussian(0.3)))[2])

    kept = gradient(sj.neurons.adaptive_reset(sj.hard_reset))
    reset = gradient(sj.neurons.adaptive_reset(sj.detach_reset(sj.hard_reset)))
    both = gradient(sj.detach_reset(sj.neurons.adaptive_reset(sj.hard_reset)))
    time = gradient(sj.detach_time(sj.neurons.adaptive_reset(sj.hard_reset)))
    for one, other in ((kept, reset), (reset, both), (both, time)):
        assert np.abs(one - other).max() > 1e-3
    np.testing.assert_array_equal(kept[-1], time[-1])


def test_alif_refuses_a_carry_of_lif() -> None:
    neuron = sj.alif(reset=sj.hard_reset)  # type: ignore[arg-type]
    state = neuron.initial_state((2, 5), jnp.float32)
    for run, x in ((neuron.step, jnp.zeros((2, 5))), (neuron.unroll, jnp.zeros((3, 2, 5)))):
        with pytest.raises(TypeError, match="adaptive_reset"):
            run((), state, x)


def test_first_decays_may_be_swept() -> None:
    def drawn(low: Any) -> Any:
        neuron = sj.learnable_decay(lambda d: sj.lif(decay=d), sj.neurons.per_neuron(low, 0.9))
        return jax.nn.sigmoid(neuron.init(jax.random.key(0), (5,)).logits)

    decays = jax.vmap(drawn)(jnp.array([0.2, 0.8]))
    assert (decays[1] >= 0.8 - 1e-6).all()


def test_first_decays() -> None:
    shared = sj.learnable_decay(lambda d: sj.leaky_integrator(decay=d), sj.neurons.per_layer(0.9))
    logits = shared.init(jax.random.key(0), (5,)).logits
    assert logits.shape == ()
    np.testing.assert_allclose(jax.nn.sigmoid(logits), 0.9, rtol=1e-6)
    own = sj.learnable_decay(lambda d: sj.lif(decay=d), sj.neurons.per_neuron(0.2, 0.4))
    decays = jax.nn.sigmoid(own.init(jax.random.key(0), (200, 5)).logits)
    assert decays.shape == (200, 5)
    assert 0.2 <= decays.min() < 0.21
    assert 0.39 < decays.max() <= 0.4


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: sj.alif(adaptation_decay=1.5), "adaptation_decay"),
        (lambda: sj.alif(adaptation_strength=-0.1), "adaptation_strength"),
        (lambda: sj.alif(adaptation_strength=float("inf")), "adaptation_strength"),
        (lambda: sj.alif(decay=2.0), "decay"),
        (lambda: sj.current_based(sj.lif(), decay=-0.5), "decay"),
        (lambda: sj.neurons.per_layer(1.0), "decay"),
        (lambda: sj.neurons.per_neuron(0.0, 0.5), "low"),
        (lambda: sj.neurons.per_neuron(0.6, 0.5), "high"),
    ],
)
def test_numbers_out_of_range(make: Any, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        make()


@pytest.mark.parametrize(
    ("neuron", "name"),
    [
        (sj.alif(adaptation_strength=jnp.full(4, 0.5)), "adaptation_strength"),
        (sj.current_based(sj.lif(), decay=jnp.full(4, 0.5)), "decay"),
        (
            sj.learnable_decay(lambda d: sj.lif(decay=d), lambda key, units: jnp.full(4, 0.5)),
            "init",
        ),
        (sj.learnable_decay(lambda d: sj.lif(decay=d), lambda key, units: jnp.array(1.0)), "init"),
    ],
)
def test_constants_that_do_not_fit_the_units(neuron: sj.Neuron, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        neuron.init(jax.random.key(0), (5,))
