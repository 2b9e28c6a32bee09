"""Readouts: scores of a sequence, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stbp_jax import first_spike, peak_membrane, rate
from stbp_jax.readouts import identity, mean_log_probability

OUTS = np.array(
    [
        [[0, 1, 0], [0, 0, 0]],
        [[1, 1, 0], [0, 0, 1]],
        [[1, 0, 0], [0, 1, 1]],
        [[1, 1, 0], [0, 0, 1]],
    ],
    np.float32,
)  # [T = 4, B = 2, C = 3]


def test_rate_is_the_mean_over_time():
    np.testing.assert_array_equal(rate(OUTS), [[0.75, 0.75, 0.0], [0.0, 0.25, 0.75]])
    slopes = jax.grad(lambda o: jnp.sum(rate(o)[0, 1]))(OUTS)
    np.testing.assert_array_equal(slopes[:, 0, 1], 0.25)
    assert float(jnp.sum(slopes)) == 1


def test_first_spike_is_a_step_or_t():
    steps = first_spike(OUTS)
    np.testing.assert_array_equal(steps, [[1, 0, 4], [4, 2, 1]])
    assert steps.dtype == jnp.int32
    np.testing.assert_array_equal(jax.jit(first_spike)(OUTS.astype(bool)), steps)


def test_peak_membrane_takes_the_maximum_and_its_gradient():
    membranes = np.array([[[-3.0, 0.5]], [[-1.0, 2.0]], [[-2.0, 1.0]]], np.float32)
    np.testing.assert_array_equal(peak_membrane(membranes), [[-1.0, 2.0]])
    slopes = jax.grad(lambda m: jnp.sum(peak_membrane(m)))(membranes)
    np.testing.assert_array_equal(slopes[:, 0], [[0, 0], [1, 1], [0, 0]])


def test_readouts_keep_trailing_axes():
    outs = jnp.ones((3, 2, 4, 4, 5))
    for readout in (rate, first_spike, peak_membrane):
        assert readout(outs).shape == (2, 4, 4, 5)


# Sequences of different lengths ------------------------------------------------------------------

LENGTHS = (2, 4)
MASK = np.arange(4)[:, None] < np.array(LENGTHS)  # [T, B]
READOUTS = {
    readout.__name__: readout
    for readout in (rate, first_spike, peak_membrane, mean_log_probability)
}


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("padding", [0.0, 7.0, np.nan, np.inf])
def test_padded_steps_change_nothing(name, padding):
    if name == "first_spike" and np.isnan(padding):
        pytest.skip("it refuses NaN")
    readout = READOUTS[name]
    padded = np.where(MASK[..., None], OUTS, np.float32(padding))
    found = readout(padded, mask=MASK)
    for b, length in enumerate(LENGTHS):
        wanted = readout(OUTS[:length, b : b + 1])[0]
        silent = (wanted == length) if name == "first_spike" else np.zeros(3, bool)
        np.testing.assert_allclose(found[b], np.where(silent, 4, wanted), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda o, m: readout(o, mask=m))(padded, MASK), found)
    if name == "first_spike":
        return
    slopes = jax.grad(lambda o: jnp.sum(readout(o, mask=MASK) * jnp.arange(6.0).reshape(2, 3)))
    slope = slopes(jnp.asarray(padded))
    assert np.all(np.asarray(slope)[~MASK] == 0)
    assert np.any(slope != 0)


def test_a_full_mask_is_no_mask():
    full = np.ones((4, 2), bool)
    for readout in READOUTS.values():
        np.testing.assert_allclose(readout(OUTS, mask=full), readout(OUTS), rtol=1e-6)
    np.testing.assert_array_equal(peak_membrane(OUTS.astype(np.int32), mask=full), OUTS.max(0))


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (np.ones((4, 3), bool), ValueError, r"mask must have shape \[T, B\] = \[4, 2\]"),
        (np.ones((4, 2)), TypeError, "mask must be an array of bool, got float64"),
        (
            np.zeros((4, 2), bool),
            ValueError,
            "mask must have a step for each example",
        ),
    ],
)
def test_a_mask_is_checked(mask, error, message):
    with pytest.raises(error, match=message):
        rate(OUTS, mask=mask)


def test_all_steps_are_the_outputs_themselves():
    np.testing.assert_array_equal(identity(OUTS), OUTS)
    padded = np.where(MASK[..., None], OUTS, np.nan)
    np.testing.assert_array_equal(identity(padded, mask=MASK), OUTS * MASK[..., None])
    slope = jax.grad(lambda o: jnp.sum(identity(o, mask=MASK)))(jnp.asarray(padded))
    np.testing.assert_array_equal(slope, np.broadcast_to(MASK[..., None], OUTS.shape))
