"""Statistics of networks: structure, values that are not known, counts of operations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj

XS = jnp.ones((10, 4, 6))


def report(net, xs=XS):
    params, _ = net.init(jax.random.key(1), xs.shape[2:])
    return sj.apply_with_stats(net, params, xs)[2]


def by_hand(features):
    """A spiking layer as a user writes it, without `unroll_with_stats`."""
    return sj.dense(features, sj.lif())._replace(unroll_with_stats=None, constants=None)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: net,
        lambda net: sj.chunked(net, 4),
        lambda net: sj.truncated(net, 10),
        sj.stepwise,
        lambda net: sj.serial(net),
    ],
)
def test_a_layer_without_statistics_is_missing_in_its_place(wrap):
    first, missing, last = report(
        wrap(sj.serial(sj.dense(3, sj.lif()), by_hand(5), sj.flatten(), sj.dense(2, sj.lif())))
    )
    assert first.firing_rate.shape == (3,)
    assert last.firing_rate.shape == (2,)
    assert np.isfinite([first.operations, last.operations]).all()
    assert all(np.isnan(leaf).all() for leaf in missing)


def test_what_does_not_spike_reports_nothing():
    net = sj.serial(
        sj.dropout(0.5),
        sj.flatten(),
        sj.dense(4),
        sj.dense(4, sj.neurons.activation(jax.nn.relu)),
        sj.dense(4, sj.current_based(sj.leaky_integrator(decay=0.5), decay=0.5)),
        sj.dense(4, sj.recurrent(sj.leaky_integrator(decay=0.5))),
        sj.dense(
            4, sj.learnable_decay(lambda d: sj.leaky_integrator(decay=d), sj.neurons.per_layer(0.5))
        ),
    )
    assert report(net) == ()


def integrate_and_fire():
    def step(params, membrane, current):
        membrane = membrane + current
        spikes = sj.rectangular()(membrane - 1.0)
        return membrane * (1 - spikes), spikes

    def rest(shape, dtype):
        return jnp.zeros(shape, dtype)

    return sj.Neuron(lambda key, shape: (), rest, step, sj.scan(step))


@pytest.mark.parametrize("wrap", [lambda n: n, lambda n: sj.current_based(n, decay=0.5)])
def test_a_spiking_neuron_without_a_window(wrap):
    (found,) = report(sj.dense(8, wrap(integrate_and_fire()), init=ones))
    np.testing.assert_array_equal(found.firing_rate, np.ones(8))
    assert found.operations == 10 * 6 * 8
    assert np.isnan(found.in_window)


@sj.initializers.initializer
def ones(key, shape, dtype):
    return jnp.ones(shape, dtype)


def test_a_missing_layer_is_nan_in_an_evaluation():
    net = sj.serial(sj.dense(3, sj.lif()), by_hand(5), sj.dense(2, sj.lif()))
    params, _ = net.init(jax.random.key(1), (6,))
    pipeline = sj.Pipeline(
        lambda key, x: sj.constant(x, 2), net, sj.rate, sj.half_squared_error, optax.sgd(0.1)
    )
    images, labels = np.ones((4, 6), np.float32), np.array([0, 1, 0, 1])
    found = sj.evaluate(pipeline, params, jax.random.key(0), images, labels)
    for name in ("firing_rate", "silent_fraction", "in_window", "operations"):
        np.testing.assert_array_equal(np.isnan(getattr(found, name)), [False, True, False])


# Operations -------------------------------------------------------------------------------------

SIGN = jnp.where(jnp.arange(6) < 3, 1.0, -1.0)[:, None]
MASK = (jnp.arange(48).reshape(6, 8) % 3 > 0).astype(jnp.float32)


def dale(kernel):
    return SIGN * jnp.abs(kernel)


def normed(kernel):
    return kernel / jnp.sqrt(jnp.sum(kernel**2, axis=0, keepdims=True))


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, 480),
        ({"matmul": lambda x, kernel: x @ dale(kernel)}, 480),
        ({"matmul": lambda x, kernel: jnp.tanh(x @ kernel)}, 480),
        ({"constraint": dale}, 480),
        ({"constraint": normed}, 480),
        ({"constraint": lambda kernel: MASK * kernel}, 10 * 32),
        ({"constraint": lambda kernel: 0 * kernel}, 0),
        ({"inputs": sj.layers.static_input}, 48),  # applied once, its current held
    ],
)
def test_operations_of_a_dense_layer(more, wanted):
    assert report(sj.dense(8, sj.lif(), **more))[0].operations == wanted


def test_operations_of_a_masked_convolution():
    images = jnp.ones((2, 1, 4, 4, 1))
    mask = jnp.zeros((3, 3, 1, 2)).at[1, 1].set(1.0)  # the center alone: one tap a feature
    whole = report(sj.conv(2, 3, sj.lif(), padding="same"), images)[0].operations
    masked = sj.conv(2, 3, sj.lif(), padding="same", constraint=lambda k: k * mask)
    assert whole == 2 * 2 * (4 * 9 + 8 * 6 + 4 * 4)
    assert report(masked, images)[0].operations == 2 * 2 * 16


def test_an_unknown_fan_out_is_nan():
    synapse = sj.Synapse(lambda key, shape: ((), shape), lambda params, x: jnp.sin(x))
    (found,) = report(sj.layers.spiking(synapse, sj.lif()))
    assert np.isnan(found.operations)
    assert np.isfinite(found.in_window)


# Constraints ------------------------------------------------------------------------------------


def test_a_constraint_acts_in_both_schedules_and_passes_gradients():
    net = sj.dense(8, sj.lif(), constraint=dale)
    params, _ = net.init(jax.random.key(0), (6,))
    by_hand = params._replace(synapse=params.synapse._replace(kernel=dale(params.synapse.kernel)))
    plain = sj.dense(8, sj.lif())

    def total(layer, p):
        return jnp.sum(sj.apply(layer, p, XS)[1])

    wanted = total(plain, by_hand)
    assert total(net, params) == total(sj.stepwise(net), params) == wanted
    got = jax.grad(lambda p: total(net, p))(params).synapse.kernel
    inner = jax.grad(lambda p: total(plain, p))(by_hand).synapse.kernel
    np.testing.assert_allclose(got, inner * SIGN * jnp.sign(params.synapse.kernel), rtol=1e-6)


@pytest.mark.parametrize(
    ("constraint", "error", "message"),
    [
        ("abs", TypeError, "constraint must be a function from kernel to kernel, got 'abs'"),
        (lambda k: k[:2], ValueError, r"keep the kernel's shape \[6, 8\], got \[2, 8\]"),
        (jnp.sum, ValueError, r"keep the kernel's shape \[6, 8\], got \[\]"),
    ],
)
def test_constraints_that_are_none(constraint, error, message):
    with pytest.raises(error, match=message):
        sj.dense(8, constraint=constraint).init(jax.random.key(0), (6,))
