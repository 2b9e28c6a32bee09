"""Resets: numbers worked out by hand, and resets that close over traced numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from tests.contracts import dyadic, quick_jit


@pytest.mark.parametrize("transform", ["grad", "vmap of grad", "jit of grad"])
def test_a_reset_may_close_over_traced_numbers(transform):
    xs = jnp.asarray(dyadic(np.random.default_rng(0), 0, 1, (5, 4, 6)), jnp.float32)

    @functools.partial(jax.grad, argnums=0)
    def slope(b, unroll=sj.neurons.lif_unroll):
        def reset(constants, state):
            return constants.decay * state.membrane - b * state.spikes

        neuron = sj.lif(decay=0.5, reset=reset, unroll=unroll)
        return neuron.unroll((), neuron.initial_state((4, 6), jnp.float32), xs)[1].sum()

    wanted = float(quick_jit(lambda b: slope(b, sj.neurons.lif_scan))(0.125))
    assert abs(wanted) > 1
    if transform == "grad":
        got = slope(0.125)
    else:
        got = quick_jit(slope)(0.125) if "jit" in transform else jax.vmap(slope)(jnp.ones(2) / 8)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def run(neuron: sj.Neuron, currents: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and membranes of one unit from rest."""
    state = neuron.initial_state((1, 1), jnp.float32)
    outs, membranes = [], []
    for current in currents:
        state, out = neuron.step((), state, jnp.full((1, 1), current))
        outs.append(float(out[0, 0]))
        membranes.append(float(state.membrane[0, 0]))
    return np.array(outs), np.array(membranes)


def test_the_subtractive_reset_keeps_the_excess() -> None:
    neuron = sj.lif(decay=0.5, threshold=1.0, reset=sj.soft_reset)
    outs, membranes = run(neuron, [1.5, 0.0, 2.5, 0.0])
    np.testing.assert_array_equal(membranes, [1.5, 0.25, 2.625, 0.8125])
    np.testing.assert_array_equal(outs, [1, 0, 1, 0])


@pytest.mark.parametrize(("decay", "left"), [(0.1, 4.5e-5), (0.5, 0.135)])
def test_the_exponential_gate_leaves_a_share(decay: float, left: float) -> None:
    """The two gates differ by exp(-1 / decay) of the leaked membrane: PAPER.md, section 2."""
    neuron = sj.lif(decay=decay, threshold=1.0, reset=sj.exponential_reset)
    outs, membranes = run(neuron, [1.0, 0.0])
    np.testing.assert_array_equal(outs, [1, 0])
    np.testing.assert_allclose(membranes[1] / decay, left, rtol=0.01)


def test_the_exponential_gate_carries_nothing_at_decay_zero() -> None:
    _, membranes = run(sj.lif(decay=0.0, reset=sj.exponential_reset), [0.25, 0.5, 0.125])
    np.testing.assert_array_equal(membranes, [0.25, 0.5, 0.125])


def test_detached_carries_are_one_object() -> None:
    """A reset is static: an unequal one would make every call compile again."""
    for cut in (sj.detach_reset, sj.detach_time):
        assert cut(sj.hard_reset) is cut(sj.hard_reset)
        assert cut(sj.hard_reset) is not cut(sj.exponential_reset)
