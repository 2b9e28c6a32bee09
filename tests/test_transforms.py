"""Every function transformation of JAX works on networks and training steps.

Two programs are compared in float64, where no reordered sum flips a spike.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from stbp_jax import (
    Pipeline,
    TrainConfig,
    TrainState,
    alif,
    apply,
    avg_pool,
    bernoulli,
    conv,
    cross_entropy,
    current_based,
    dense,
    dropout,
    exponential_reset,
    flatten,
    gaussian,
    half_squared_error,
    leaky_integrator,
    lif,
    make_train,
    peak_membrane,
    polynomial,
    rate,
    recurrent,
    serial,
    stepwise,
)
from stbp_jax.neurons import lif_scan
from stbp_jax.training import make_train_step

KEY = jax.random.key(5)
T, B = 5, 6
LABELS = np.arange(B, dtype=np.int32) % 3

NETWORKS = {
    "dense": serial(
        flatten(),
        dense(12, lif(threshold=0.2, surrogate=gaussian(0.3))),
        dense(3, lif(threshold=0.2, surrogate=gaussian(0.3))),
    ),
    "conv": serial(
        conv(4, 3, lif(threshold=0.1, surrogate=polynomial(1.0), reset=exponential_reset)),
        avg_pool(2),
        dropout(0.25),
        flatten(),
        dense(8, recurrent(lif(threshold=0.1, unroll=lif_scan))),
        dense(3, leaky_integrator(decay=0.9)),
    ),
}
SHAPE = (6, 6, 1)
networks = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def one(light):
    """All networks, of which one is light."""
    marks = {name: [] if name == light else pytest.mark.heavy for name in NETWORKS}
    cases = [pytest.param(net, marks=marks[name]) for name, net in NETWORKS.items()]
    return pytest.mark.parametrize("network", cases, ids=NETWORKS)


def inputs():
    spikes = np.random.default_rng(0).random((T, B, *SHAPE)) < 0.5
    return spikes.astype(jnp.result_type(float))


@functools.partial(jax.jit, static_argnums=0)  # many small programs become one
def initial(network):
    return network.init(KEY, SHAPE)[0]


def per_example(network, params, xs, labels):
    return half_squared_error(rate(apply(network, params, xs)[1]), labels)


def mean_loss(network, params, xs, labels):
    return per_example(network, params, xs, labels).mean()


def assert_close(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-12)


def assert_lively(grads):
    """All leaves get a gradient: an equality of zeros shows nothing."""
    for leaf in jax.tree.leaves(grads):
        assert np.any(leaf)


# Gradients under transformations ----------------------------------------------------------------


@one("dense")
def test_per_example_gradients_sum_to_the_batch_gradient(network, x64):
    def of_one(params, x, label):
        return per_example(network, params, x[:, None], label[None])[0]

    @jax.jit
    def both(params, xs, labels):
        whole = jax.grad(functools.partial(mean_loss, network))(params, xs, labels)
        rows = jax.vmap(jax.grad(of_one), (None, 1, 0))(params, xs, labels)
        return whole, jax.tree.map(lambda g: g.mean(axis=0), rows)

    whole, summed = both(initial(network), inputs(), LABELS)
    assert_lively(whole)
    assert_close(summed, whole)


@one("conv")
def test_checkpointed_gradients_are_equal(network, x64):
    def rematerialized(params, xs):
        outs = jax.checkpoint(lambda p, x: apply(network, p, x)[1])(params, xs)
        return half_squared_error(rate(outs), LABELS).mean()

    @jax.jit
    def both(params, xs):
        plain = jax.grad(functools.partial(mean_loss, network))(params, xs, LABELS)
        return plain, jax.grad(rematerialized)(params, xs)

    plain, again = both(initial(network), inputs())
    assert_lively(plain)
    assert_close(again, plain)


@one("conv")
def test_a_batch_over_two_devices(network, x64):
    # The default way to use several devices: shard the batch, leave the rest to the compiler.
    devices = jax.devices()
    assert len(devices) >= 2, "conftest asks for two host devices"
    mesh = Mesh(np.array(devices[:2]), ("batch",), axis_types=(AxisType.Auto,))

    def place(x, *spec):
        return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))

    params = initial(network)
    run = jax.jit(jax.value_and_grad(functools.partial(mean_loss, network)))
    lone = run(params, inputs(), LABELS)
    assert_lively(lone[1])
    shared = run(
        jax.tree.map(place, params), place(inputs(), None, "batch"), place(LABELS, "batch")
    )
    assert shared[0].sharding.device_set == set(devices[:2])
    assert_close(jax.device_get(shared), jax.device_get(lone))


# Training steps ---------------------------------------------------------------------------------


def start(network, optimizer=optax.adam(1e-2)):
    """A state, and a step that keeps it: the key draws both input and dropout."""
    params = initial(network)

    def loss_fn(params, key, batch):
        images, labels = batch
        encode, layers = jax.random.split(key)
        xs = bernoulli(encode, images, T)
        _, outs = apply(network, params, xs, key=layers)
        return half_squared_error(rate(outs), labels).mean(), None

    state = TrainState(params, optimizer.init(params), jax.random.key(1), jnp.int32(0))
    return state, make_train_step(loss_fn, optimizer)


def batch():
    return np.random.default_rng(1).random((B, *SHAPE), np.float32), LABELS


@one("dense")
def test_a_training_step_under_scan_cond_and_donation(network, x64):
    state, step = start(network)

    @jax.jit
    def others(state, data):
        twice = jax.lax.scan(lambda s, _: step(s, data), state, length=2)
        maybe = [
            jax.lax.cond(go, lambda s: step(s, data)[0], lambda s: s, state)
            for go in (data[1][0] == LABELS[0], data[1][0] != LABELS[0])  # unknown to the compiler
        ]
        return twice, maybe

    (scanned, (losses, _)), (taken, left) = others(state, batch())
    before = jax.tree.map(np.array, state.params)  # copies: a view would keep the buffers
    old = jax.tree.leaves(state.params)
    donating = jax.jit(step, donate_argnums=0)
    first, (loss, _) = donating(state, batch())
    assert all(leaf.is_deleted() for leaf in old)
    assert int(first.step) == 1
    assert_close(taken.params, first.params)
    assert_close(left.params, before)
    second, (later, _) = donating(first, batch())
    assert_close(scanned.params, second.params)
    assert_close(losses, jnp.stack([loss, later]))
    assert later != loss


@one("conv")
@pytest.mark.parametrize(
    "platform", [*(pytest.param(p, marks=pytest.mark.heavy) for p in ("cpu", "cuda")), "tpu"]
)
def test_training_lowers_for_other_devices(network, platform):
    # Lowering needs no such device. It finds what has no translation there.
    state, step = start(network)
    lowered = jax.jit(step).trace(state, batch()).lower(lowering_platforms=(platform,))
    assert "func.func public @main" in lowered.as_text()

    def build(hparams, num_updates):
        return Pipeline(
            encode=lambda key, images: bernoulli(key, images, T),
            network=network,
            readout=peak_membrane,
            loss=cross_entropy,
            optimizer=optax.adam(hparams["learning_rate"]),
        )

    train = make_train(build, TrainConfig(epochs=2, batch_size=4, eval_batch_size=4))
    hparams = {"learning_rate": np.float32(1e-3)}
    traced = jax.jit(train).trace(KEY, hparams, batch(), batch())
    lowered = traced.lower(lowering_platforms=(platform,))
    assert "func.func public @main" in lowered.as_text()


# Types ------------------------------------------------------------------------------------------


def floats(tree):
    """The names of all float types in a tree."""
    leaves = jax.tree.leaves(tree)
    return {str(x.dtype) for x in leaves if jnp.issubdtype(x.dtype, jnp.floating)}


@networks
def test_float64_throughout(network, x64):
    state, step = start(network)
    assert floats(state) == {"float64"}
    rest, _ = network.initial_state(state.params, (B, *SHAPE), key=KEY)
    assert floats(rest) == {"float64"}
    last, outs = jax.eval_shape(lambda p: apply(network, p, inputs(), key=KEY), state.params)
    assert floats((last, outs)) == {"float64"}
    after, (loss, _) = jax.eval_shape(step, state, batch())
    assert floats((after, loss)) == {"float64"}


@one("conv")
@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.heavy)])
def test_half_precision_throughout(network, dtype):
    params = initial(network)
    params = jax.tree.map(lambda x: x.astype(dtype), params)
    # The input's type does not widen what follows: the weights' type rules.
    xs = inputs()
    assert xs.dtype == jnp.float32

    for schedule in (network, stepwise(network)):
        state, outs = jax.eval_shape(lambda p, n=schedule: apply(n, p, xs), params)
        assert floats((state, outs)) == {dtype}
        _, outs = jax.eval_shape(lambda p, n=schedule: apply(n, p, xs, key=KEY), params)
        assert floats(outs) == {dtype}
    grads = jax.jit(jax.grad(lambda p: mean_loss(network, p, xs, LABELS)))(params)
    assert floats(grads) == {dtype}
    for leaf in jax.tree.leaves(grads):
        assert np.all(np.isfinite(np.asarray(leaf, np.float32)))


@pytest.mark.parametrize(
    "neuron",
    [
        lif(),
        lif(unroll=lif_scan),
        alif(),
        current_based(lif(), decay=0.5),
        leaky_integrator(decay=0.5),
    ],
    ids=["lif", "lif_scan", "alif", "current_based", "leaky"],
)
def test_currents_may_be_narrower_than_the_membrane(neuron):
    @functools.partial(jax.jit, static_argnums=1)
    @jax.grad
    def slopes(weights, dtype):
        currents = weights.astype(dtype) * jnp.asarray(0.5, dtype)
        rest = neuron.initial_state((B, 3), jnp.float32)
        return jnp.sum(neuron.unroll((), rest, currents)[1])

    weights = jnp.full((T, B, 3), 0.75)
    wide, narrow = (slopes(weights, dtype) for dtype in ("float32", "bfloat16"))
    assert np.all(wide > 0)
    np.testing.assert_allclose(narrow, wide, rtol=0.02)


@pytest.mark.parametrize("neuron", [lif(), alif()], ids=["lif", "alif"])
def test_fast_unrolls_take_wider_currents(neuron):
    @functools.partial(jax.jit, static_argnums=1)
    @jax.grad
    def slopes(currents, dtype):
        outs = neuron.unroll((), neuron.initial_state((B, 3), dtype), currents)[1]
        return jnp.sum(outs.astype(jnp.float32))

    currents = jnp.full((T, B, 3), 0.375, jnp.float32)
    wanted, got = (slopes(currents, dtype) for dtype in ("float32", "bfloat16"))
    assert np.all(wanted > 0)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, wanted, rtol=0.05)
