"""Statistics of networks: structure, values that are not known, counts of operations."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj
from tests import reference as ref
from tests.contracts import dyadic, like, quick_jit

XS = jnp.ones((10, 4, 6))


def report(net, xs=XS):
    @quick_jit
    def run(xs):
        params, _ = net.init(jax.random.key(1), xs.shape[2:])
        return sj.apply_with_stats(net, params, xs)[2]

    return run(xs)


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
    found = quick_jit(functools.partial(sj.evaluate, pipeline))(
        params, jax.random.key(0), images, labels
    )
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

    @functools.partial(jax.jit, static_argnums=0)
    @functools.partial(jax.value_and_grad, argnums=1)
    def total(layer, params):
        return jnp.sum(sj.apply(layer, params, XS)[1])

    wanted, inner = total(plain, by_hand)
    value, got = total(net, params)
    assert value == total(sj.stepwise(net), params)[0] == wanted
    got, inner = got.synapse.kernel, inner.synapse.kernel
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


def neuron(threshold: float = 0.25, **kwargs: Any) -> sj.Neuron:
    """Dyadic constants; a wide curve, so that no gradient is 0 by chance."""
    return sj.lif(decay=0.5, threshold=threshold, surrogate=sj.gaussian(0.5), **kwargs)


def a_key() -> jax.Array:
    return jax.random.key(7)


def padded(x: np.ndarray, kernel: tuple[int, int]) -> np.ndarray:
    """Zeros around images [B, h, w, c], so that a valid convolution keeps their size."""
    pads = [((k - 1) // 2, k - 1 - (k - 1) // 2) for k in kernel]
    return np.pad(x, ((0, 0), *pads, (0, 0)))


def conv_fan_out(
    shape: tuple[int, int, int], kernel: tuple[int, int], features: int, padding: str
) -> np.ndarray:
    """Synapses that each pixel drives, counted one by one."""
    count = np.zeros(shape)
    tops = [(k - 1) // 2 if padding == "same" else 0 for k in kernel]
    out = [n if padding == "same" else n - k + 1 for n, k in zip(shape[:2], kernel, strict=True)]
    for r in range(out[0]):
        for c in range(out[1]):
            for i in range(kernel[0]):
                for j in range(kernel[1]):
                    row, column = r + i - tops[0], c + j - tops[1]
                    if 0 <= row < shape[0] and 0 <= column < shape[1]:
                        count[row, column] += features
    return count


@pytest.mark.parametrize(("padding", "kernel"), [("valid", (3, 3)), ("same", (2, 4))])
def test_activity_counts_spikes_window_and_operations(
    padding: str, kernel: tuple[int, int]
) -> None:
    """A convolution, a pool and a dense layer against loops over all of it."""
    rng = np.random.default_rng(3)
    surrogate = sj.matched(sj.gaussian, 0.375)
    lif = sj.lif(decay=0.5, threshold=0.25, surrogate=surrogate)
    net = sj.serial(
        sj.conv(3, kernel, lif, padding=padding),
        sj.avg_pool(2),
        sj.flatten(),
        sj.dense(4, lif),
    )
    params = jax.tree.map(lambda w: jnp.round(256 * w) / 256, net.init(a_key(), (5, 6, 2))[0])
    xs = rng.integers(0, 2, (4, 3, 5, 6, 2)).astype(np.float32)
    run = quick_jit(lambda params, xs: sj.apply_with_stats(net, params, xs))
    _, _, (first, second) = run(params, jnp.asarray(xs))

    conv, dense = (
        jax.tree.map(np.float64, params[n].synapse, is_leaf=lambda x: x is None) for n in (0, 3)
    )
    shared = {"curve": "h4", "width": 1.0, "gate": "linear", "tau": 0.5, "vth": 0.25}
    images = np.stack([padded(x, kernel) if padding == "same" else x for x in xs])
    (path,) = ref.forward([ref.Layer(conv.kernel, conv.bias, **shared)], images)
    spikes = path.o[1:]
    rows, columns = (n // 2 for n in spikes.shape[2:4])
    cut = spikes[:, :, : 2 * rows, : 2 * columns]
    pooled = cut.reshape(4, 3, rows, 2, columns, 2, 3).mean((3, 5)).reshape(4, 3, -1)
    (later,) = ref.forward([ref.Layer(dense.kernel, dense.bias, **shared)], pooled)

    drives = conv_fan_out((5, 6, 2), kernel, 3, padding)
    for report, p, operations in (
        (first, path, ((xs != 0) * drives).sum() / 3),
        (second, later, (pooled != 0).sum() * 4 / 3),
    ):
        np.testing.assert_allclose(report.firing_rate, p.o[1:].mean((0, 1)), rtol=1e-6)
        inside = (np.abs(p.u[1:] - 0.25) < 0.375 / 2).mean()
        np.testing.assert_allclose(report.in_window, inside, rtol=1e-6)
        np.testing.assert_allclose(report.operations, operations, rtol=1e-6)
        assert 0 < inside < 1
        assert 0 < p.o[1:].mean() < 1


def test_activity_of_recurrent_neurons() -> None:
    """Their window looks at the inner membrane; recurrent synapses are not counted."""
    net = sj.dense(5, sj.recurrent(neuron()))
    params = jax.tree.map(lambda w: jnp.round(256 * w) / 256, net.init(a_key(), (4,))[0])
    xs = like(dyadic(np.random.default_rng(0), 0, 1, (4, 3, 4)), jnp.float32).at[0].set(0)
    _, outs, (report,) = quick_jit(lambda xs: sj.apply_with_stats(net, params, xs))(xs)
    state, inside, step = net.initial_state(params, (3, 4))[0], [], quick_jit(net.step)
    for x in xs:
        state, _ = step(params, state, x)
        half = 2 * np.sqrt(2 * np.log(2)) * np.sqrt(0.5) / 2  # of gaussian(0.5)
        inside.append(np.abs(state.neuron.membrane - 0.25) < half)
    np.testing.assert_allclose(report.in_window, np.mean(inside), rtol=1e-6)
    np.testing.assert_allclose(report.firing_rate, outs.mean((0, 1)), rtol=1e-6)
    np.testing.assert_allclose(report.operations, (np.asarray(xs) != 0).sum() * 5 / 3, rtol=1e-6)


@pytest.mark.parametrize(("features", "dtype"), [(3, jnp.float32), (257, jnp.bfloat16)])
def test_fan_out_is_exact(features: int, dtype: Any) -> None:
    """257 has nine bits, bfloat16 eight."""

    def apply(weights: sj.initializers.Weights, x: jax.Array) -> jax.Array:
        return x.astype(weights.kernel.dtype) @ weights.kernel

    weights = sj.initializers.Weights(jnp.zeros((2, features), dtype))
    counted = sj.layers.linear_fan_out(apply)(weights, (2,))
    np.testing.assert_array_equal(counted, [features, features])


def test_activity_of_layers_with_nothing_to_tell() -> None:
    net = sj.serial(sj.flatten(), sj.dense(3, sj.leaky_integrator(decay=0.5)))
    params, _ = net.init(a_key(), (2, 2))
    assert sj.apply_with_stats(net, params, jnp.ones((2, 1, 2, 2)))[2] == ()


def test_still_inputs_cost_their_operations_once():
    xs = sj.constant(jnp.ones((2, 6)), 4)
    for inputs, times in ((sj.layers.static_input, 1), (sj.layers.varying_input, 4)):
        layer = sj.dense(3, sj.lif(), inputs=inputs)
        params, _ = layer.init(jax.random.key(0), (6,))
        (report,) = quick_jit(functools.partial(sj.apply_with_stats, layer))(params, xs)[2]
        assert float(report.operations) == times * 6 * 3
