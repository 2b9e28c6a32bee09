"""The error that the study `mnist_rows_trials` follows back through time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from experiments.studies.mnist_rows.study import build
from experiments.studies.mnist_rows_trials import growth
from experiments.studies.mnist_rows_trials.study import GROWING, GROWTH

CONFIG = GROWTH.but(layers="8-10")
POINT = GROWING[0] | {"decay": 0.0}  # without memory in the membrane
NETWORK = build(CONFIG, hidden=growth.HIDDEN)(POINT, 1).network


@pytest.fixture
def drawn():
    """Parameters, images `[5, 28, 28]` and labels `[5]`."""
    params, _ = NETWORK.init(jax.random.key(0), (28,))
    return params, jax.random.uniform(jax.random.key(1), (5, 28, 28)), jnp.arange(5)


def test_the_error_passes_recurrent_weights_and_the_surrogate(drawn):
    params, images, labels = drawn
    (dense,), readout = jax.tree.map(np.asarray, params)
    recurrent, spikes, slopes = dense.neuron.weights, np.zeros((5, 8)), []
    for row in np.moveaxis(np.asarray(images), 1, 0):
        membrane = row @ dense.synapse.kernel + dense.synapse.bias
        membrane += spikes @ recurrent.kernel + recurrent.bias
        spikes = np.asarray(membrane >= POINT["threshold"], float)
        away = np.abs(membrane - POINT["threshold"])
        slopes.append((away < POINT["width"] / 2) / POINT["width"])
    scores = sj.rate(sj.apply(NETWORK, params, jnp.moveaxis(images, 1, 0))[1])
    outer = np.asarray(jax.nn.softmax(scores) - jax.nn.one_hot(labels, 10))
    error = outer @ readout.synapse.kernel.T / 28
    wanted = []
    for slope in reversed(slopes):
        error = slope * error
        wanted.append(np.linalg.norm(error, axis=1))
        error = error @ recurrent.kernel.T
    found = growth.errors(CONFIG, POINT, *drawn)
    assert found[-3:].any(axis=1).all()
    np.testing.assert_allclose(found, wanted[::-1], rtol=1e-4, atol=1e-30)


def test_without_connections_and_memory_no_error_reaches_an_earlier_step(drawn):
    ((dense,), readout), images, labels = drawn
    weights = dense.neuron.weights
    cut = dense.neuron._replace(weights=weights._replace(kernel=jnp.zeros_like(weights.kernel)))
    found = growth.errors(CONFIG, POINT, ((dense._replace(neuron=cut),), readout), images, labels)
    assert not found[:-1].any()
    assert found[-1].all()
