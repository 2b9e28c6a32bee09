"""Runs learn, repeat bit for bit, resume, and report correct metrics.

All tests are in float64: two programs of the same run (another outer loop, another batch size) sum
in different orders, which in float32 can flip a spike.
"""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from stbp_jax import (
    Pipeline,
    TrainConfig,
    apply,
    apply_with_stats,
    bernoulli,
    constant,
    cross_entropy,
    data,
    dense,
    dropout,
    flatten,
    gaussian,
    half_squared_error,
    lif,
    make_train,
    rate,
    serial,
    train_epochs,
)
from stbp_jax import TrainState as State
from stbp_jax.metrics import accuracy
from stbp_jax.neurons import activation
from stbp_jax.training import History, init_state, make_epoch, make_train_step

KEY = jax.random.key(3)
HPARAMS = {"width": 0.2, "decay": 0.5, "threshold": 0.3, "learning_rate": 5e-3}
CONFIG = TrainConfig(epochs=4, batch_size=20, eval_batch_size=16)
STATISTICS = ("firing_rate", "silent_fraction", "in_window", "operations")


@pytest.fixture(scope="module", autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def neuron(hparams):
    return lif(
        decay=hparams["decay"],
        threshold=hparams["threshold"],
        surrogate=gaussian(hparams["width"]),
    )


def build(hparams, num_updates):
    network = serial(flatten(), dense(32, neuron(hparams)), dense(10, neuron(hparams)))
    return Pipeline(
        encode=lambda key, images: bernoulli(key, images, 6),
        network=network,
        readout=rate,
        loss=half_squared_error,
        optimizer=optax.adam(hparams["learning_rate"]),
    )


def build_direct(hparams, num_updates):
    return build(hparams, num_updates)._replace(encode=lambda key, images: constant(images, 6))


def build_small(hparams, num_updates, *before):
    """One layer under gradient descent: less to compile."""
    network = serial(flatten(), *before, dense(10, neuron(hparams)))
    optimizer = optax.sgd(hparams["learning_rate"])
    return build_direct(hparams, num_updates)._replace(network=network, optimizer=optimizer)


@pytest.fixture(scope="module")
def digits():
    """70 training and 37 test samples: neither is a multiple of its batch size."""
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    train, test = data.load("digits")
    return (train.images[:70], train.labels[:70]), (test.images[:37], test.labels[:37])


@pytest.fixture(scope="module")
def train():
    return jax.jit(make_train(build, CONFIG))


@pytest.fixture(scope="module")
def whole(train, digits):
    return train(KEY, HPARAMS, *digits)


@pytest.fixture(scope="module")
def from_host(digits):
    """All epochs; builds after the first; how many fewer builds a second run makes."""
    traces = []

    def counting(hparams, num_updates):
        traces.append(num_updates)
        return build(hparams, num_updates)

    run = train_epochs(counting, CONFIG, KEY, HPARAMS, *digits)
    first = next(run)
    before = len(traces)
    pairs = [first, *run]
    after_first = len(traces) - before
    other = {**HPARAMS, "learning_rate": 2 * HPARAMS["learning_rate"]}
    next(train_epochs(counting, CONFIG, jax.random.key(9), other, *digits))
    return pairs, after_first, before - (len(traces) - before - after_first)


def numbers(tree):
    """The tree with typed keys as the numbers that they hold, so that it compares."""

    def plain(leaf):
        typed = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if typed else leaf)

    return jax.tree.map(plain, tree)


def assert_same(actual, expected):
    chex.assert_trees_all_equal(numbers(actual), numbers(expected), strict=True)


def assert_close(actual, expected, **tolerance):
    chex.assert_trees_all_close(numbers(actual), numbers(expected), **tolerance)


# Learning ---------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_overfits_sixteen_samples(digits):
    few = tuple(x[:16] for x in digits[0])
    with jax.enable_x64(False):
        train = jax.jit(make_train(build, TrainConfig(epochs=120, batch_size=16)))
        _, history = train(KEY, HPARAMS, few, few)
    assert float(history.loss[0]) > 0.3
    assert float(history.loss[-1]) < 0.02
    assert float(history.test.metrics["accuracy"][-1]) == 1.0


def test_a_network_without_spiking_layers_trains(digits):
    def ann(hparams, num_updates):
        return Pipeline(
            encode=lambda key, images: constant(images, 1),
            network=serial(flatten(), dense(24, activation(jax.nn.relu)), dense(10)),
            readout=rate,
            loss=cross_entropy,
            optimizer=optax.adam(1e-2),
        )

    few = tuple(x[:16] for x in digits[0])
    _, history = jax.jit(make_train(ann, TrainConfig(40, 16)))(KEY, {}, few, few)
    assert float(history.test.metrics["accuracy"][-1]) == 1.0
    for name in STATISTICS:
        assert getattr(history.test, name).shape == (40, 0)


def test_a_train_step_is_an_update_of_the_optimizer():
    def loss_fn(w, key, x):
        noise = jax.random.normal(key)
        return jnp.sum((w * x + noise) ** 2), noise

    optimizer = optax.sgd(0.1, momentum=0.9)
    w, x = jnp.array([1.0, -2.0]), jnp.array([0.5, 1.0])
    state = State(w, optimizer.init(w), jax.random.key(0), jnp.int32(7))
    after, (loss, noise) = make_train_step(loss_fn, optimizer)(state, x)
    # The key of an update depends on the run's key and on its number alone.
    key = jax.random.fold_in(state.key, 7)
    expected_loss, expected_noise = loss_fn(w, key, x)
    np.testing.assert_allclose(loss, expected_loss)
    np.testing.assert_array_equal(noise, expected_noise)
    np.testing.assert_allclose(after.params, w - 0.1 * 2 * x * (w * x + noise))
    assert int(after.step) == 8
    assert_same(after.key, state.key)


# Metrics of a run -------------------------------------------------------------------------------


def test_history_shapes(whole):
    state, history = whole
    assert isinstance(history, History)
    for path, leaf in jax.tree.leaves_with_path(history):
        name = jax.tree_util.keystr(path)
        per_layer = name.removeprefix(".test.") in STATISTICS
        assert leaf.shape == ((4, 2) if per_layer else (4,)), name
        assert np.all(np.isfinite(leaf)), name
    assert list(history.metrics) == list(history.test.metrics) == ["accuracy"]
    assert history.headline is history.metrics["accuracy"]
    assert int(state.step) == 4 * (70 // 20)
    assert state.step.dtype == jnp.int32


def test_history_is_what_the_network_does(digits):
    # One update on the whole set, one evaluation batch, constant input: all can be done again.
    train_set, test_set = digits
    parts = build_direct, TrainConfig(epochs=1, batch_size=70)
    network = build(HPARAMS, 1).network

    @jax.jit
    def run():
        state = init_state(*parts, KEY, HPARAMS, train_set)
        after, history = make_epoch(*parts)(KEY, HPARAMS, state, train_set, test_set)
        before = rate(apply(network, state.params, constant(train_set[0], 6))[1])
        _, outs, stats = apply_with_stats(network, after.params, constant(test_set[0], 6))
        return history, before, rate(outs), stats

    history, before, scores, stats = run()
    assert_close(history.loss, half_squared_error(before, train_set[1]).mean(), rtol=1e-9)
    assert_close(history.metrics["accuracy"], accuracy(before, train_set[1]), rtol=1e-6)
    assert_close(history.test.loss, half_squared_error(scores, test_set[1]).mean(), rtol=1e-9)
    assert_close(history.test.metrics["accuracy"], accuracy(scores, test_set[1]), rtol=1e-6)
    for i, layer in enumerate(stats):
        assert_close(history.test.firing_rate[i], layer.firing_rate.mean(), rtol=1e-5)
        assert_close(history.test.silent_fraction[i], jnp.mean(layer.firing_rate == 0), rtol=1e-5)
        assert_close(history.test.in_window[i], layer.in_window, rtol=1e-5)
        assert_close(history.test.operations[i], layer.operations, rtol=1e-5)


@pytest.mark.heavy
def test_evaluation_batches_change_nothing(digits):
    def run(eval_batch_size):
        config = CONFIG._replace(epochs=2, eval_batch_size=eval_batch_size)
        return jax.jit(make_train(build_small, config))(KEY, HPARAMS, *digits)

    state, history = run(500)  # all 37 at once
    for size in (16, 36):  # two and a rest of 5; one and a rest of 1
        other_state, other = run(size)
        assert_close(other_state.params, state.params, rtol=0, atol=1e-12)
        assert_close(other, history, rtol=1e-5, atol=1e-7)  # some fields are float32


def test_test_draws_are_the_same_in_every_epoch(train, digits):
    _, history = train(KEY, HPARAMS | {"learning_rate": 0.0}, *digits)
    for leaf in map(np.asarray, jax.tree.leaves(history.test)):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[0], leaf.shape))
    assert len(set(np.asarray(history.loss).tolist())) == 4  # training draws are fresh ones


def test_every_epoch_shuffles_and_leaves_the_rest_out(digits):
    seen = []

    def spying(hparams, num_updates):
        """A loss that records its examples."""

        def loss(scores, labels):
            jax.debug.callback(lambda x: seen.append(np.asarray(x).tolist()), labels, ordered=True)
            return half_squared_error(scores, labels)

        return Pipeline(lambda key, x: x[None], dense(10), rate, loss, optax.sgd(0.1))

    train_set = np.eye(7, dtype=np.float32), np.arange(7, dtype=np.int32)
    test_set = np.ones((1, 7), np.float32), np.array([9], np.int32)
    train = jax.jit(make_train(spying, TrainConfig(epochs=5, batch_size=3)))
    jax.block_until_ready(train(KEY, {}, train_set, test_set))
    jax.effects_barrier()
    batches = [labels for labels in seen if len(labels) == 3]
    assert len(batches) == 10
    orders = [first + second for first, second in zip(batches[::2], batches[1::2], strict=True)]
    for order in orders:
        assert len(set(order)) == 6  # none twice
    assert len(set(map(tuple, orders))) > 1
    assert set(itertools.chain(*orders)) == set(range(7))  # none left out for ever


def test_dropout_acts_in_training_alone(digits):
    def dropping(hparams, num_updates):
        return build_small(hparams, num_updates, dropout(0.5))

    # Without learning, and with constant input, nothing but the mask can change the loss.
    hparams = HPARAMS | {"learning_rate": 0.0}
    few = tuple(x[:20] for x in digits[0])
    state, history = jax.jit(make_train(dropping, CONFIG))(KEY, hparams, few, few)
    network = dropping(hparams, 1).network
    scores = rate(jax.jit(lambda p: apply(network, p, constant(few[0], 6))[1])(state.params))
    undropped = float(half_squared_error(scores, few[1]).mean())
    np.testing.assert_allclose(history.test.loss, undropped, rtol=1e-9)
    losses = np.asarray(history.loss).tolist()
    assert len({*losses, undropped}) == 5


# Repeating, resuming ----------------------------------------------------------------------------


def test_same_key_same_run(train, whole, digits):
    assert_same(train(KEY, HPARAMS, *digits), whole)


def test_another_key_another_run(train, whole, digits):
    state, history = train(jax.random.key(4), HPARAMS, *digits)
    for ours, theirs in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(whole[0].params), strict=True
    ):
        assert np.any(ours != theirs)
    assert np.all(history.loss != whole[1].loss)


def test_epochs_are_those_of_the_whole_run(whole, from_host):
    state, history = whole
    pairs = from_host[0]
    assert [int(s.step) for s, _ in pairs] == [3, 6, 9, 12]
    stack = jax.tree.map(lambda *leaves: np.stack(leaves), *[h for _, h in pairs])
    assert_close(stack, history, rtol=1e-6, atol=1e-7)
    assert_close(pairs[-1][0].params, state.params, rtol=0, atol=1e-9)
    assert_same(pairs[-1][0].key, state.key)


def test_epochs_trace_once(from_host):
    pairs, traces_after_the_first, spared_by_the_second_run = from_host
    assert len(pairs) == 4
    assert traces_after_the_first == 0
    assert spared_by_the_second_run == 1  # its epoch is the first run's program


def test_a_resumed_run_is_the_run_that_was_never_stopped(from_host, digits):
    pairs = from_host[0]
    state, _ = pairs[1]
    saved = numbers(state)  # as in a file
    state = jax.tree.map(jnp.asarray, saved)._replace(key=jax.random.wrap_key_data(saved.key))
    assert_same(list(train_epochs(build, CONFIG, KEY, HPARAMS, *digits, state=state)), pairs[2:])


def test_a_finished_run_has_no_epochs_left(from_host, digits):
    state, _ = from_host[0][-1]
    assert list(train_epochs(build, CONFIG, KEY, HPARAMS, *digits, state=state)) == []


# Programs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [False, True])
def test_num_updates_is_always_that_of_the_whole_run(digits, host):
    # A schedule may be impossible for any other number: a warm-up longer than the run, for one.
    seen = set()

    def scheduled(hparams, num_updates):
        seen.add(num_updates)
        schedule = optax.warmup_cosine_decay_schedule(0.0, 1e-3, 5, num_updates)
        return build_direct(hparams, num_updates)._replace(optimizer=optax.adam(schedule))

    config = TrainConfig(epochs=4, batch_size=20)
    if host:
        next(train_epochs(scheduled, config, KEY, HPARAMS, *digits))
    else:
        jax.jit(make_train(scheduled, config)).trace(KEY, HPARAMS, *digits)
    assert seen == {4 * 3}


def test_one_trace_serves_all_hyper_parameters(digits):
    few = tuple(x[:20] for x in digits[0])
    train = make_train(build_direct, CONFIG._replace(epochs=2))

    @jax.jit
    @jax.vmap
    @chex.assert_max_traces(n=1)
    def sweep(hparams):
        return train(KEY, hparams, few, few)[1].test.loss[-1]

    for factor in (0.5, 0.7):
        # Even points are the base; in each odd one another hyper-parameter differs.
        points = {name: np.full(8, value) for name, value in HPARAMS.items()}
        for i, name in enumerate(points):
            points[name][2 * i + 1] *= factor
        losses = np.asarray(sweep(points))
        for i, name in enumerate(points):
            assert losses[2 * i] == losses[0]
            assert losses[2 * i + 1] != losses[0], name


def test_augmentation_is_for_training_alone(digits):
    """Blank training images train only biases; test images are unchanged."""
    seen = []

    def build_blank(hparams, num_updates):
        def blank(key, images):
            seen.append(images.shape)
            return jnp.zeros_like(images)

        return build_small(hparams, num_updates)._replace(augment=blank)

    config = TrainConfig(epochs=1, batch_size=10)
    state, history = jax.jit(make_train(build_blank, config))(KEY, HPARAMS, *digits)
    fresh = init_state(build_small, config, KEY, HPARAMS, digits[0])
    assert set(seen) == {(10, *digits[0][0].shape[1:])}
    first, last = (p[1].synapse.kernel for p in (fresh.params, state.params))
    np.testing.assert_array_equal(first, last)  # no input, no gradient
    assert history.test.operations.sum() > 0  # of the test set
