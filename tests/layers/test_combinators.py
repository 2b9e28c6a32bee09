"""Combinators: layers in sequence, side by side, tied, and with feedback; pytrees of inputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax import layers
from stbp_jax.layers import FeedbackParams, LayerParams, feedback, rearrange, tied
from tests.contracts import LayerContract, assert_near, assert_same, quick_jit, random_like

HEAVY = pytest.mark.heavy
T, B = 6, 3
RNG = np.random.default_rng(0)
LOUD = sj.initializers.fan_in_normalized(gain=2.0)


def a_key() -> jax.Array:
    return jax.random.key(7)


def neuron(make=sj.lif):
    return make(decay=0.5, threshold=0.25, surrogate=sj.gaussian(0.5))


def inputs(*shape):
    return jnp.asarray(RNG.normal(0, 1, (T, B, *shape)), jnp.float32)


def total(tree):
    """A number that every output moves, and not linearly."""
    gains = random_like(tree, 5)
    return sum(map(jnp.vdot, jax.tree.leaves(gains), jax.tree.leaves(tree))) ** 2


# The contract of a layer -------------------------------------------------------------------------


@pytest.mark.heavy
class TestResidual(LayerContract):
    shape, reports, spikes = (6,), 1, False
    make = staticmethod(lambda: sj.residual(sj.dense(6, neuron())))


@pytest.mark.heavy
class TestConcatenate(LayerContract):
    shape, reports, outputs = (6,), 2, slice(None)
    make = staticmethod(lambda: sj.concatenate(sj.dense(4, neuron()), sj.dense(3, neuron())))


class TestParallel(TestConcatenate):
    shape = (6,)
    make = staticmethod(
        lambda: sj.serial(
            rearrange(lambda x: {"left": x[..., :4], "right": x[..., 4:]}),
            sj.parallel(right=sj.dense(4, neuron()), left=sj.dense(3, neuron())),
            rearrange(lambda x: jnp.concatenate([x["right"], x["left"]], -1)),
        )
    )


@pytest.mark.heavy
class TestTied(LayerContract):
    """A decoder with the encoder's kernel, which is transposed."""

    shape, reports = (6,), 2
    make = staticmethod(
        lambda: tied(
            sj.serial(sj.dense(5, neuron(), init=LOUD), sj.dense(6, neuron(), init=LOUD)),
            where=lambda params: params[1].synapse.kernel,
            get=lambda params: params[0].synapse.kernel.T,
        )
    )


@pytest.mark.heavy
class TestFeedback(LayerContract):
    shape = (6,)
    make = staticmethod(lambda: feedback(sj.dense(5, neuron(), init=LOUD), sj.dense(6)))


@pytest.mark.heavy
class TestFeedbackOfANetworkByNeurons(LayerContract):
    shape, reports, outputs = (6,), 3, slice(1, 2)
    make = staticmethod(
        lambda: feedback(
            sj.serial(sj.dense(7, neuron(), init=LOUD), sj.dense(5, neuron(), init=LOUD)),
            sj.dense(6, neuron(), init=LOUD),
        )
    )


# Layers in sequence ------------------------------------------------------------------------------


def test_a_spike_crosses_all_layers_in_its_own_step() -> None:
    """Equation (3): layer n at t sees layer n - 1 at t."""
    one = LayerParams(sj.initializers.Weights(jnp.ones((1, 1)), jnp.zeros(1)), ())
    stack = [sj.dense(1, sj.lif(decay=0.5, threshold=1.0)) for _ in range(3)]
    xs = jnp.zeros((4, 1, 1)).at[1].set(1.0)
    _, outs = sj.apply(sj.serial(*stack), (one,) * 3, xs)
    np.testing.assert_array_equal(outs.ravel(), [0, 1, 0, 0])


def test_serial_draws_each_layer_by_its_own_key() -> None:
    params, _ = sj.serial(sj.dense(4), sj.dense(4), sj.dense(4)).init(a_key(), (4,))
    kernels = [p.synapse.kernel for p in params]
    assert (kernels[0] != kernels[1]).all()
    assert (kernels[1] != kernels[2]).all()


def test_serial_gives_each_dropout_its_own_mask() -> None:
    net = sj.serial(sj.dropout(0.5), sj.dropout(0.5))
    first, second = net.initial_state(((), ()), (2, 30), key=a_key())[0]
    assert (first != second).any()


@pytest.mark.parametrize("shape", [(), (3,), (0, 2, 6)])
def test_apply_needs_time_and_batch(shape: tuple[int, ...]) -> None:
    net = sj.dense(2)
    params, _ = net.init(a_key(), (6,))
    with pytest.raises(ValueError, match="time-major"):
        sj.apply(net, params, jnp.zeros(shape))


# Several modalities ------------------------------------------------------------------------------

PICTURE = sj.serial(sj.flatten(), sj.dense(3, neuron()), sj.dense(4, neuron()))
SOUND = sj.dense(4, neuron(sj.alif))
SHAPES = {"picture": (3, 2), "sound": (7,)}
SENSES = sj.parallel(picture=PICTURE, sound=SOUND)
HEADS = rearrange(lambda x: (x["picture"], x["picture"] + x["sound"], x["sound"]))
WHOLE = sj.serial(SENSES, HEADS, sj.parallel(*[sj.dense(2, sj.leaky_integrator(decay=0.5))] * 3))


@functools.cache
def senses():
    params, shapes = WHOLE.init(a_key(), SHAPES)
    assert shapes == ((2,),) * 3
    return params, {name: inputs(*shape) for name, shape in SHAPES.items()}


def by_hand(params, xs):
    """The same without combinators."""
    inner, _, heads = params
    picture = sj.apply(PICTURE, inner["picture"], xs["picture"])[1]
    sound = sj.apply(SOUND, inner["sound"], xs["sound"])[1]
    merged = picture, picture + sound, sound
    head = sj.dense(2, sj.leaky_integrator(decay=0.5))
    return tuple(sj.apply(head, p, x)[1] for p, x in zip(heads, merged, strict=True))


FORMS = {
    "unroll": WHOLE,
    "stepwise": sj.stepwise(WHOLE),
    "chunked": sj.chunked(WHOLE, 4),
    "truncated": sj.truncated(WHOLE, T),
}


@pytest.mark.parametrize(
    "form",
    ["unroll", *(pytest.param(f, marks=HEAVY) for f in ("chunked", "stepwise", "truncated"))],
)
def test_modalities_are_those_by_hand_with_gradients(form):
    params, xs = senses()

    def ours(params, xs):
        outs = sj.apply(FORMS[form], params, xs)[1]
        return total(outs), outs

    def wanted(params, xs):
        outs = by_hand(params, xs)
        return total(outs), outs

    found, known = (
        quick_jit(jax.value_and_grad(run, (0, 1), has_aux=True))(params, xs)
        for run in (ours, wanted)
    )
    assert_near(found, known, 1e-5)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(known[1]))


@quick_jit
def runs(params, xs, first):
    """Statistics, records, restarts, states to go on from, and stacks of parameters."""

    def cut(tree, begin, end):
        return jax.tree.map(lambda x: x[begin:end], tree)

    state, outs = sj.apply(WHOLE, params, cut(xs, 0, 4))
    return {
        "plain": sj.apply(WHOLE, params, xs),
        "tail": sj.apply(WHOLE, params, cut(xs, 4, T)),
        "late": sj.apply(WHOLE, params, cut(xs, 4, T), state=state),
        "first": outs,
        "spikes": sj.apply(SENSES, params[0], xs)[1],
        "stats": [sj.apply_with_stats(net, params, xs) for net in (WHOLE, FORMS["chunked"])],
        "record": sj.record(WHOLE, params, xs),
        "restarts": [sj.apply(net, params, xs, is_first=first) for net in FORMS.values()],
        "stack": jax.vmap(lambda s: sj.apply(WHOLE, jax.tree.map(lambda p: s * p, params), xs)[1])(
            jnp.array([2.0, 1.0])
        ),
    }


@pytest.mark.heavy
def test_statistics_records_restarts_states_and_stacks_of_modalities():
    params, xs = senses()
    first = jnp.zeros((T, B), bool).at[2, 1].set(True).at[4].set(True)
    found = runs(params, xs, first)
    state, outs = found["plain"]

    def cut(tree, begin, end):
        return jax.tree.map(lambda x: x[begin:end], tree)

    for *run, stats in found["stats"]:
        assert_near(tuple(run), (state, outs), 1e-6)
        assert [report.firing_rate.shape for report in stats] == [(3,), (4,), (4,)]
        for report, name in zip(stats[1:], ("picture", "sound"), strict=True):
            rates = found["spikes"][name].mean((0, 1))
            np.testing.assert_allclose(report.firing_rate, rates, atol=1e-6)
    states, again = found["record"]
    assert_near((jax.tree.map(lambda leaf: leaf[-1], states), again), (state, outs), 1e-6)
    for run in found["restarts"]:
        assert_near((run[0], cut(run[1], 4, T)), found["tail"], 1e-6)
        assert_near(cut(run[1], 0, 2), cut(outs, 0, 2), 1e-6)
    assert_near(found["late"], (state, cut(outs, 4, T)), 1e-6)
    assert_near(found["first"], cut(outs, 0, 4), 1e-6)
    assert_near(jax.tree.map(lambda y: y[1], found["stack"]), outs, 1e-5)


def test_residual_and_concatenate_take_trees():
    both = sj.parallel(a=sj.dense(3, neuron()), b=sj.dense(2))
    params, shape = sj.residual(both).init(a_key(), {"a": (3,), "b": (2,)})
    assert shape == {"a": (3,), "b": (2,)}
    xs = {"a": inputs(3), "b": inputs(2)}
    found, wanted = (sj.apply(net, params, xs)[1] for net in (sj.residual(both), both))
    assert_near(found, jax.tree.map(jnp.add, xs, wanted), 1e-6)
    join = rearrange(lambda x: x["a"][..., :2] * x["b"])
    net = sj.concatenate(join, sj.serial(both, join))
    params, shape = net.init(a_key(), {"a": (3,), "b": (2,)})
    assert shape == (4,)
    np.testing.assert_array_equal(sj.apply(net, params, xs)[1][..., :2], xs["a"][..., :2] * xs["b"])


def test_each_part_has_its_own_key():
    params, _ = sj.parallel(sj.dense(4), sj.dense(4)).init(a_key(), ((4,), (4,)))
    assert (params[0].synapse.kernel != params[1].synapse.kernel).all()
    net = sj.parallel(a=sj.dropout(0.5), b=sj.dropout(0.5))
    state, shapes = net.initial_state({"a": (), "b": ()}, {"a": (2, 30), "b": (2, 30)}, key=a_key())
    assert (state["a"] != state["b"]).any()
    assert shapes == {"a": (2, 30), "b": (2, 30)}


def test_a_table_of_modalities():
    text = layers.summary(WHOLE, SHAPES)
    assert "parallel(" in text
    assert "2, 2, 2" in text


@pytest.mark.parametrize(
    ("xs", "error", "message"),
    [
        ({"picture": inputs(3, 2)}, ValueError, r"a dict of inputs \['picture', 'sound'\], got"),
        (inputs(7), ValueError, r"a dict of inputs \['picture', 'sound'\], got"),
        (
            {"picture": inputs(3, 2), "sound": inputs(7)[:-1]},
            ValueError,
            r"one T and one B in all arrays, got \[6, 3\] in xs\['picture'\] and \[5, 3\] in xs",
        ),
        (
            {"picture": inputs(3, 2), "sound": "la"},
            TypeError,
            r"xs\['sound'\] must be an array, got str",
        ),
        ({}, TypeError, "xs must be an array, got dict"),
    ],
)
@pytest.mark.parametrize("form", ["unroll", "chunked", "stepwise"])
def test_inputs_of_another_form_are_refused(form, xs, error, message):
    with pytest.raises(error, match=message):
        sj.apply(FORMS[form], senses()[0], xs)


def test_parallel_refuses_by_name():
    with pytest.raises(TypeError, match="by place or by name, got both"):
        sj.parallel(sj.dense(2), sound=sj.dense(2))
    with pytest.raises(ValueError, match="parallel needs at least one layer, got none"):
        sj.parallel()
    with pytest.raises(TypeError, match="layers must be a Layer, such as dense"):
        sj.parallel(sound=sj.lif())
    with pytest.raises(ValueError, match="parallel needs a tuple of 2 inputs, got 3"):
        sj.parallel(sj.dense(2), sj.dense(2)).init(a_key(), ((4,),) * 3)
    with pytest.raises(ValueError, match="differ in the last axis alone"):
        sj.concatenate(SENSES, SENSES).init(a_key(), SHAPES)
    with pytest.raises(TypeError, match="function must be a function of a time slice"):
        rearrange(3)


# Tied weights ------------------------------------------------------------------------------------

AUTOENCODER = sj.serial(
    sj.dense(5, neuron(), init=LOUD), sj.dense(5, neuron(), init=LOUD), sj.dense(4)
)


def untied(params):
    """All parameters: layer 2 is layer 1 again, and the last kernel is the first, transposed."""
    first, _, last = params
    kernel = first.synapse.kernel.T
    return first, first, last._replace(synapse=last.synapse._replace(kernel=kernel))


SHARED = tied(
    AUTOENCODER,
    where=lambda p: (p[1], p[2].synapse.kernel),
    get=lambda p: (p[0], p[0].synapse.kernel.T),
)


def test_tied_weights_are_those_by_hand_with_gradients():
    xs = inputs(5)[..., :5]
    net = tied(
        sj.serial(sj.dense(5, neuron(), init=LOUD), *AUTOENCODER.layers[1:2], sj.dense(5)),
        where=lambda p: (p[1], p[2].synapse.kernel),
        get=lambda p: (p[0], p[0].synapse.kernel.T),
    )
    plain = sj.serial(sj.dense(5, neuron(), init=LOUD), *AUTOENCODER.layers[1:2], sj.dense(5))
    params, _ = net.init(a_key(), (5,))
    assert [leaf.shape for leaf in jax.tree.leaves(params)] == [(5, 5), (5,), (5,)]

    def wanted(params, xs):
        return total(sj.apply(plain, untied(params), xs)[1])

    known = quick_jit(jax.value_and_grad(wanted, (0, 1)))(params, xs)
    for wrap in (lambda net: net, lambda net: sj.chunked(net, 4)):
        run = quick_jit(
            jax.value_and_grad(lambda p, xs, net=wrap(net): total(sj.apply(net, p, xs)[1]), (0, 1))
        )
        assert_near(run(params, xs), known, 1e-5)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(known[1]))


@pytest.mark.parametrize(
    ("where", "get", "error", "message"),
    [
        (lambda p: p[0].neuron, lambda p: (), ValueError, "where must select parameters"),
        (
            lambda p: p[1].synapse.kernel,
            lambda p: p[2].synapse.kernel,
            ValueError,
            r"get must return what where selects, float32\[5, 5\], got float32\[5, 4\]",
        ),
        (
            lambda p: p[1].synapse.kernel,
            lambda p: p[0].synapse,
            ValueError,
            "get must return what where selects",
        ),
        (
            lambda p: p[1].synapse.kernel + 0.5,
            lambda p: p[0].synapse.kernel,
            TypeError,
            "where must select arrays of the params",
        ),
        ("kernel", lambda p: p, TypeError, "where must be a function of the params"),
        (lambda p: p[0], None, TypeError, "get must be a function of the params"),
    ],
)
def test_ties_are_checked(where, get, error, message):
    with pytest.raises(error, match=message):
        tied(AUTOENCODER, where=where, get=get).init(a_key(), (5,))


def test_tied_params_have_no_gradient_and_no_optimizer_state_of_their_own(tmp_path):
    net = tied(
        sj.serial(sj.dense(5, neuron()), sj.dense(5, neuron())),
        where=lambda p: p[1].synapse,
        get=lambda p: p[0].synapse,
    )
    params, _ = net.init(a_key(), (5,))
    assert len(jax.tree.leaves(params)) == 2
    assert repr(net).startswith("tied(serial(dense(5")
    sj.save(tmp_path / "tied.npz", net, params)
    again = sj.load(tmp_path / "tied.npz", net, params)
    assert_same(again, params)


# Feedback ----------------------------------------------------------------------------------------

LOOP = feedback(
    sj.serial(layers.spiking(layers.identity, neuron()), sj.dense(4, neuron(), init=LOUD)),
    sj.dense(5, init=LOUD),
)


def loop_by_hand(params, currents, first=None):
    """Plain JAX: the second layer's last spikes, through `back`, join the currents of the first."""
    spike = sj.gaussian(0.5)
    kernel, bias = params.layer[1].synapse
    back, offset = params.back.synapse

    def step(state, now):
        current, restart = now
        state = [jnp.where(restart[:, None], 0, part) for part in state]
        one, fired, two, out = state
        one = 0.5 * one * (1 - fired) + current + out @ back + offset[None]
        fired = spike(one - 0.25)
        two = 0.5 * two * (1 - out) + fired @ kernel + bias[None]
        out = spike(two - 0.25)
        return (one, fired, two, out), out

    rest = tuple(jnp.zeros((B, n)) for n in (5, 5, 4, 4))
    first = jnp.zeros((T, B), bool) if first is None else first
    return jax.lax.scan(step, rest, (currents, first))[1]


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.heavy
def test_feedback_is_the_loop_by_hand_with_gradients(restarts):
    currents = inputs(5)
    params, _ = LOOP.init(a_key(), (5,))
    assert isinstance(params, FeedbackParams)
    first = jnp.asarray(RNG.random((T, B)) < 0.3) if restarts else None
    value = jax.value_and_grad(lambda p, xs: total(loop_by_hand(p, xs, first)), (0, 1))
    known = quick_jit(value)(params, currents)
    for net in (LOOP, sj.chunked(LOOP, 4)):

        def loss(p, xs, net=net):
            return total(sj.apply(net, p, xs, is_first=first)[1])

        assert_near(quick_jit(jax.value_and_grad(loss, (0, 1)))(params, currents), known, 1e-5)
    grads = known[1]
    whole = grads[0].back.synapse.kernel
    assert np.abs(whole).max() > 0
    cut = sj.truncated(LOOP, 1)
    loss = jax.grad(lambda p: total(sj.apply(cut, p, currents, is_first=first)[1]))
    assert np.abs(quick_jit(loss)(params).back.synapse.kernel - whole).max() > 0


def test_feedback_is_one_step_late():
    one = LayerParams(sj.initializers.Weights(jnp.ones((1, 1))), ())
    half = LayerParams(sj.initializers.Weights(jnp.full((1, 1), 0.5)), ())
    net = feedback(sj.dense(1), sj.dense(1))
    xs = jnp.zeros((4, 1, 1)).at[0].set(1.0)
    outs = sj.apply(net, FeedbackParams(one, half), xs)[1]
    np.testing.assert_array_equal(outs.ravel(), [1, 0.5, 0.25, 0.125])


def test_feedback_of_trees():
    swap = rearrange(lambda x: (x[1], 0.5 * x[0]))
    net = feedback(sj.parallel(rearrange(jnp.tanh), rearrange(jnp.abs)), swap)
    params, shape = net.init(a_key(), ((2,), (2,)))
    assert shape == ((2,), (2,))
    xs = inputs(2), inputs(2)
    (_, outs), a, b = sj.apply(net, params, xs), 0, 0
    for t in range(T):
        a, b = jnp.tanh(xs[0][t] + b), jnp.abs(xs[1][t] + 0.5 * a)
        np.testing.assert_allclose((outs[0][t], outs[1][t]), (a, b), rtol=1e-6, atol=1e-6)


def test_feedback_refuses_by_name():
    with pytest.raises(ValueError, match=r"back to the shape \[5\] of the inputs, got \[3\]"):
        feedback(sj.dense(4), sj.dense(3)).init(a_key(), (5,))
    with pytest.raises(TypeError, match="back must be a Layer"):
        feedback(sj.dense(4), sj.lif())
    assert repr(feedback(sj.dense(4), sj.dense(3))) == "feedback(dense(4), back=dense(3))"
