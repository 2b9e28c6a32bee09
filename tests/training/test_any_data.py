"""Any data in training: pytrees, metrics, weights, hidden spikes, optimizers that ask for more."""

from collections import OrderedDict

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj
from stbp_jax.training import (
    Evaluation,
    init_state,
    loss_of,
    make_train_step,
    merge_evaluations,
)

KEY = jax.random.key(0)
T, N, F, C = 5, 24, 6, 3
RNG = np.random.default_rng(0)
IMAGES = RNG.random((N, F)).astype(np.float32)
LABELS = RNG.integers(0, C, N)
NEURON = sj.lif(decay=0.5, threshold=0.3, surrogate=sj.gaussian(0.3))
NET = sj.serial(sj.dense(8, NEURON), sj.dense(C, sj.leaky_integrator(decay=0.5)))
BASE = sj.Pipeline(
    encode=lambda key, images: sj.constant(images, T),
    network=NET,
    readout=sj.rate,
    loss=sj.cross_entropy,
    optimizer=optax.sgd(0.1),
)
PARAMS, _ = NET.init(KEY, (F,))


def trained(pipeline, train_set, *, epochs=3, batch_size=8, test_set=None):
    """The state and history of a run, as the user calls it."""
    train = jax.jit(sj.make_train(lambda hparams, n: pipeline, sj.TrainConfig(epochs, batch_size)))
    return train(KEY, (), train_set, train_set if test_set is None else test_set)


def evaluated(pipeline, *data, batch_size=10, params=PARAMS):
    return sj.evaluate(pipeline, params, KEY, *data, batch_size=batch_size)


def close(actual, expected, **tolerance):
    chex.assert_trees_all_close(actual, expected, **({"rtol": 1e-5, "atol": 1e-6} | tolerance))


# Inputs, targets, metrics -------------------------------------------------------------------------


def test_regression():
    targets = np.stack([IMAGES.sum(1), IMAGES[:, 0], IMAGES[:, 1]], 1)
    error = lambda scores, targets: jnp.abs(scores - targets).mean(-1)  # noqa: E731
    pipeline = BASE._replace(
        loss=sj.half_squared_error, metrics=(("absolute error", error), ("a second", error))
    )
    _, history = trained(pipeline, (IMAGES, targets), epochs=8)
    assert list(history.metrics) == list(history.test.metrics) == ["absolute error", "a second"]
    assert history.headline is history.metrics["absolute error"]
    assert history.test.headline[-1] < history.test.headline[0]
    found = evaluated(pipeline, IMAGES, targets)
    scores = sj.rate(sj.apply(NET, PARAMS, sj.constant(IMAGES, T))[1])
    close(found.headline, np.abs(scores - targets).mean())
    close(found.loss, 0.5 * ((scores - targets) ** 2).sum(1).mean())


def test_several_labels_for_an_example():
    targets = IMAGES[:, :C] > 0.5
    pipeline = BASE._replace(
        loss=lambda scores, y: optax.sigmoid_binary_cross_entropy(scores, y * 1.0).sum(-1),
        metrics=(("all right", lambda s, y: ((s > 0) == y).all(-1)),),
    )
    state, history = trained(pipeline, (IMAGES, targets))
    assert history.loss[-1] < history.loss[0]
    scores = sj.rate(sj.apply(NET, state.params, sj.constant(IMAGES, T))[1])
    close(history.test.headline[-1], ((scores > 0) == targets).all(-1).mean())


def test_targets_at_every_step():
    targets = RNG.random((N, T, C)).astype(np.float32)  # lead with N, as all data do
    pipeline = BASE._replace(
        readout=sj.readouts.identity,
        loss=lambda outs, y: sj.half_squared_error(outs, y.swapaxes(0, 1)),
        metrics=(("error", lambda outs, y: jnp.abs(outs - y.swapaxes(0, 1)).mean(-1)),),
    )
    _, history = trained(pipeline, (IMAGES, targets), epochs=6)
    assert history.loss[-1] < history.loss[0]
    found = evaluated(pipeline, IMAGES, targets)
    outs = sj.apply(NET, PARAMS, sj.constant(IMAGES, T))[1]
    by_hand = outs - targets.swapaxes(0, 1)
    close(found.loss, 0.5 * (by_hand**2).sum(-1).mean())
    close(found.metrics["error"], jnp.abs(by_hand).mean())


def test_several_inputs_and_targets():
    inputs = {"left": (IMAGES[:, :4] * 255).astype(np.uint8), "right": IMAGES[:, 4:]}
    targets = {"label": LABELS, "brightness": IMAGES.mean(1)}

    def encode(key, inputs):
        left, right = sj.bernoulli(key, inputs["left"], T), sj.constant(inputs["right"], T)
        return jnp.concatenate([left, right], axis=-1)

    def loss(scores, targets):
        error = scores.mean(-1) - targets["brightness"]
        return sj.cross_entropy(scores, targets["label"]) + error**2

    pipeline = BASE._replace(
        encode=encode,
        loss=loss,
        metrics=(("accuracy", lambda s, y: sj.metrics.correct(s, y["label"])),),
        augment=lambda key, inputs: inputs | {"right": inputs["right"][:, ::-1]},
    )
    _, history = trained(pipeline, (inputs, targets), epochs=6)
    assert history.loss[-1] < history.loss[0]
    wrong = targets | {"label": LABELS + 1}
    with pytest.raises(ValueError, match=r"train_set: labels must lie in \[0, 3\).*from 1 to 3"):
        trained_at_once(pipeline, (inputs, wrong))
    with pytest.raises(ValueError, match=r"train_set: images must be .*got values from .* to 25"):
        trained_at_once(pipeline, (inputs | {"right": IMAGES[:, 4:] * 255}, targets))
    with pytest.raises(ValueError, match=r"train_set targets\['label'\] must have shape \[24, ..."):
        trained_at_once(pipeline, (inputs, targets | {"label": LABELS[:5]}))


def trained_at_once(pipeline, train_set):
    return sj.train_epochs(
        lambda hparams, n: pipeline, sj.TrainConfig(1, 8), KEY, (), train_set, train_set
    )


def test_no_metrics():
    found = evaluated(BASE._replace(metrics=()), IMAGES, LABELS)
    assert found.metrics == OrderedDict()
    assert found.headline is found.loss


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        ((("a", sj.metrics.accuracy),), ValueError, r"metric a must return .*\[10\], .*got \[\]"),
        ((("a", len), ("a", len)), ValueError, "different names"),
    ],
)  # fmt: skip
def test_metrics_that_are_none(metrics, error, message):
    with pytest.raises(error, match=message):
        evaluated(BASE._replace(metrics=metrics), IMAGES, LABELS)


# Weights ------------------------------------------------------------------------------------------


def gradient(pipeline, batch):
    (loss, metrics), slope = jax.value_and_grad(loss_of(pipeline), has_aux=True)(PARAMS, KEY, batch)
    return loss, metrics, slope


@pytest.mark.heavy
def test_weights_count_examples_several_times_or_not_at_all():
    weights = np.array([0, 1, 2, 3] * (N // 4), np.float32)
    repeated = np.repeat(np.arange(N), weights.astype(int))
    garbage = np.where(weights[:, None] > 0, IMAGES, np.nan)
    data = garbage, np.where(weights > 0, LABELS, 0), weights
    whole = gradient(BASE, (IMAGES[repeated], LABELS[repeated]))
    close(jax.jit(lambda b: gradient(BASE, b))(data), whole)
    found, wanted = evaluated(BASE, *data), evaluated(BASE, IMAGES[repeated], LABELS[repeated])
    close((found.loss, found.metrics), (wanted.loss, wanted.metrics))
    only = evaluated(BASE, IMAGES[weights > 0], LABELS[weights > 0])  # each example once
    close(found[2:-1], only[2:-1])
    assert (float(found.counts.weight), float(found.counts.examples)) == (weights.sum(), 18)


@pytest.mark.heavy
def test_a_run_with_weights_of_1_is_the_run_without():
    wanted = trained(BASE, (IMAGES, LABELS))
    found = trained(BASE, (IMAGES, LABELS, np.ones(N, np.float32)), test_set=(IMAGES, LABELS))
    close(found[0].params, wanted[0].params)
    close(found[1], wanted[1])


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(5, np.float32), ValueError, r"weights must have shape \[24, ...\]"),
        (-np.ones(N), ValueError, "weights must be finite, at least 0 and not all 0, got .* -1"),
        (np.zeros(N), ValueError, "not all 0"),
        (np.full(N, np.nan), ValueError, "weights must be finite"),
        ([1.0] * N, TypeError, r"weights\[0\] must be an array"),
        (np.ones((N, 1)), ValueError, r"weights must have shape \[24\], got \[24, 1\]"),
    ],
)
def test_weights_are_checked(weights, error, message):
    with pytest.raises(error, match=message):
        evaluated(BASE, IMAGES, LABELS, weights)
    with pytest.raises(error, match=f"train_set .*{message}"):
        trained_at_once(BASE, (IMAGES, LABELS, weights))


# Parts of a set -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weights",
    [pytest.param(None, marks=pytest.mark.heavy), RNG.random(N).astype(np.float32)],
)
def test_evaluations_of_parts_merge_into_that_of_the_whole(weights):
    # Some units fire in one part alone, so that fractions of silent units do not average.
    net = sj.serial(sj.dense(40, sj.lif(threshold=0.7)), sj.dense(C, sj.lif()))
    pipeline, params = BASE._replace(network=net), net.init(KEY, (F,))[0]
    data = (IMAGES, LABELS) if weights is None else (IMAGES, LABELS, weights)
    cuts = [slice(0, 3), slice(3, 4), slice(4, N)]
    parts = [evaluated(pipeline, *(x[c] for x in data), params=params) for c in cuts]
    whole = evaluated(pipeline, *data, params=params)
    merged = merge_evaluations(parts)
    assert isinstance(merged, Evaluation)
    close(merged, whole)
    silent = np.array([part.silent_fraction[0] for part in parts])
    assert whole.silent_fraction[0] < silent.min()
    close(merge_evaluations([merge_evaluations(parts[:2]), parts[2]]), whole)


def test_evaluations_that_do_not_merge():
    one = evaluated(BASE, IMAGES, LABELS)
    with pytest.raises(ValueError, match="at least one Evaluation, got none"):
        merge_evaluations([])
    with pytest.raises(TypeError, match="evaluations must be results of evaluate"):
        merge_evaluations([one, 0.5])
    with pytest.raises(ValueError, match="same metrics and layers"):
        merge_evaluations([one, one._replace(metrics={"error": one.loss})])
    with pytest.raises(ValueError, match="unit_rates, which those of a History lack"):
        merge_evaluations([one._replace(unit_rates=())])


# Hidden spikes in the loss ------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_loss_of_hidden_spikes():
    def quiet(states, targets):
        return 3.0 * sj.losses.activity_penalty(states[0].spikes, target=0.05)

    def by_hand(params):
        states, outs = sj.record(NET, params, sj.constant(IMAGES, T))
        return (sj.cross_entropy(sj.rate(outs), LABELS) + quiet(states, LABELS)).mean()

    pipeline = BASE._replace(auxiliary_loss=quiet)
    loss, _, slope = gradient(pipeline, (IMAGES, LABELS))
    close((loss, slope), jax.value_and_grad(by_hand)(PARAMS))
    rates = [
        trained(p, (IMAGES, LABELS), epochs=20)[1].test.firing_rate[-1, 0] for p in (BASE, pipeline)
    ]
    assert abs(rates[1] - 0.05) < abs(rates[0] - 0.05) / 2


def test_hidden_losses_of_another_shape():
    broken = BASE._replace(auxiliary_loss=lambda states, targets: states[0].spikes)
    with pytest.raises(ValueError, match=r"auxiliary_loss must return .* got \[5, 24, 8\]"):
        gradient(broken, (IMAGES, LABELS))


# Optimizers ---------------------------------------------------------------------------------------

OPTIMIZERS = {
    "plateau": optax.chain(
        optax.sgd(0.3), optax.contrib.reduce_on_plateau(patience=1, factor=0.5, rtol=0.5)
    ),
    "polyak": optax.polyak_sgd(max_learning_rate=0.5),
    "lbfgs": optax.lbfgs(),
}


@pytest.mark.parametrize(
    "name", ["plateau", *(pytest.param(n, marks=pytest.mark.heavy) for n in ("polyak", "lbfgs"))]
)
def test_optimizers_that_see_the_loss(name):
    pipeline = BASE._replace(optimizer=OPTIMIZERS[name])
    state, history = trained(pipeline, (IMAGES, LABELS), epochs=8, batch_size=N)
    assert history.loss[-1] < history.loss[0]
    if name == "plateau":
        assert state.opt_state[1].scale < 1
    # One update by hand.
    batch = IMAGES, LABELS
    tx = OPTIMIZERS[name]
    start = sj.TrainState(PARAMS, tx.init(PARAMS), KEY, jnp.int32(0))
    loss_fn = loss_of(pipeline)
    after, (loss, metrics) = jax.jit(make_train_step(loss_fn, tx))(start, batch)

    @jax.jit
    def by_hand(params):
        value_fn = lambda p: loss_fn(p, jax.random.fold_in(KEY, 0), batch)[0]  # noqa: E731
        value, grad = jax.value_and_grad(value_fn)(params)
        updates, _ = tx.update(
            grad, tx.init(params), params, value=value, grad=grad, value_fn=value_fn
        )
        return optax.apply_updates(params, updates), value

    close((after.params, loss), by_hand(PARAMS), rtol=1e-4)
    assert list(metrics) == ["accuracy"]


def averaged(inner, decay):
    """An optimizer that keeps an exponential moving average of the parameters."""

    def update(grads, state, params):
        updates, after = inner.update(grads, state[0], params)
        new = optax.apply_updates(params, updates)
        return updates, (after, optax.incremental_update(new, state[1], 1 - decay))

    return optax.GradientTransformation(lambda p: (inner.init(p), p), update)


@pytest.mark.parametrize(
    ("optimizer", "eval_params"),
    [
        (averaged(optax.sgd(0.3), 0.9), lambda opt_state, params: opt_state[1]),
        (
            optax.contrib.schedule_free_sgd(0.3, warmup_steps=2),
            optax.contrib.schedule_free_eval_params,
        ),
    ],
    ids=["moving average", "schedule-free"],
)
def test_other_parameters_for_evaluation(optimizer, eval_params):
    pipeline = BASE._replace(optimizer=optimizer, eval_params=eval_params)
    state, history = trained(pipeline, (IMAGES, LABELS))
    params = eval_params(state.opt_state, state.params)
    last = jax.tree.map(lambda x: x[-1], history.test)
    close(last.loss, evaluated(pipeline, IMAGES, LABELS, params=params).loss)
    other = evaluated(pipeline, IMAGES, LABELS, params=state.params).loss
    assert abs(float(other - last.loss)) > 1e-4


# Own loops ----------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_the_training_loss_in_an_own_loop():
    config = sj.TrainConfig(epochs=1, batch_size=N)
    build = lambda hparams, n: BASE  # noqa: E731
    start = init_state(build, config, KEY, (), (IMAGES, LABELS))
    step = jax.jit(make_train_step(loss_of(BASE), BASE.optimizer))
    after, (loss, _) = step(start, (IMAGES, LABELS))
    state, history = trained(BASE, (IMAGES, LABELS), epochs=1, batch_size=N)
    close((after.params, loss), (state.params, history.loss[0]))
    with pytest.raises(TypeError, match="pipeline must be a Pipeline, got Layer"):
        loss_of(NET)
