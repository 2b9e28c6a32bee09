"""A small run, and its entry points, for the tests of what training refuses."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj

KEY = jax.random.key(0)
CONFIG = sj.TrainConfig(epochs=1, batch_size=50, eval_batch_size=50)
LABELS = np.random.default_rng(0).integers(0, 3, 100).astype(np.int32)
IMAGES = np.eye(3, dtype=np.float32)[LABELS]  # the label is the bright pixel
SET = IMAGES, LABELS
IDENTITY = sj.dense(
    3, init=sj.initializers.initializer(lambda key, shape, dtype: jnp.eye(3, dtype=dtype))
)
PIPELINE = sj.Pipeline(
    lambda key, images: sj.constant(images, 2),
    IDENTITY,
    sj.rate,
    sj.half_squared_error,
    optax.sgd(0.1),
)
PARAMS, _ = IDENTITY.init(KEY, (3,))


def build(hparams, num_updates):
    return PIPELINE


def state_of(pipeline=PIPELINE, shape=(3,)):
    params, _ = pipeline.network.init(KEY, shape)
    return sj.TrainState(params, pipeline.optimizer.init(params), KEY, jnp.int32(0))


def evaluation(images, labels):
    return sj.evaluate(PIPELINE, PARAMS, KEY, images, labels, batch_size=50)


def run(*sets, build=build, config=CONFIG, key=KEY, hparams=()):
    return sj.make_train(build, config)(key, hparams, *sets)


def from_host(*sets, build=build, config=CONFIG, key=KEY, hparams=(), state=None):
    return sj.train_epochs(
        build, config, key, hparams, *sets, state=state
    )  # the call itself refuses


def start(train_set, *, build=build, config=CONFIG, key=KEY, hparams=()):
    return sj.training.init_state(build, config, key, hparams, train_set)


def epoch(*sets, build=build, config=CONFIG, key=KEY, hparams=(), state=None):
    state = state_of() if state is None else state
    return sj.training.make_epoch(build, config)(key, hparams, state, *sets)


def expects(error, *parts):
    """Expects `error` with all parts in its message, in this order."""
    return pytest.raises(error, match="(?s)" + ".*".join(map(re.escape, parts)))
