"""Losses and metrics against sums written by hand; operations against counting loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax import (
    cross_entropy,
    half_squared_error,
    rate,
)
from stbp_jax.losses import activity_penalty
from stbp_jax.metrics import accuracy

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


def test_numbers_to_predict_have_the_scores_shape():
    scores, targets = np.zeros((B, 1), np.float32), RNG.normal(size=B).astype(np.float32)
    np.testing.assert_allclose(
        half_squared_error(scores, targets[:, None]), targets**2 / 2, rtol=1e-6
    )
    for run in (half_squared_error, jax.jit(half_squared_error)):  # shapes and dtypes are static
        with pytest.raises(TypeError, match=r"integers, .* to predict .* shape \[4, 1\]"):
            run(scores, targets)
    for loss in (half_squared_error, cross_entropy, sj.losses.negative_log_likelihood, accuracy):
        for run in (loss, jax.jit(loss)):
            with pytest.raises(ValueError, match=r"two outputs .* predict .* shape \[4, 1\]"):
                run(scores, LABELS * 0)
    with pytest.raises(ValueError, match=r"predict .* shape \[5, 4, 1\]"):
        half_squared_error(np.zeros((T, B, 1), np.float32), np.zeros((T, B), np.int32))


# Synaptic operations ----------------------------------------------------------------------------


def test_cross_entropy_over_time_is_that_of_every_step() -> None:
    outs = jnp.asarray(RNG.normal(size=(6, 3, 4)), jnp.float32)
    labels = jnp.array([1, 3, 0])
    loss = sj.losses.negative_log_likelihood(sj.readouts.mean_log_probability(outs), labels)
    wanted = np.mean([sj.cross_entropy(o, labels) for o in outs], axis=0)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 4\)"):
        sj.losses.negative_log_likelihood(outs[0], jnp.array([1, 4, 0]))
    with pytest.raises(ValueError, match=r"labels must have shape \[6, 3\], .*need a readout"):
        sj.losses.negative_log_likelihood(outs, labels)


# Sequences, and sequences of different lengths --------------------------------------------------

MASK = np.arange(T)[:, None] < np.array([2, 5, 1, 3])  # [T, B]
STEPWISE = {
    "squared error": (half_squared_error, RNG.normal(size=(T, B, C)).astype(np.float32)),
    "squared error of labels": (half_squared_error, RNG.integers(0, C, (T, B))),
    "cross-entropy": (cross_entropy, RNG.integers(0, C, (T, B))),
    "likelihood": (sj.losses.negative_log_likelihood, RNG.integers(0, C, (T, B))),
}


@pytest.mark.parametrize("name", STEPWISE)
@pytest.mark.parametrize("padding", [7.0, np.nan, np.inf])
def test_losses_of_every_step_and_of_own_steps(name, padding):
    loss, targets = STEPWISE[name]
    outs = RNG.normal(size=(T, B, C)).astype(np.float32)
    steps = loss(outs, targets)
    np.testing.assert_allclose(steps, [loss(o, y) for o, y in zip(outs, targets, strict=True)])
    padded = jnp.where(MASK[..., None], outs, padding)
    found, slope = jax.value_and_grad(lambda o: loss(o, targets, mask=MASK).sum())(padded)
    wanted = [steps[: MASK[:, b].sum(), b].mean() for b in range(B)]
    np.testing.assert_allclose(loss(padded, targets, mask=MASK), wanted, rtol=1e-5)
    np.testing.assert_allclose(found, sum(wanted), rtol=1e-5)
    assert np.all(np.asarray(slope)[~MASK] == 0)
    assert np.all(np.isfinite(slope))


def test_padded_steps_have_no_activity():
    padded = np.where(MASK[..., None], OUTS, np.nan)
    found, slope = jax.value_and_grad(lambda s: activity_penalty(s, target=0.2, mask=MASK).sum())(
        jnp.asarray(padded)
    )
    wanted = [
        activity_penalty(OUTS[: MASK[:, b].sum(), b : b + 1], target=0.2)[0] for b in range(B)
    ]
    np.testing.assert_allclose(found, sum(wanted), rtol=1e-5)
    assert np.all(np.asarray(slope)[~MASK] == 0)


def test_accuracy_of_every_step():
    labels = RNG.integers(0, C, (T, B))
    steps = sj.metrics.correct(OUTS, labels)
    assert steps.shape == (T, B)
    np.testing.assert_array_equal(steps, OUTS.argmax(-1) == labels)
    np.testing.assert_allclose(accuracy(OUTS, labels), steps.mean())


def test_a_mask_needs_sequences():
    with pytest.raises(ValueError, match=r"mask needs scores of every step.*got \[4, 3\]"):
        half_squared_error(SCORES, LABELS, mask=MASK)
    with pytest.raises(ValueError, match=r"mask must have shape \[T, B\] = \[5, 4\]"):
        cross_entropy(OUTS, RNG.integers(0, C, (T, B)), mask=MASK[:3])
