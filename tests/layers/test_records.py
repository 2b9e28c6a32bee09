"""Records: the states of all layers at all steps, and each neuron's probe of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax import neurons, plots
from tests.contracts import assert_near, assert_same

T, B = 5, 2
RNG = np.random.default_rng(0)
XS = jnp.asarray(np.round(RNG.normal(0, 1, (T, B, 4)) * 8) / 8, jnp.float32)
CURVE = sj.sigmoid(0.3)
ARGS = {"decay": 0.5, "threshold": 0.25, "surrogate": CURVE}
NEURONS = {
    "lif": sj.lif(**ARGS),
    "alif": sj.alif(**ARGS),
    "recurrent": sj.recurrent(sj.lif(**ARGS)),
    "current_based": sj.current_based(sj.lif(**ARGS), decay=0.5),
    "learnable_decay": sj.learnable_decay(
        lambda decay: sj.lif(**ARGS | {"decay": decay}), neurons.per_layer(0.5)
    ),
}


def test_a_record_holds_the_states_of_the_loop():
    net = sj.serial(
        sj.dense(5, sj.alif(**ARGS)),
        sj.dropout(0.5),
        sj.residual(sj.dense(5, NEURONS["recurrent"])),
        sj.layers.feedback(sj.dense(3, sj.lif(**ARGS)), sj.dense(5)),
    )
    params, _ = net.init(jax.random.key(0), (4,))
    key = jax.random.key(3)
    states, outs = jax.jit(lambda p, xs: sj.record(net, p, xs, key=key))(params, XS)
    state, _ = net.initial_state(params, XS.shape[1:], key=key)
    step = jax.jit(net.step)
    for t in range(T):
        state, out = step(params, state, XS[t])
        here = jax.tree.map(lambda leaf, t=t: leaf[t], (states, outs))
        assert_near(here, (state, out), 1e-6)
        if t == 1:
            middle = state
    late = sj.record(net, params, XS[2:], state=middle)
    assert_near(late, jax.tree.map(lambda leaf: leaf[2:], (states, outs)), 1e-6)
    assert len(plots.populations(states)) == 3


@pytest.mark.parametrize("name", NEURONS)
def test_a_probe_of_a_record_is_what_the_spikes_and_gradients_see(name):
    """H of the distance is the spike, and the slope is that of the surrogate there."""
    net = sj.dense(5, NEURONS[name])
    params, _ = net.init(jax.random.key(0), (4,))
    states, spikes = sj.record(net, params, 4 * XS)
    probe = jax.vmap(NEURONS[name].probe, (None, 0))(params.neuron, states)
    assert probe.distance.shape == spikes.shape
    assert 0.1 < float(spikes.mean()) < 0.9
    np.testing.assert_array_equal(CURVE(probe.distance), spikes)
    assert_same(probe.slope, CURVE.derivative(probe.distance))
    np.testing.assert_array_equal(probe.in_window, np.abs(probe.distance) < CURVE.fwhm / 2)
    (state,) = plots.populations(states).values()
    raised = getattr(state, "adaptation", None)
    membrane = state.membrane - 0.25
    if raised is None:
        np.testing.assert_array_equal(probe.distance, membrane)
    else:
        assert (probe.distance <= membrane).all()
        assert (probe.distance < membrane).any()
    stats = sj.apply_with_stats(net, params, 4 * XS)[2][0]
    np.testing.assert_allclose(stats.in_window, probe.in_window.mean(), rtol=1e-5)
