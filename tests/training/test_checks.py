"""Training and evaluation raise on bad arguments, and count updates that are not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj
from stbp_jax.training import update
from tests.training.small_run import (
    CONFIG,
    IDENTITY,
    KEY,
    PARAMS,
    PIPELINE,
    SET,
    epoch,
    expects,
    from_host,
    run,
    start,
    state_of,
)

# Other arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "bad", "message"),
    [
        ("encode", None, "encode must be callable, got None"),
        ("network", lambda x: x, "network must be a Layer, got function"),
        ("network", sj.lif(), "network must be a Layer, got Neuron"),
        ("readout", "rate", "readout must be callable, got 'rate'"),
        ("loss", "half_squared_error", "loss must be callable, got 'half_squared_error'"),
        ("optimizer", 1e-3, "optimizer must be a GradientTransformation of optax, got 0.001"),
        ("optimizer", optax.adam, "optimizer must be a GradientTransformation of optax, got <func"),
        ("augment", True, "augment must be callable, got True"),
        ("objective", 0.1, "objective must be callable, got 0.1"),
        ("metrics", sj.metrics.correct, "metrics must be a tuple of pairs (name, function), got"),
        ("metrics", (sj.metrics.correct,), "metrics must be pairs (name, function), got <func"),
        ("metrics", (("accuracy", None),), "metric accuracy must be callable, got None"),
        ("mask", np.ones(3, bool), "mask must be callable, got array"),
        ("auxiliary_loss", 0.1, "auxiliary_loss must be callable, got 0.1"),
        ("eval_params", {}, "eval_params must be callable, got {}"),
    ],
)
def test_fields_of_a_pipeline(field, bad, message):
    broken = PIPELINE._replace(**{field: bad})
    for take in (run, from_host, lambda *sets, build: start(SET, build=build)):
        with expects(TypeError, message):
            take(SET, SET, build=lambda hparams, num_updates: broken)
    with expects(TypeError, message):
        sj.evaluate(broken, PARAMS, KEY, *SET)


def test_an_objective_that_makes_nothing():
    broken = PIPELINE._replace(objective=lambda loss_fn: None)
    with expects(TypeError, "the result of objective must be callable, got None"):
        run(SET, SET, build=lambda hparams, num_updates: broken)


def test_an_optimizer_that_only_looks_like_one_of_optax():
    several = PIPELINE._replace(optimizer=optax.MultiSteps(optax.sgd(0.1), 2))
    jax.eval_shape(lambda: run(SET, SET, build=lambda hparams, num_updates: several))


NO_KEY = "key must be a random key, such as jax.random.key(0), got "


@pytest.mark.parametrize("take", [run, from_host, epoch])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"build": None}, TypeError, "build must be callable, got None"),
        ({"build": PIPELINE}, TypeError, "build must be callable, got Pipeline"),
        ({"build": lambda hparams, n: {}}, TypeError, "build must return a Pipeline, got dict"),
        ({"config": 5}, TypeError, "config must be a TrainConfig, got int"),
        ({"config": (1, 5, 5)}, TypeError, "config must be a TrainConfig, got tuple"),
        ({"config": CONFIG._replace(epochs="3")}, TypeError, "epochs must be a static integer"),
        ({"config": CONFIG._replace(batch_size=5.0)}, TypeError, "batch_size must be a static"),
        ({"hparams": None}, TypeError, "hparams must be a tree of numbers, got None"),
        ({"hparams": {"width": "1"}}, TypeError, "hparams['width'] must be a number or an array"),
        ({"hparams": [np.int64(2**32)]}, ValueError, "hparams[0] must hold numbers that int32"),
        ({"key": 0}, TypeError, NO_KEY + "int"),
        ({"key": None}, TypeError, NO_KEY + "NoneType"),
        ({"key": np.arange(2)}, TypeError, NO_KEY + "int"),
        ({"key": jax.random.split(KEY)}, ValueError, "key must be a single key, got keys of shape"),
        ({"key": np.zeros((2, 2), np.uint32)}, ValueError, "key must be a single key, got keys of"),
    ],
)  # fmt: skip
def test_arguments_of_a_run(take, change, error, message):
    with expects(error, message):
        take(SET, SET, **change)


def test_a_config_of_numpy_integers_is_one():
    config = sj.TrainConfig(np.int64(1), np.array(50), np.uint8(50))
    assert len(list(from_host(SET, SET, config=config))) == 1


def test_a_build_that_has_no_hash():
    class Build(dict):
        def __call__(self, hparams, num_updates):
            return PIPELINE

    with expects(TypeError, "build must be hashable"):
        from_host(SET, SET, build=Build())


@pytest.mark.parametrize("key", [0, None, jax.random.split(KEY)])
def test_keys_of_an_evaluation(key):
    with expects((TypeError, ValueError), "key must be a "):
        sj.evaluate(PIPELINE, PARAMS, key, *SET)


def test_old_keys_do():
    old = jax.random.PRNGKey(0)
    jax.eval_shape(lambda: run(SET, SET, key=old))
    jax.eval_shape(lambda: sj.evaluate(PIPELINE, PARAMS, old, *SET))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda scores, labels: (scores - 1) ** 2, "got [50, 3]"),
        (lambda scores, labels: jnp.mean(scores), "got []"),
    ],
)
def test_losses_that_are_not_one_for_each_example(loss, message):
    broken = PIPELINE._replace(loss=loss)
    expected = "loss must return one number for each example, [50]"
    with expects(ValueError, expected, message):
        run(SET, SET, build=lambda hparams, num_updates: broken)
    with expects(ValueError, expected, message):
        sj.evaluate(broken, PARAMS, KEY, *SET, batch_size=50)


def test_scores_of_another_rank():
    broken = PIPELINE._replace(readout=lambda outs: outs)
    with expects(
        ValueError, "targets must have shape [2, 50], one for each step", "need a readout"
    ):
        sj.evaluate(broken, PARAMS, KEY, *SET, batch_size=50)


WIDER = PIPELINE._replace(network=sj.serial(IDENTITY))


@pytest.mark.parametrize("take", [from_host, epoch])
@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (PARAMS, TypeError, "state must be a TrainState, got"),
        (state_of(shape=(3,))._replace(key=None), TypeError, "state.key must be a random key"),
        (state_of(WIDER), ValueError, "state.params must be PyTreeDef"),
        (
            state_of(PIPELINE._replace(optimizer=optax.adam(0.1))),
            ValueError,
            "state.opt_state must be PyTreeDef",
        ),
        (
            state_of()._replace(params=jax.tree.map(lambda leaf: leaf[..., :2], PARAMS)),
            ValueError,
            "must have shape [3, 3], got [3, 2]",
        ),
        (
            state_of()._replace(step=jnp.zeros(2, jnp.int32)),
            ValueError,
            "state.step must have shape",
        ),
    ],
)
def test_states_of_another_run(take, state, error, message):
    with expects(error, message):
        take(SET, SET, state=state)


def test_a_state_from_within_an_epoch():
    with expects(ValueError, "state must come from the end of an epoch of 2 updates, got 3"):
        from_host(SET, SET, state=state_of()._replace(step=jnp.int32(3)))


def test_arguments_of_an_update():
    with expects(TypeError, "loss_fn must be callable, got None"):
        sj.training.make_train_step(None, optax.sgd(0.1))
    with expects(TypeError, "optimizer must be a GradientTransformation"):
        sj.training.make_train_step(lambda *_: None, optax.sgd)
    step = sj.training.make_train_step(lambda *_: None, optax.sgd(0.1))
    with expects(TypeError, "state must be a TrainState, got dict"):
        step({}, None)


# Updates that are not finite ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "rate", "finite"),
    [
        (lambda w: jnp.sum(w**2), 0.1, True),
        (lambda w: jnp.sum(w**2), np.inf, False),  # in the parameters alone
        (lambda w: jnp.sum(w**2), np.nan, False),
        (lambda w: jnp.sum(w) + jnp.inf, 0.1, False),  # in the loss alone
        (lambda w: jnp.sum(jnp.sqrt(w - w)), 0.0, False),
        (lambda w: jnp.sum(jnp.where(w > 5, jnp.sqrt(w - 9), w)), 0.1, False),  # the gradient's NaN
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_whether_an_update_is_finite(loss, rate, finite, skip):
    optimizer = optax.sgd(rate)
    if skip and np.isfinite(rate):
        optimizer = optax.apply_if_finite(optimizer, 3)  # skipped, and counted all the same
    w = jnp.array([1.0, 3.0])
    state = sj.TrainState(w, optimizer.init(w), KEY, jnp.int32(0))
    step = update.make_watched_step(lambda w, key, batch: (loss(w), None), optimizer)
    assert bool(step(state, None)[1][2]) is finite


def test_history_counts_updates_that_are_not_finite():
    def swept(rate, num_updates):
        return PIPELINE._replace(optimizer=optax.sgd(rate))

    def history(rate):
        train = sj.make_train(swept, CONFIG._replace(epochs=2, batch_size=25))
        return train(KEY, rate, SET, SET)[1]

    counts = jax.jit(jax.vmap(history))(jnp.array([0.1, jnp.inf, jnp.nan])).non_finite_updates
    assert counts.dtype == jnp.int32
    np.testing.assert_array_equal(counts, [[0, 0], [4, 4], [4, 4]])


def test_parameters_of_nan_are_counted_in_every_update():
    broken = sj.initializers.initializer(lambda key, shape, dtype: jnp.full(shape, jnp.nan, dtype))
    pipeline = PIPELINE._replace(network=sj.dense(3, sj.lif(), init=broken))
    train = sj.make_train(lambda hparams, num_updates: pipeline, CONFIG)
    assert int(train(KEY, (), SET, SET)[1].non_finite_updates[0]) == 2
