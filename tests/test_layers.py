"""Layers and networks: the contract, and their numbers against NumPy loops."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax.layers import LayerParams
from tests import reference as ref
from tests.contracts import LayerContract, dyadic, like, quick_jit


def neuron(threshold: float = 0.25, **kwargs: Any) -> sj.Neuron:
    """Dyadic constants; a wide curve, so that no gradient is 0 by chance."""
    return sj.lif(decay=0.5, threshold=threshold, surrogate=sj.gaussian(0.5), **kwargs)


LOUD = sj.initializers.fan_in_normalized(
    gain=2.0
)  # and no bias: units are neither silent nor always firing


def a_key() -> jax.Array:
    return jax.random.key(7)


class TestDense(LayerContract):
    shape = (6,)
    make = staticmethod(lambda: sj.dense(5, neuron()))


class TestDenseBySplitProduct(LayerContract):
    shape = (6,)
    make = staticmethod(lambda: sj.dense(5, neuron(), matmul=sj.layers.split_bfloat16_matmul))


class TestDenseInBfloat16(LayerContract):
    shape = (6,)
    make = staticmethod(lambda: sj.dense(5, neuron(), matmul=sj.layers.bfloat16_matmul))


class TestLinear(LayerContract):
    shape = (6,)
    remembers, spikes, reports = False, False, 0
    make = staticmethod(lambda: sj.dense(5))


class TestLeakyReadoutWithoutBias(LayerContract):
    shape = (6,)
    spikes, reports = False, 0
    make = staticmethod(
        lambda: sj.dense(
            5,
            sj.leaky_integrator(decay=0.5),
            init=sj.initializers.initializer(jax.nn.initializers.he_uniform()),
        )
    )


class TestRecurrent(LayerContract):
    shape = (6,)
    make = staticmethod(lambda: sj.dense(5, sj.recurrent(neuron()), init=LOUD))


class TestConvValid(LayerContract):
    shape = (4, 3, 2)
    make = staticmethod(lambda: sj.conv(3, (3, 2), neuron()))


class TestConvSame(LayerContract):
    shape = (4, 3, 2)
    make = staticmethod(lambda: sj.conv(2, (3, 2), neuron(), padding="same", init=LOUD))


class TestConvLinear(LayerContract):
    shape = (4, 3, 2)
    remembers, spikes, reports = False, False, 0
    make = staticmethod(lambda: sj.conv(3, 2))


class TestAvgPool(LayerContract):
    shape = (5, 4, 3)
    remembers, spikes, reports = False, False, 0
    make = staticmethod(lambda: sj.avg_pool(2))


class TestFlatten(LayerContract):
    shape = (4, 3, 2)
    remembers, spikes, reports = False, False, 0
    make = staticmethod(sj.flatten)


class TestDropout(LayerContract):
    shape = (12,)
    remembers, spikes, reports = False, False, 0
    key = staticmethod(a_key)
    make = staticmethod(lambda: sj.dropout(0.5))


class TestDropoutWithoutKey(LayerContract):
    shape = (4, 3)
    remembers, spikes, reports = False, False, 0
    make = staticmethod(lambda: sj.dropout(0.5))


class TestChunked(LayerContract):
    """Four steps in chunks of three: a whole one and a rest."""

    shape = (6,)
    make = staticmethod(lambda: sj.chunked(sj.dense(5, neuron()), 3))


class TestChunkedNetworkThatKeepsMembranes(LayerContract):
    shape, reports = (6,), 2
    make = staticmethod(
        lambda: sj.chunked(
            sj.serial(sj.dense(7, neuron()), sj.dense(5, neuron(), init=LOUD)),
            2,
            policy=sj.neurons.keep_membranes,
        )
    )


class TestChunkLongerThanTheSequence(LayerContract):
    shape = (6,)
    make = staticmethod(lambda: sj.chunked(sj.dense(5, sj.recurrent(neuron()), init=LOUD), 9))


class TestNetwork(LayerContract):
    """All kinds of layers in one network, a nested network included."""

    shape = (6, 5, 1)
    reports = 3
    key = staticmethod(a_key)
    make = staticmethod(
        lambda: sj.serial(
            sj.conv(3, (3, 2), neuron(), padding="same", init=LOUD),
            sj.avg_pool(2),
            sj.serial(
                sj.flatten(),
                sj.dropout(0.5),
                sj.dense(6, sj.recurrent(neuron(), init=LOUD), init=LOUD),
            ),
            sj.dense(4, neuron(), init=LOUD),
        )
    )


# Values -------------------------------------------------------------------------------------------


def padded(x: np.ndarray, kernel: tuple[int, int]) -> np.ndarray:
    """Zeros around images [B, h, w, c], so that a valid convolution keeps their size."""
    pads = [((k - 1) // 2, k - 1 - (k - 1) // 2) for k in kernel]
    return np.pad(x, ((0, 0), *pads, (0, 0)))


@pytest.mark.parametrize(
    ("padding", "kernel"), [("valid", (2, 4)), ("same", (3, 3)), ("same", (2, 4)), ("same", (5, 1))]
)
def test_conv_is_a_cross_correlation(padding: str, kernel: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x, w, b = (dyadic(rng, -1, 1, s) for s in ((3, 2, 5, 6, 2), (*kernel, 2, 3), (3,)))
    layer = sj.conv(3, kernel, padding=padding)
    params = LayerParams(like(sj.initializers.Weights(w, b), jnp.float32), ())
    _, ys = layer.unroll(params, (), like(x, jnp.float32))
    flat = x.reshape(-1, 5, 6, 2)
    wanted = ref.convolve(padded(flat, kernel) if padding == "same" else flat, w) + b
    np.testing.assert_array_equal(ys.reshape(wanted.shape), wanted)
    assert layer.init(a_key(), (5, 6, 2))[1] == wanted.shape[1:]


def test_avg_pool_is_a_mean_over_tiles() -> None:
    x = np.random.default_rng(0).integers(0, 2, (2, 1, 5, 7, 2)).astype(np.float32)
    _, ys = sj.avg_pool(2).unroll(LayerParams((), ()), (), jnp.asarray(x))
    assert ys.shape == (2, 1, 2, 3, 2)
    for r in range(2):
        for c in range(3):
            tile = x[:, :, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean((2, 3))
            np.testing.assert_array_equal(ys[:, :, r, c], tile)


def test_flatten_joins_rows_first() -> None:
    x = jnp.arange(24.0).reshape(1, 2, 2, 3, 2)
    _, ys = sj.flatten().unroll(LayerParams((), ()), (), x)
    np.testing.assert_array_equal(ys, np.arange(24.0).reshape(1, 2, 12))


def test_avg_pool_keeps_the_float_type() -> None:
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        out = jax.eval_shape(
            lambda x: sj.avg_pool(2).unroll(LayerParams((), ()), (), x)[1],
            jax.ShapeDtypeStruct((1, 1, 2, 2, 1), dtype),
        )
        assert out.dtype == dtype


def test_avg_pool_of_bytes_does_not_round() -> None:
    """A first layer on uint8 frames: bfloat16 cannot hold a mean of bytes."""
    x = jnp.array([254, 255, 255, 255], jnp.uint8).reshape(1, 1, 2, 2, 1)
    _, ys = sj.avg_pool(2).unroll(LayerParams((), ()), (), x)
    assert float(ys[0, 0, 0, 0, 0]) == 254.75


# Dropout ------------------------------------------------------------------------------------------


def test_dropout_draws_one_mask_for_each_sequence() -> None:
    layer, xs = sj.dropout(0.3), jnp.ones((3, 40, 50))
    _, ys = sj.apply(layer, (), xs, key=a_key())
    assert (ys == ys[:1]).all()  # the same at every step
    np.testing.assert_allclose(np.unique(ys), [0, 1 / 0.7], rtol=1e-6)
    silent = np.asarray(ys[0] == 0)
    assert abs(silent.mean() - 0.3) < 0.05
    assert (silent[0] != silent[1]).any()  # another for each example
    _, others = sj.apply(layer, (), xs, key=jax.random.key(8))
    assert (others != ys).any()


def test_dropout_without_a_key_is_the_identity() -> None:
    xs = jnp.arange(12.0).reshape(2, 2, 3)
    _, ys = sj.apply(sj.dropout(0.9), (), xs)
    np.testing.assert_array_equal(ys, xs)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.bool_])
def test_dropout_scales_integer_spikes_too(dtype: Any) -> None:
    """Events are uint8: a kept event becomes 1 / (1 - rate), not 1."""
    layer, xs = sj.dropout(0.3), jnp.ones((2, 2, 8))
    _, wanted = sj.apply(layer, (), xs, key=a_key())
    _, ys = sj.apply(layer, (), xs.astype(dtype), key=a_key())
    np.testing.assert_allclose(ys, wanted)


def test_dropout_rate_may_be_traced() -> None:
    def run(rate: Any) -> Any:
        return sj.apply(sj.dropout(rate), (), jnp.ones((1, 1, 400)), key=a_key())[1]

    outs = jax.jit(jax.vmap(run))(jnp.array([0.0, 0.25, 0.75]))
    np.testing.assert_allclose((outs == 0).mean((1, 2, 3)), [0, 0.25, 0.75], atol=0.08)
    np.testing.assert_allclose(outs.max((1, 2, 3)), [1, 4 / 3, 4])


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_dropout_rates_out_of_range(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        sj.dropout(rate)


# Networks -----------------------------------------------------------------------------------------


def test_a_spike_crosses_all_layers_in_its_own_step() -> None:
    """Equation (3): layer n at t sees layer n - 1 at t."""
    one = LayerParams(sj.initializers.Weights(jnp.ones((1, 1)), jnp.zeros(1)), ())
    layers = [sj.dense(1, sj.lif(decay=0.5, threshold=1.0)) for _ in range(3)]
    xs = jnp.zeros((4, 1, 1)).at[1].set(1.0)
    _, outs = sj.apply(sj.serial(*layers), (one,) * 3, xs)
    np.testing.assert_array_equal(outs.ravel(), [0, 1, 0, 0])


def test_serial_draws_each_layer_anew() -> None:
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


# Statistics ---------------------------------------------------------------------------------------


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


# Inputs that do not change ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda **kw: sj.serial(sj.flatten(), sj.dense(6, sj.lif(), **kw)),
        lambda **kw: sj.conv(3, 3, sj.lif(), **kw),
        lambda **kw: sj.conv(3, 3, **kw),
    ],
)
def test_still_inputs_are_the_same_run(make):
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 5, 5, 1)) / 256, jnp.float32)
    xs = sj.constant(images, 4)
    params, _ = make().init(jax.random.key(0), (5, 5, 1))
    params = jax.tree.map(lambda p: jnp.round(p * 256) / 256, params)  # dyadic: sums are exact

    def loss(params, layer):
        outs = sj.apply(layer, params, xs)[1]
        return jnp.sum(outs * jnp.arange(1, 5).reshape((4,) + (1,) * (outs.ndim - 1))), outs

    @quick_jit
    def run(params):
        grad, static_input = (
            jax.value_and_grad(loss, has_aux=True),
            make(inputs=sj.layers.static_input),
        )
        both = [grad(params, layer) for layer in (static_input, make())]
        return *both, sj.apply(sj.stepwise(static_input), params, xs)[1]

    ((_, outs), grads), ((_, wanted), wanted_grads), stepwise = run(params)
    np.testing.assert_array_equal(outs, wanted)
    chex.assert_trees_all_close(grads, wanted_grads, rtol=1e-5)
    np.testing.assert_array_equal(stepwise, wanted)


def test_still_inputs_cost_their_operations_once():
    xs = sj.constant(jnp.ones((2, 6)), 4)
    for inputs, times in ((sj.layers.static_input, 1), (sj.layers.varying_input, 4)):
        layer = sj.dense(3, sj.lif(), inputs=inputs)
        params, _ = layer.init(jax.random.key(0), (6,))
        (report,) = quick_jit(functools.partial(sj.apply_with_stats, layer))(params, xs)[2]
        assert float(report.operations) == times * 6 * 3
