"""Readouts: scores of a sequence, by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import first_spike, peak_membrane, rate

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
