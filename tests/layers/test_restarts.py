"""Restarts within a sequence: an example enters a step at rest where `is_first` is set."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax import layers, neurons
from stbp_jax.core import Layer, make_neuron, restart_where, scan
from stbp_jax.neurons.kernels import lif_pallas

T, B = 7, 3
RNG = np.random.default_rng(0)
FIRST = RNG.random((T, B)) < 0.3
NEURONS = {
    "lif": sj.lif(),
    "soft": sj.lif(reset=sj.detach_reset(sj.soft_reset)),
    "lif_scan": sj.lif(unroll=neurons.lif_scan),
    "alif": sj.alif(),
    "recurrent": sj.recurrent(sj.lif()),
    "current_based": sj.current_based(sj.lif(), decay=0.5),
    "learnable_decay": sj.learnable_decay(
        lambda decay: sj.lif(decay=decay), neurons.per_neuron(0.2, 0.9)
    ),
    "leaky_integrator": sj.leaky_integrator(decay=0.9),
}
NETWORKS = {
    **{name: sj.dense(5, neuron) for name, neuron in NEURONS.items()},
    "conv": sj.serial(sj.conv(2, 3, sj.lif()), sj.avg_pool(2), sj.flatten(), sj.dense(4)),
    "serial": sj.serial(sj.dense(5, sj.lif()), sj.dropout(0.5), sj.dense(4, sj.alif())),
}
NETWORKS |= {
    "feedback": sj.layers.feedback(sj.dense(5, sj.lif()), sj.dense(4, sj.lif())),
    "tied": sj.layers.tied(
        sj.serial(sj.dense(4, sj.lif()), sj.dense(4, sj.alif())),
        where=lambda params: params[1].synapse,
        get=lambda params: params[0].synapse,
    ),
    "parallel": sj.serial(
        sj.layers.rearrange(lambda x: {"left": x[..., :2], "right": x[..., 2:]}),
        sj.parallel(left=sj.dense(3, sj.lif()), right=sj.residual(sj.dense(2, sj.alif()))),
        sj.layers.rearrange(lambda x: jnp.concatenate([x["left"], x["right"]], -1)),
    ),
    "concatenate": sj.concatenate(
        sj.dense(3, sj.lif()), sj.dense(2, sj.leaky_integrator(decay=0.5))
    ),
}
NETWORKS |= {
    "chunked": sj.chunked(NETWORKS["serial"], 3),
    "truncated": sj.truncated(NETWORKS["serial"], 3),
    "stepwise": sj.stepwise(NETWORKS["serial"]),
}


def case(name):
    network = NETWORKS[name]
    shape = (6, 6, 1) if name == "conv" else (4,)
    params, _ = network.init(jax.random.key(1), shape)
    return network, params, jnp.asarray(RNG.normal(0, 2, (T, B, *shape)), jnp.float32)


def by_hand(network, params, xs, is_first):
    """The loop of `step`, with the state put at rest by `restart_where`."""
    state = rest = network.initial_state(params, xs.shape[1:])[0]
    outs = []
    for x, first in zip(xs, is_first, strict=True):
        state, y = network.step(params, restart_where(first, state, rest), x)
        outs.append(y)
    return state, jnp.stack(outs)


def assert_close(found, wanted, **tolerance):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.heavy) if n in ("conv", "chunked") else n for n in NETWORKS],
)
def test_restarts_are_those_of_the_loop(name):
    network, params, xs = case(name)
    first, close = jnp.asarray(FIRST), {"rtol": 1e-4, "atol": 1e-5}
    wanted = jax.jit(by_hand, static_argnums=0)(network, params, xs, first)
    assert_close(sj.apply(network, params, xs, is_first=first), wanted, **close)
    *found, stats = sj.apply_with_stats(network, params, xs, is_first=first)
    assert_close(found, wanted, **close)
    if stats:
        rate = jnp.mean(wanted[1], axis=(0, 1)).ravel()
        if stats[-1].firing_rate.size == rate.size:
            np.testing.assert_allclose(stats[-1].firing_rate.ravel(), rate, atol=1e-6)
    states, outs = layers.record(network, params, xs, is_first=first)
    assert_close((jax.tree.map(lambda leaf: leaf[-1], states), outs), wanted, **close)


@pytest.mark.parametrize(
    "name", ["lif", "soft", "lif_scan", "alif", "recurrent", "serial", "feedback"]
)
def test_no_gradient_crosses_a_restart_and_all_others_do(name):
    network, params, xs = case(name)
    first = jnp.asarray(FIRST)
    weights = jnp.asarray(RNG.normal(size=(T, B, sj.apply(network, params, xs)[1].shape[-1])))

    def loss(run):
        return lambda params, xs: jnp.sum(run(network, params, xs, first)[1] * weights)

    def ours(network, params, xs, first):
        return sj.apply(network, params, xs, is_first=first)

    found, wanted = (jax.jit(jax.grad(loss(run), (0, 1)))(params, xs) for run in (ours, by_hand))
    assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_packed_sequences_are_their_own_runs():
    network, params, xs = case("alif")
    first = np.zeros((T, B), bool)
    first[3] = True
    outs = sj.apply(network, params, xs, is_first=jnp.asarray(first))[1]
    np.testing.assert_array_equal(outs[3:], sj.apply(network, params, xs[3:])[1])
    nowhere = jnp.zeros((T, B), bool)
    np.testing.assert_array_equal(
        sj.apply(network, params, xs, is_first=nowhere)[1], sj.apply(network, params, xs)[1]
    )


def test_a_state_goes_on():
    network, params, xs = case("serial")
    whole = sj.apply(network, params, xs)
    state, head = sj.apply(network, params, xs[:4])
    state, tail = sj.apply(network, params, xs[4:], state=state)
    assert_close((state, jnp.concatenate([head, tail])), whole, rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match="key must be None where a state is given"):
        sj.apply(network, params, xs, state=state, key=jax.random.key(0))


def test_what_was_drawn_for_the_sequence_stays():
    network, params, xs = case("serial")
    key, always = jax.random.key(5), jnp.ones((T, B), bool)
    state, _ = sj.apply(network, params, xs, key=key, is_first=always)
    np.testing.assert_array_equal(
        state[1], network.initial_state(params, xs.shape[1:], key=key)[0][1]
    )


def test_a_neuron_of_one_function_restarts():
    neuron = make_neuron(lambda params, u, i: (u + i, u + i), jnp.ones, spiking=False)
    xs, first = jnp.ones((4, 1, 2)), jnp.array([[False], [False], [True], [False]])
    outs = neuron.unroll((), jnp.zeros((1, 2)), xs, first)[1]
    assert outs[:, 0, 0].tolist() == [1, 2, 2, 3]  # rest is 1 here
    fast = make_neuron(neuron.step, jnp.ones, unroll=lambda p, s, xs: (s, 7 * xs), spiking=False)
    assert fast.unroll((), jnp.zeros((1, 2)), xs)[1].max() == 7
    assert fast.unroll((), jnp.zeros((1, 2)), xs, first)[1].tolist() == outs.tolist()
    assert repr(sj.dense(2, neuron)).startswith("dense(")


@pytest.mark.parametrize(
    "returns", [lambda s, out: out, lambda s, out: (out, s), lambda s, out: (s, out, out)]
)
def test_a_step_returns_state_and_output(returns):
    def step(params, state, current):
        return returns(neurons.LIFState(current, current), current)

    neuron, x = make_neuron(step, sj.lif().initial_state), jnp.ones((3, 2))
    state = neuron.initial_state((3, 2), jnp.float32)
    for run, xs in ((neuron.step, x), (neuron.unroll, x[None])):
        with pytest.raises(TypeError, match=r"step must return \(state, out\)"):
            run((), state, xs)


def test_names_of_own_neurons():
    def step(params, u, current):
        return u + current, current

    named = make_neuron(step, jnp.zeros, name="adder", constants={"gain": 2.0})
    assert (repr(make_neuron(step, jnp.zeros)), repr(named)) == ("step()", "adder(gain=2.0)")
    constants, rest = OwnConstants(0.5, -0.1, 0.4, sj.gaussian(0.5)), sj.lif().initial_state
    assert repr(neurons.from_dynamics(OWN, constants, rest, name="floored")).startswith("floored(")


def test_a_layer_that_knows_no_restarts_gets_them():
    ours = sj.dense(5, sj.lif())
    theirs = Layer(
        ours.init,
        ours.initial_state,
        lambda params, state, x: ours.step(params, state, x),
        lambda params, state, xs: ours.unroll(params, state, xs),
    )
    params, _ = ours.init(jax.random.key(0), (4,))
    xs, first = jnp.asarray(RNG.normal(0, 2, (T, B, 4)), jnp.float32), jnp.asarray(FIRST)
    wanted = sj.apply(ours, params, xs, is_first=first)
    assert_close(sj.apply(theirs, params, xs, is_first=first), wanted, atol=1e-6)
    assert_close(
        sj.apply(sj.serial(theirs), (params,), xs, is_first=first)[1], wanted[1], atol=1e-6
    )


@pytest.mark.parametrize(
    ("is_first", "error", "message"),
    [
        (np.zeros((T, B + 1), bool), ValueError, r"is_first must have shape \[T, B\] = \[7, 3\]"),
        (np.zeros(T, bool), ValueError, r"got \[7\]"),
        (np.zeros((T, B), np.float32), TypeError, "is_first must be an array of bool, got float32"),
        ([True], TypeError, "is_first must be an array of bool, got list"),
    ],
)
@pytest.mark.parametrize("name", ["lif", "chunked", "stepwise"])
def test_is_first_is_checked(name, is_first, error, message):
    network, params, xs = case(name)
    with pytest.raises(error, match=message):
        sj.apply(network, params, xs, is_first=is_first)


@pytest.mark.parametrize("name", ["lif", "serial", "feedback"])
def test_is_first_of_a_step_is_checked(name):
    network, params, xs = case(name)
    state, _ = network.initial_state(params, xs.shape[1:])
    for done in (np.zeros(B, np.float32), np.zeros(B, np.int32)):
        with pytest.raises(TypeError, match=f"is_first must be an array of bool, got {done.dtype}"):
            network.step(params, state, xs[0], done)


def test_kernels_refuse_restarts():
    neuron = sj.lif(unroll=lif_pallas)
    state = neuron.initial_state((B, 2), jnp.float32)
    with pytest.raises(NotImplementedError, match="use lif_unroll for restarts"):
        neuron.unroll((), state, jnp.zeros((T, B, 2)), jnp.zeros((T, B), bool))


def test_a_probe_is_the_distance_the_curve_and_the_window():
    neuron = sj.alif(threshold=0.5, adaptation_strength=0.25, surrogate=sj.rectangular(1.0))
    state = neurons.ALIFState(jnp.array([[0.5, 2.0]]), jnp.zeros((1, 2)), jnp.array([[1.0, 0.0]]))
    probe = neuron.probe((), state)
    assert probe.distance.tolist() == [[-0.25, 1.5]]
    assert probe.slope.tolist() == [[1.0, 0.0]]
    assert probe.in_window.tolist() == [[True, False]]


# A user's own dynamics ---------------------------------------------------------------------------


class OwnConstants(NamedTuple):
    decay: Any
    floor: Any
    threshold: Any
    surrogate: sj.Surrogate


OWN = neurons.Dynamics(
    reset=lambda c, s: (c.decay * s.membrane * (1 - s.spikes) + c.floor * s.spikes,),
    distance=lambda c, hidden: jnp.tanh(hidden[0]) - c.threshold,
    state=lambda hidden, spikes: neurons.LIFState(hidden[0], spikes),
    hidden=lambda state: (state.membrane,),
)


def own(decay=0.5):
    rest = sj.lif().initial_state
    return neurons.from_dynamics(OWN, OwnConstants(decay, -0.1, 0.4, sj.gaussian(0.5)), rest)


@pytest.mark.parametrize("restarts", [False, True])
def test_own_dynamics_have_the_gradient_of_the_scan(restarts):
    first = jnp.asarray(FIRST) if restarts else None
    currents = jnp.asarray(RNG.normal(0, 1, (T, B, 4)), jnp.float32)
    weights = jnp.asarray(RNG.normal(size=currents.shape), jnp.float32)

    def loss(unroll):
        def run(decay, currents):
            neuron = own(decay)
            state = neuron.initial_state((B, 4), jnp.float32)
            by = scan(neuron.step, neuron.initial_state) if unroll is None else neuron.unroll
            return jnp.sum(by((), state, currents, first)[1] * weights)

        return run

    by_scan, fast = (
        jax.jit(jax.value_and_grad(loss(unroll), (0, 1)))(jnp.full(4, 0.5), currents)
        for unroll in (None, "fast")
    )
    assert_close(fast, by_scan, rtol=1e-4, atol=1e-5)
    assert np.any(fast[1][0] != 0)


def test_own_dynamics_are_a_neuron_like_any_other():
    neuron = own()
    assert "threshold=0.4" in repr(neuron)
    network = sj.chunked(sj.serial(sj.dense(4, neuron), sj.dense(3)), 3)
    params, _ = network.init(jax.random.key(0), (5,))
    stats = sj.apply_with_stats(network, params, jnp.ones((T, B, 5)))[2]
    assert np.isfinite(stats[0].in_window)
    with pytest.raises(TypeError, match="constants must have a surrogate"):
        neurons.from_dynamics(OWN, (0.5,), neuron.initial_state)
    wrong = OwnConstants(0.5, np.zeros(3), 0.4, sj.gaussian(0.5))
    narrow = neurons.from_dynamics(OWN, wrong, neuron.initial_state)
    with pytest.raises(ValueError, match="floor must .* broadcasts to the units' shape"):
        narrow.init(jax.random.key(0), (4,))
