"""Compiled programs are kept for the next call with the same functions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import stbp_jax as sj

SET = np.ones((2, 2), np.float32), np.zeros(2, np.int32)


def test_a_second_sweep_of_the_same_train_compiles_nothing():
    traces = []

    def train(key, hparams, train_set, test_set):
        traces.append(None)
        return None, hparams["a"] * jnp.sum(train_set[0]) + jax.random.uniform(key)

    train.check = lambda hparams, train_set: None
    keys, (points, _) = jax.random.split(jax.random.key(0), 2), sj.grid(a=[1.0, 2.0])
    first = sj.sweep(train, keys, points, SET, SET)
    once = len(traces)
    again = sj.sweep(train, keys, points, SET, SET)
    assert len(traces) == once + 1  # the checks look at the sets
    np.testing.assert_array_equal(first, again)


def test_a_second_evaluation_of_a_pipeline_compiles_nothing():
    encoded = []

    def encode(key, images):
        encoded.append(None)
        return sj.constant(images, 2)

    network = sj.serial(sj.flatten(), sj.dense(3))
    pipeline = sj.Pipeline(encode, network, sj.rate, sj.half_squared_error, optax.sgd(0.1))
    params, _ = network.init(jax.random.key(0), (2, 2))
    images, labels = np.zeros((7, 2, 2), np.uint8), np.zeros(7, np.int32)

    def evaluated():
        return sj.evaluate(pipeline, params, jax.random.key(0), images, labels, batch_size=3)

    first = evaluated()
    once = len(encoded)
    jax.tree.map(np.testing.assert_array_equal, evaluated(), first)
    assert len(encoded) <= once + 1  # the checks look at shapes
    inside = jax.jit(evaluated)()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), inside, first)
