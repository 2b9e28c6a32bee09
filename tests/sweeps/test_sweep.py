"""Sweeps: whole runs under jit(vmap(vmap(train))), each equal to its lone run.

The real sweep is in float64: batching a matrix product may reorder its sums, and in float32 a
different sum can flip a spike, after which two equally good runs differ.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from stbp_jax import (
    Pipeline,
    TrainConfig,
    bernoulli,
    constant,
    data,
    dense,
    flatten,
    gaussian,
    grid,
    half_squared_error,
    lif,
    make_train,
    rate,
    serial,
    summarize,
    sweep,
)
from stbp_jax.sweeps import sweep_chunks, sweep_epochs
from stbp_jax.training import Evaluation, History

WIDTHS = [0.05, 0.2, 0.5, 2.0]
KEYS = jax.random.split(jax.random.key(0), 3)


def build(hparams, num_updates):
    neuron = lif(decay=0.5, threshold=0.5, surrogate=gaussian(hparams["width"]))
    return Pipeline(
        encode=lambda key, images: bernoulli(key, images, 8),
        network=serial(flatten(), dense(32, neuron), dense(10, neuron)),
        readout=rate,
        loss=half_squared_error,
        optimizer=optax.adam(5e-3),
    )


train = make_train(build, TrainConfig(epochs=2, batch_size=50, eval_batch_size=200))


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    (images, labels), (test_images, test_labels) = data.load("digits")
    return (images[:300], labels[:300]), (test_images[:100], test_labels[:100])


def close(actual, expected):
    # Loss and parameters are float64, the rest of a history is float32.
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        if a.dtype == jnp.float64:
            np.testing.assert_allclose(a, e, rtol=0, atol=1e-9)
        elif jnp.issubdtype(a.dtype, jnp.floating):
            np.testing.assert_allclose(a, e, rtol=1e-6, atol=1e-7)


@pytest.mark.heavy
def test_a_sweep_in_one_program_is_its_lone_runs(digits, x64):
    traces = []

    def counted(key, hparams, train_set, test_set):
        traces.append(None)
        return train(key, hparams, train_set, test_set)

    over_seeds = jax.vmap(counted, (0, None, None, None))
    cells = jax.jit(jax.vmap(over_seeds, (None, 0, None, None)))
    points, rows = grid(width=WIDTHS)
    states, histories = cells(KEYS, points, *digits)
    assert len(traces) == 1
    assert histories.loss.shape == (4, 3, 2)
    assert histories.test.firing_rate.shape == (4, 3, 2, 2)
    # Runs that learn, and differ: in seeds and in widths.
    assert np.unique(histories.test.loss).size == 4 * 3 * 2
    assert np.all(histories.loss[..., 1] < histories.loss[..., 0])

    lone = jax.jit(train)
    for h, row in enumerate(rows):
        for s in range(3):
            state, history = lone(KEYS[s], {"width": jnp.asarray(row["width"])}, *digits)
            close(jax.tree.map(lambda x, h=h, s=s: x[h, s], histories), history)
            close(jax.tree.map(lambda x, h=h, s=s: x[h, s], states.params), state.params)

    whole = sweep(train, KEYS, points, *digits)
    close(whole, histories)
    parts = sweep(train, KEYS, points, *digits, chunk=3)  # 3 + 1, filled up
    close(parts, histories)


def line(key, hparams, train_set, test_set):
    """A run that returns its point and seed; no spike can flip in it."""
    del test_set
    value = hparams["a"] * 10 + hparams["b"] + jax.random.uniform(key) + jnp.sum(train_set[0])
    return None, {"value": value + jnp.arange(2.0), "a": hparams["a"]}


SETS = (np.ones((2, 2), np.float32), np.zeros(2, np.int32)), (np.ones((1, 2)), np.zeros(1))


@pytest.mark.parametrize("chunk", [None, 1, 2, 3, 4, 5, 6, 100])
def test_run_has_points_then_seeds_whatever_the_chunk(chunk):
    points, rows = grid(a=[1, 2, 3], b=[0.1, 0.2])
    value = sweep(line, KEYS, points, *SETS, chunk=chunk)
    assert value["value"].shape == (6, 3, 2)
    for h, row in enumerate(rows):
        for s in range(3):
            expected = row["a"] * 10 + row["b"] + jax.random.uniform(KEYS[s]) + 4 + np.arange(2)
            np.testing.assert_allclose(value["value"][h, s], expected, rtol=1e-6)
            assert value["a"][h, s] == row["a"]


@pytest.mark.parametrize("chunk", [1, 4, 6, 100])
def test_chunks_come_as_they_end(chunk):
    points, _ = grid(a=[1, 2, 3], b=[0.1, 0.2])
    calls = []

    def counted(key, hparams, *sets):
        jax.debug.callback(lambda a: calls.append(float(a)), hparams["a"])
        return line(key, hparams, *sets)

    parts = []
    for part in sweep_chunks(counted, KEYS, points, *SETS, chunk=chunk):
        jax.effects_barrier()
        parts.append(part)
        begun = 3 * min(chunk, 6) * len(parts)  # three seeds; the last point fills the last chunk
        assert len(calls) == begun
    assert [len(part["a"]) for part in parts] == [
        min(chunk, 6 - first) for first in range(0, 6, chunk)
    ]
    whole = sweep(line, KEYS, points, *SETS)
    jax.tree.map(
        np.testing.assert_array_equal, jax.tree.map(lambda *x: np.concatenate(x), *parts), whole
    )


def test_chunks_are_checked_at_the_call():
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        sweep_chunks(line, KEYS, grid(a=[1], b=[1])[0], *SETS, chunk=0)
    with pytest.raises(TypeError, match="train must be callable, got None"):
        sweep_chunks(None, KEYS, grid(a=[1], b=[1])[0], *SETS, chunk=1)


@pytest.mark.parametrize("chunk", [None, 4])
def test_run_compiles_once(chunk):
    traces = []

    def counted(*args):
        traces.append(None)
        return line(*args)

    points, _ = grid(a=[1, 2, 3], b=[0.1, 0.2, 0.3])  # H = 9 is not a multiple of 4
    sweep(counted, KEYS, points, *SETS, chunk=chunk)
    assert len(traces) == 9 + 1  # each point is checked, and one makes the program


def test_run_takes_points_of_any_shape():
    def matrix(key, hparams, train_set, test_set):
        return None, jnp.sum(hparams["decays"]) * hparams["scale"]

    decays = np.arange(12, dtype=np.float32).reshape(3, 4)
    points = {"decays": decays, "scale": np.array([1.0, 10.0, 100.0], np.float32)}
    value = sweep(matrix, KEYS[:1], points, *SETS, chunk=2)
    np.testing.assert_array_equal(value, [[6], [220], [3800]])


# Epoch by epoch ---------------------------------------------------------------------------------


def small(hparams, num_updates):
    return Pipeline(
        encode=lambda key, images: constant(images, 3),
        network=dense(3, lif(decay=0.5, threshold=0.25, surrogate=gaussian(hparams["width"]))),
        readout=rate,
        loss=half_squared_error,
        optimizer=optax.sgd(0.1, momentum=0.9),
    )


SMALL = small, TrainConfig(epochs=3, batch_size=4, eval_batch_size=4)
WIDE = {"width": np.array([0.25, 0.5, 1.0])}


def few(seed):
    """A training and a test set."""
    draw = np.random.default_rng(seed)
    return tuple((draw.random((n, 5)), draw.integers(0, 3, n)) for n in (8, 4))


def stacked(histories):
    return jax.tree.map(lambda *leaves: np.stack(leaves, 2), *histories)


@pytest.fixture(scope="module")
def by_epochs():
    with jax.enable_x64(True):
        return list(sweep_epochs(*SMALL, KEYS, WIDE, *few(0), chunk=2))  # 2 + 1, filled up


def numbers(tree):
    typed = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
    return jax.tree.map(lambda x: np.asarray(jax.random.key_data(x) if typed(x) else x), tree)


@pytest.mark.heavy
def test_a_sweep_by_epochs_is_the_whole_sweep(by_epochs, x64):
    assert len(by_epochs) == 3
    whole = sweep(make_train(*SMALL), KEYS, WIDE, *few(0))
    close(stacked([history for _, history in by_epochs]), whole)
    states, history = by_epochs[-1]
    assert history.test.firing_rate.shape == (3, 3, 1)
    assert states.step.tolist() == [[6] * 3] * 3
    assert np.unique(states.params.synapse.kernel[..., 0, 0]).size == 9


def test_a_resumed_sweep_is_the_sweep_that_was_never_stopped(by_epochs, x64):
    states, _ = by_epochs[0]
    saved = numbers(states)  # as in a file
    states = saved._replace(key=jax.random.wrap_key_data(saved.key))
    resumed = list(sweep_epochs(*SMALL, KEYS, WIDE, *few(0), states=states, chunk=2))
    assert len(resumed) == 2
    for (got, history), (wanted, expected) in zip(resumed, by_epochs[1:], strict=True):
        jax.tree.map(np.testing.assert_array_equal, numbers(got), numbers(wanted))
        jax.tree.map(np.testing.assert_array_equal, history, expected)
    assert list(sweep_epochs(*SMALL, KEYS, WIDE, *few(0), states=resumed[-1][0])) == []


@pytest.mark.heavy
def test_each_seed_may_have_its_own_sets(x64):
    sets = [few(seed) for seed in range(3)]
    own = jax.tree.map(lambda *arrays: np.stack(arrays), *sets)
    whole = sweep(make_train(*SMALL), KEYS, WIDE, *own, sets_axis=0)
    by_epoch = sweep_epochs(*SMALL, KEYS, WIDE, *own, sets_axis=0)
    close(stacked([history for _, history in by_epoch]), whole)
    lone = jax.jit(make_train(*SMALL))
    for s in range(3):
        history = lone(KEYS[s], {"width": 0.5}, *sets[s])[1]
        close(jax.tree.map(lambda leaf, s=s: leaf[1, s], whole), history)


# Schedules whose peak is a hyper-parameter -------------------------------------------------------


def warm_up(peak, num_updates):
    """A schedule of optax with the peak 1, times the peak, which may be traced.

    `optax.warmup_cosine_decay_schedule` compares its peak to 0, which a traced number does not
    allow.
    """
    unit = optax.warmup_cosine_decay_schedule(0.0, 1.0, 2, num_updates, end_value=0.1)
    return optax.sgd(lambda step: peak * unit(step))


def injected(peak, num_updates):
    """The learning rate is a part of the optimizer's state, where a run may change it."""
    return optax.inject_hyperparams(optax.sgd)(learning_rate=peak)


def cosine(peak, num_updates):
    """Many schedules of optax only multiply by their peak."""
    return optax.sgd(optax.cosine_decay_schedule(peak, num_updates))


BY_HAND = {
    warm_up: lambda peak, n: optax.sgd(
        optax.warmup_cosine_decay_schedule(0.0, peak, 2, n, end_value=0.1 * peak)
    ),
    injected: lambda peak, n: optax.sgd(peak),
    cosine: lambda peak, n: optax.sgd(optax.cosine_decay_schedule(peak, n)),
}


@pytest.mark.parametrize(
    "optimizer", [warm_up, *(pytest.param(f, marks=pytest.mark.heavy) for f in (injected, cosine))]
)
def test_a_schedule_of_a_traced_peak(optimizer, x64):
    peaks = [0.05, 0.2, 1.0]

    def build_of(optimizer):
        def build(hparams, num_updates):
            pipeline = small({"width": 0.5}, num_updates)
            return pipeline._replace(optimizer=optimizer(hparams["peak"], num_updates))

        return build

    points, _ = grid(peak=peaks)
    swept = sweep(make_train(build_of(optimizer), SMALL[1]), KEYS[:1], points, *few(0))
    lone = make_train(build_of(BY_HAND[optimizer]), SMALL[1])
    for h, peak in enumerate(peaks):  # concrete: closed over, not traced
        run = jax.jit(lambda key, *sets, peak=peak: lone(key, {"peak": peak}, *sets)[1])
        close(jax.tree.map(lambda x, h=h: x[h, 0], swept), run(KEYS[0], *few(0)))
    assert np.unique(swept.loss[:, 0, -1]).size == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"sets_axis": 0},
            r"train_set must have arrays \[S, ...\] with S = 3 .*got \[8, 5\]",
        ),
        ({"sets_axis": 1}, "sets_axis must be 0 or None, got 1"),
        ({"chunk": 0}, "chunk must be at least 1, got 0"),
        ({"keys": KEYS[:2]}, r"states.* must have shape \[H, S, ...\] = \[3, 2"),
        ({"step": 3}, r"states must come from the end of an epoch of 2 updates, got \[3\]"),
        ({"step": np.array([[2], [4], [2]])}, r"end of an epoch of 2 updates, got \[2, 4\]"),
    ],
)
def test_arguments_of_a_sweep_by_epochs(by_epochs, x64, changed, message):
    keys, states = changed.pop("keys", KEYS), by_epochs[0][0]
    states = states._replace(step=np.zeros((3, 3), np.int32) + changed.pop("step", states.step))
    with pytest.raises(ValueError, match=message):
        sweep_epochs(*SMALL, keys, WIDE, *few(0), states=states, **changed)


def test_grid_has_its_last_axis_fastest():
    points, rows = grid(width=[0.1, 1.0], learning_rate=[1e-3, 2e-3, 3e-3])
    assert list(points) == ["width", "learning_rate"]
    np.testing.assert_allclose(points["width"], [0.1, 0.1, 0.1, 1, 1, 1])
    np.testing.assert_allclose(points["learning_rate"], [1e-3, 2e-3, 3e-3] * 2)
    assert rows[1] == {"width": 0.1, "learning_rate": 2e-3}
    assert len(rows) == 6
    for name, leaf in points.items():
        assert leaf.dtype == jnp.float32
        np.testing.assert_allclose(leaf, [row[name] for row in rows], rtol=1e-7)


def test_grid_takes_any_numbers():
    points, rows = grid(steps=range(1, 3), width=np.array([0.5], np.float32))
    assert points["steps"].dtype == jnp.float32
    assert rows == [{"steps": 1.0, "width": 0.5}, {"steps": 2.0, "width": 0.5}]


def history(accuracy):
    zeros = np.zeros(np.shape(accuracy))
    metrics = {"accuracy": np.asarray(accuracy)}
    test = Evaluation(zeros, metrics, zeros, zeros, zeros, zeros)
    return History(zeros, metrics, test, zeros)


def test_summary_by_hand():
    value = history([[[0.5, 0.9, 0.8], [0.1, 0.6, 0.6]], [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]])
    first, second = summarize(value, [{"width": 0.1}, {"width": 1.0}])
    assert list(first)[0] == "width"
    assert (first["width"], first["seeds"]) == (0.1, 2)
    assert first["last_mean"] == pytest.approx(0.7)
    assert first["last_sd"] == pytest.approx(0.2 / 2**0.5)
    assert first["best_mean"] == pytest.approx(0.75)
    assert first["best_sd"] == pytest.approx(0.3 / 2**0.5)
    assert second == {
        "width": 1.0, "seeds": 2, "diverged": 0, "last_mean": 1.0, "last_sd": 0,
        "best_mean": 1.0, "best_sd": 0,
    }  # fmt: skip


def test_summary_of_one_seed_has_no_deviation():
    (line,) = summarize(history([[[0.25, 0.5]]]), [{}])
    assert line["last_mean"] == 0.5
    assert np.isnan(line["last_sd"])
    assert np.isnan(line["best_sd"])


@pytest.mark.parametrize("name", ["images", "targets"])
def test_run_refuses_bad_sets_before_it_compiles(name):
    # Inside the compiled program the values are unknown.
    from stbp_jax import (
        Pipeline,
        TrainConfig,
        dense,
        half_squared_error,
        make_train,
        rate,
    )

    images, labels = np.full((8, 4), 0.5, np.float32), np.zeros(8, np.int32)
    bad = (images * 255, labels) if name == "images" else (images, labels + 7)

    def build(hparams, num_updates):
        return Pipeline(
            lambda key, x: constant(x, 2),
            dense(3),
            rate,
            half_squared_error,
            optax.sgd(hparams["lr"]),
        )

    train = make_train(build, TrainConfig(epochs=1, batch_size=4))
    with pytest.raises(ValueError, match=f"train_set: {name} must"):
        sweep(train, KEYS, {"lr": np.ones(2, np.float32)}, bad, (images, labels))
