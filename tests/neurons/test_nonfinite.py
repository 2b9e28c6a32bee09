"""NaN and infinity reach the loss through every curve, reset and unroll."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax.neurons.kernels import lif_pallas_interpreted
from stbp_jax.spikes import heaviside
from tests.contracts import CURVES, RESETS, quick_jit

UNROLLS = {
    "scan": sj.neurons.lif_scan,
    "default": sj.neurons.lif_unroll,
    "pallas": lif_pallas_interpreted,
}


def test_heaviside_of_what_is_not_finite():
    v = np.array([-np.inf, -1, -0.0, 0, 1, np.inf, np.nan], np.float32)
    wanted = np.array([0, 0, 1, 1, 1, 1, np.nan])
    np.testing.assert_array_equal(heaviside(v), wanted)
    for make, width in CURVES.values():
        np.testing.assert_array_equal(make(width)(v), wanted)
        np.testing.assert_array_equal(jax.jit(make(width))(v), wanted)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_floats_keep_their_dtype(dtype):
    spikes = sj.rectangular()(jnp.array([-1, 0, jnp.nan], dtype))
    assert spikes.dtype == dtype
    np.testing.assert_array_equal(spikes.astype(jnp.float32), [0, 1, np.nan])


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("unroll", UNROLLS)
def test_a_neuron_that_diverged_stays_so(unroll, reset):
    """+inf fires, and every reset makes NaN of it; -inf stays silent; NaN stays NaN."""
    neuron = sj.lif(decay=0.5, unroll=UNROLLS[unroll], reset=RESETS[reset])
    currents = jnp.zeros((3, 1, 4)).at[0, 0, :3].set(jnp.array([jnp.inf, -jnp.inf, jnp.nan]))
    state = neuron.initial_state((1, 4), jnp.float32)
    spikes = quick_jit(lambda x: neuron.unroll((), state, x)[1])(currents)[:, 0]
    nan = np.nan
    np.testing.assert_array_equal(spikes, [[1, 0, nan, 0], [nan, 0, nan, 0], [nan, 0, nan, 0]])


def test_adaptive_neurons_diverge_in_sight():
    neuron = sj.alif(decay=0.5)
    currents = jnp.zeros((2, 1, 1)).at[0].set(jnp.nan)
    state = neuron.initial_state((1, 1), jnp.float32)
    for run in (neuron.unroll, sj.scan(neuron.step)):
        assert np.isnan(run((), state, currents)[1]).all()


@pytest.mark.parametrize("schedule", [lambda net: net, sj.stepwise])
def test_weights_of_nan_give_a_loss_and_gradients_of_nan(schedule):
    net = schedule(sj.serial(sj.dense(4, sj.lif()), sj.dense(3, sj.lif())))
    xs = jnp.ones((2, 2, 5))

    def loss(params):
        return sj.half_squared_error(
            sj.rate(sj.apply(net, params, xs)[1]), jnp.array([0, 1])
        ).mean()

    params, _ = net.init(jax.random.key(0), (5,))
    broken = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), params)
    value, grads = quick_jit(jax.value_and_grad(loss))(broken)
    assert np.isnan(value)
    assert np.isnan(grads[1].synapse.kernel).all()
