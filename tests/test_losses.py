"""Losses and metrics against sums written by hand; operations against counting loops."""

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
    cross_entropy,
    dense,
    flatten,
    half_squared_error,
    lif,
    rate,
    serial,
)
from stbp_jax.losses import activity_penalty
from stbp_jax.metrics import accuracy, firing_rate, silent_fraction, synaptic_operations

T, B, C = 5, 4, 3
RNG = np.random.default_rng(0)
OUTS = (RNG.random((T, B, C)) < 0.4).astype(np.float32)
LABELS = np.array([2, 0, 1, 2], np.int32)
SCORES = RNG.normal(size=(B, C)).astype(np.float32)


# Losses -----------------------------------------------------------------------------------------


def test_squared_error_is_equation_9():
    by_hand = 0.0
    for s in range(B):
        for c in range(C):
            y = 1.0 if c == LABELS[s] else 0.0
            by_hand += (y - sum(OUTS[t, s, c] for t in range(T)) / T) ** 2
    by_hand /= 2 * B
    losses = half_squared_error(rate(OUTS), LABELS)
    assert losses.shape == (B,)
    np.testing.assert_allclose(jnp.mean(losses), by_hand, rtol=1e-6)


def test_mean_squared_error_is_2_over_c_of_it():
    one_hot = np.eye(C, dtype=np.float32)[LABELS]
    mse = np.mean((one_hot - SCORES) ** 2)
    np.testing.assert_allclose(2 / C * jnp.mean(half_squared_error(SCORES, LABELS)), mse, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int8])
def test_labels_are_one_hot_targets(dtype):
    one_hot = np.eye(C, dtype=np.float32)[LABELS]
    np.testing.assert_array_equal(
        half_squared_error(SCORES, LABELS.astype(dtype)), half_squared_error(SCORES, one_hot)
    )


def test_squared_error_takes_any_target():
    targets = RNG.normal(size=(B, C)).astype(np.float32)
    expected = 0.5 * np.sum((targets - SCORES) ** 2, axis=1)
    np.testing.assert_allclose(half_squared_error(SCORES, targets), expected, rtol=1e-6)


def test_labels_may_be_constants_of_a_compiled_function():
    labels = jnp.asarray(LABELS)
    for loss in (half_squared_error, cross_entropy, accuracy):
        compiled = jax.jit(lambda scores, loss=loss: loss(scores, labels))(SCORES)
        np.testing.assert_allclose(compiled, loss(SCORES, labels), rtol=1e-6)


def test_squared_error_pulls_towards_the_target():
    # d/d score = score - target: the direct term of delta^{t,N}, before 1/(T S).
    slopes = jax.grad(lambda s: jnp.sum(half_squared_error(s, LABELS)))(SCORES)
    np.testing.assert_allclose(slopes, SCORES - np.eye(C)[LABELS], rtol=1e-6)


def test_cross_entropy_is_log_softmax():
    log_softmax = SCORES - np.log(np.sum(np.exp(SCORES), axis=1, keepdims=True))
    losses = cross_entropy(SCORES, LABELS)
    np.testing.assert_allclose(losses, -log_softmax[np.arange(B), LABELS], rtol=1e-6)


def test_cross_entropy_stands_large_scores():
    scores = np.array([[1e4, -1e4], [1e4, -1e4]], np.float32)
    labels = np.array([0, 1])
    np.testing.assert_allclose(cross_entropy(scores, labels), [0, 2e4])
    slopes = jax.grad(lambda s: jnp.sum(cross_entropy(s, labels)))(scores)
    np.testing.assert_allclose(slopes, [[0, 0], [1, -1]])


def test_activity_penalty_is_the_mean_squared_excess():
    spikes = (RNG.random((T, B, 2, 3)) < 0.5).astype(np.float32)
    rates = spikes.mean(axis=0)
    scalar = activity_penalty(spikes, target=0.25)
    assert scalar.shape == (B,)
    np.testing.assert_allclose(scalar, np.mean((rates - 0.25) ** 2, axis=(1, 2)), rtol=1e-6)
    wanted = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    expected = np.mean((rates - wanted) ** 2, axis=(1, 2))
    np.testing.assert_allclose(activity_penalty(spikes, target=wanted), expected, rtol=1e-6)
    traced = jax.jit(lambda w: activity_penalty(spikes, target=w))
    np.testing.assert_allclose(traced(wanted), expected, rtol=1e-6)


def test_losses_are_per_example():
    # An example's loss does not see its neighbors.
    spikes = OUTS[:, :, None]
    for loss in (
        lambda rows: half_squared_error(SCORES[rows], LABELS[rows]),
        lambda rows: cross_entropy(SCORES[rows], LABELS[rows]),
        lambda rows: activity_penalty(spikes[:, rows], target=0.1),
    ):
        rows = np.array([3, 1])
        np.testing.assert_array_equal(loss(rows), loss(np.arange(B))[rows])


def test_losses_of_an_empty_batch_are_empty():
    none = np.zeros((0,), np.int32)
    assert half_squared_error(np.zeros((0, C), np.float32), none).shape == (0,)
    assert cross_entropy(np.zeros((0, C), np.float32), none).shape == (0,)


# Metrics ----------------------------------------------------------------------------------------


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


# Synaptic operations ----------------------------------------------------------------------------


def fan_out(layer, params, shape):
    """The count of a spiking layer's statistics, from the operations of each input."""
    spikes = jnp.eye(math.prod(shape)).reshape((1, -1, *shape))
    report = jax.vmap(lambda x: apply_with_stats(layer, params, x[None, None])[2][0].operations)
    return report(spikes[0]).reshape(shape)


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
    out = jax.jit(lambda p: fan_out(layer, p, shape))(drawn(layer, shape))
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
