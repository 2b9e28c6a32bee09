"""Metrics against sums written by hand; operations against counting loops."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stbp_jax import (
    apply,
    apply_with_stats,
    avg_pool,
    conv,
    dense,
    flatten,
    lif,
    serial,
)
from stbp_jax.metrics import accuracy, firing_rate, silent_fraction, synaptic_operations

T, B, C = 5, 4, 3


RNG = np.random.default_rng(0)


def test_accuracy_counts_and_breaks_ties_downwards():
    scores = np.array([[0.1, 0.9, 0.0], [0.5, 0.5, 0.2], [0.5, 0.5, 0.2], [0, 0, 0]], np.float32)
    assert float(accuracy(scores, np.array([1, 0, 1, 2]))) == 0.5
    assert float(accuracy(scores, np.array([1, 0, 0, 0]))) == 1.0
    assert float(jax.jit(accuracy)(scores, np.array([0, 1, 1, 1]))) == 0.0


def test_rates_and_silence():
    spikes = np.zeros((3, 2, 4), np.float32)
    spikes[0, 0, 1] = spikes[2, 1, 1] = spikes[1, 1, 3] = 1
    assert float(firing_rate(spikes)) == 3 / 24
    assert float(silent_fraction(spikes)) == 0.5
    # A unit of an image counts once for each pixel and channel.
    assert float(silent_fraction(spikes.reshape(3, 2, 2, 1, 2))) == 0.5


def test_rates_of_many_bfloat16_spikes_are_exact():
    # 2^16 + 1 ones do not fit a bfloat16 sum.
    assert float(firing_rate(jnp.ones((257, 1, 257), jnp.bfloat16))) == 1.0


def fan_out(layer, params, shape):
    """The count of a spiking layer's statistics, from the operations of each input."""
    spikes = jnp.eye(math.prod(shape)).reshape((1, -1, *shape))
    report = jax.vmap(lambda x: apply_with_stats(layer, params, x[None, None])[2][0].operations)
    return jax.jit(report)(spikes[0]).reshape(shape)


def drawn(layer, shape):
    """Its parameters, by one program in place of many."""
    return jax.jit(lambda: layer.init(jax.random.key(0), shape)[0])()


def counted(spikes, shape, targets):
    """Operations per example, one at a time; `targets(i)` counts the synapses of input i."""
    totals = np.zeros(spikes.shape[1])
    for t, b in np.ndindex(spikes.shape[:2]):
        for i in np.ndindex(shape):
            if spikes[(t, b, *i)] != 0:
                totals[b] += targets(*i)
    return totals


def conv_targets(height, width, kernel, features, padding):
    kh, kw = kernel
    rows = height if padding == "same" else height - kh + 1
    columns = width if padding == "same" else width - kw + 1
    top = (kh - 1) // 2 if padding == "same" else 0
    left = (kw - 1) // 2 if padding == "same" else 0

    def targets(y, x, _channel):
        return features * sum(
            0 <= y - (r - top) < kh and 0 <= x - (c - left) < kw
            for r in range(rows)
            for c in range(columns)
        )

    return targets


def test_operations_of_a_dense_layer():
    spikes = (RNG.random((T, B, 6)) < 0.4).astype(np.float32)
    layer = dense(7, lif())
    params = drawn(layer, (6,))
    out = fan_out(layer, params, (6,))
    np.testing.assert_array_equal(out, np.full(6, 7))
    expected = counted(spikes, (6,), lambda i: 7)
    np.testing.assert_array_equal(synaptic_operations(spikes, out), expected)
    np.testing.assert_array_equal(synaptic_operations(spikes, 7), expected)


@pytest.mark.parametrize(
    ("kernel", "padding"), [(3, "valid"), (3, "same"), ((2, 3), "same"), ((1, 4), "valid")]
)
def test_operations_of_a_convolution_count_its_borders(kernel, padding):
    shape = (4, 5, 2)
    spikes = (RNG.random((2, 2, *shape)) < 0.4).astype(np.float32)
    layer = conv(3, kernel, lif(), padding=padding)
    out = fan_out(layer, drawn(layer, shape), shape)
    sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    targets = conv_targets(4, 5, sizes, 3, padding)
    expected = np.array([targets(*i) for i in np.ndindex(shape)]).reshape(shape)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(synaptic_operations(spikes, out), counted(spikes, shape, targets))


def test_fan_out_is_exact_in_bfloat16():
    # 301 is no bfloat16 number; the docstring promises exact float32 counts.
    layer = dense(301, lif())
    params = drawn(layer, (2,))
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    out = fan_out(layer, params, (2,))
    assert out.dtype == jnp.float32
    np.testing.assert_array_equal(out, [301, 301])


def test_values_other_than_one_count_once():
    # After a pool the inputs are means of spikes: any that is not 0 costs its synapses.
    inputs = np.array([[[0.25, 0.0, -1.0]]], np.float32)
    np.testing.assert_array_equal(synaptic_operations(inputs, 10), [20])


def test_the_report_agrees_with_the_metrics():
    network = serial(
        conv(2, 3, lif(threshold=0.2)), avg_pool(2), flatten(), dense(5, lif(threshold=0.1))
    )
    params = drawn(network, (6, 6, 1))
    xs = (RNG.random((T, B, 6, 6, 1)) < 0.5).astype(np.float32)
    hidden = serial(conv(2, 3, lif(threshold=0.2)))

    @jax.jit
    def run(params):
        _, outs, stats = apply_with_stats(network, params, xs)
        return outs, stats, apply(hidden, params[:1], xs)[1]

    outs, (first, second), spikes = run(params)
    pooled = np.asarray(spikes).reshape(T, B, 2, 2, 2, 2, 2).mean(axis=(3, 5)).reshape(T, B, 8)

    np.testing.assert_allclose(first.firing_rate, np.mean(spikes, axis=(0, 1)), rtol=1e-6)
    np.testing.assert_allclose(second.firing_rate, np.mean(outs, axis=(0, 1)), rtol=1e-6)
    targets = conv_targets(6, 6, (3, 3), 2, "valid")
    np.testing.assert_allclose(first.operations, counted(xs, (6, 6, 1), targets).mean())
    np.testing.assert_allclose(second.operations, synaptic_operations(pooled, 5).mean())
    assert 0 < float(jnp.mean(first.firing_rate)) < 1
