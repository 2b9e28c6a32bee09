"""Sweeps raise on bad points, grids and sets, and count runs that diverge."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from stbp_jax import (
    Pipeline,
    TrainConfig,
    constant,
    dense,
    gaussian,
    grid,
    half_squared_error,
    lif,
    make_train,
    rate,
    summarize,
    sweep,
    sweeps,
)
from stbp_jax.training import Evaluation, History, adversarial

KEYS = jax.random.split(jax.random.key(0), 3)


def history(accuracy):
    zeros = np.zeros(np.shape(accuracy))
    metrics = {"accuracy": np.asarray(accuracy)}
    test = Evaluation(zeros, metrics, zeros, zeros, zeros, zeros)
    return History(zeros, metrics, test, zeros)


# Every point is checked ---------------------------------------------------------------------------

EIGHT = np.full((8, 4), 0.5, np.float32), np.arange(8, dtype=np.int32) % 3


def small(hparams, num_updates):
    return Pipeline(
        encode=lambda key, images: constant(images, 2),
        network=dense(3, lif(surrogate=gaussian(hparams["width"]))),
        readout=rate,
        loss=half_squared_error,
        optimizer=optax.sgd(hparams["learning_rate"]),
        objective=functools.partial(adversarial, epsilon=hparams["epsilon"]),
    )


def points_of(**values):
    count = max(map(len, values.values()))
    plain = {"width": 1.0, "learning_rate": 0.1, "epsilon": 0.0}
    return {
        name: np.asarray(values.get(name, [value] * count), np.float32)
        for name, value in plain.items()
    }


@contextlib.contextmanager
def refused(error, message):
    """A sweep raises before anything is compiled or put on the device."""

    def fail(*args, **kwargs):
        pytest.fail("a bad sweep goes on")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "device_put", fail)
        with pytest.raises(error, match=message) as caught:
            yield caught


SWEPT = make_train(small, TrainConfig(epochs=2, batch_size=4))
FORMS = {
    "make_train": SWEPT,
    "jitted": jax.jit(SWEPT),
    "wrapped": lambda key, hparams, *sets: SWEPT(key, hparams, *sets),
}


@pytest.mark.parametrize("train", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("width", np.nan, "width must be positive and finite, got"),
        ("width", -1, "width must be positive and finite, got"),
        ("width", 0, "width must be positive and finite, got"),
        ("epsilon", -0.5, "epsilon must be at least 0 and finite, got"),
    ],
)
def test_a_bad_point_is_refused_wherever_it_is(train, name, bad, message):
    for place in (0, 2):
        values = [1.0, 1.0, 1.0]
        values[place] = bad
        with refused(ValueError, message) as caught:
            sweep(train, KEYS, points_of(**{name: values}), EIGHT, EIGHT)
        notes = [note for note in caught.value.__notes__ if note.startswith("at point")]
        assert [note[:15] for note in notes] == (["at point 2 of 3"] if place else [])


def test_a_hundred_points_cost_a_hundred_builds():
    built = []

    def counting(hparams, num_updates):
        built.append(hparams)
        return small(hparams, num_updates)

    train = make_train(counting, TrainConfig(epochs=1, batch_size=4))
    traced = []

    def traces(*args):
        traced.append(None)
        return train(*args)

    traces.check = train.check
    points = points_of(width=[1.0] * 99 + [0.0])
    with refused(ValueError, "width must be positive"):
        sweep(traces, KEYS, points, EIGHT, EIGHT)
    assert len(traced) == 1
    assert len(built) == 3 + 99  # the first: to be checked, to start and in an epoch


def test_a_wrapper_is_not_asked_about_hyper_parameters_of_its_own():
    # Wrappers inherit the attributes of what they wrap.
    @functools.wraps(SWEPT)
    def wider(key, hparams, *sets):
        more = {"width": hparams["width"] + 1, "epsilon": 0.0, "learning_rate": 0.1}
        return SWEPT(key, more, *sets)

    assert wider.check is SWEPT.check
    points = {"width": np.array([0.5, -2.0], np.float32)}
    with refused(ValueError, "width must be positive"):
        sweep(wider, KEYS, points, EIGHT, EIGHT)


def test_sets_of_a_jitted_run_are_known_too():
    images, labels = EIGHT
    for bad, name in (((images * 255, labels), "images"), ((images, labels + 1), "targets")):
        with refused(ValueError, f"test_set: {name} must"):
            sweep(jax.jit(SWEPT), KEYS, points_of(width=[1.0]), EIGHT, bad)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"train": None}, TypeError, "train must be callable, got None"),
        ({"keys": jax.random.key(0)}, ValueError, r"keys must have shape \[S\].*got \[\]"),
        ({"keys": KEYS[:0]}, ValueError, r"keys must have shape \[S\].*got \[0\]"),
        ({"keys": list(KEYS)}, TypeError, "keys must be an array .* got list"),
        ({"keys": np.arange(2)}, TypeError, "key must be a random key"),
        ({"points": [{"width": 1.0}]}, ValueError, r"\[H, ...\], got a scalar at points\[0\]"),
        ({"points": {"width": [0.1, 1.0]}}, ValueError, "got a scalar at points"),
        ({"points": {"width": "12"}}, TypeError, r"points\['width'\] must be an array"),
        ({"points": {"width": np.array(["1"])}}, TypeError, "array of numbers, got dtype <U1"),
        ({"points": {"width": np.ones(0)}}, ValueError, "H of points must be at least 1, got 0"),
        ({"points": {"width": np.ma.ones(2)}}, TypeError, "without a mask"),
        ({"points": {"n": np.array([2**32 + 1])}}, ValueError, "int32 can hold, got .*4294967297"),
        ({"points": {"n": np.array([1e39])}}, ValueError, "float32 can hold, got .*1e.39"),
        ({"train_set": {"images": 1}}, TypeError, "train_set must be a tuple .* got dict"),
        ({"test_set": EIGHT[0]}, TypeError, "test_set must be a tuple of arrays, got ndarray"),
        (
            {"test_set": EIGHT[:1]},
            ValueError,
            r"test_set must be \(inputs, targets\) or .* got 1 parts",
        ),
    ],
)
def test_arguments_of_run(change, error, message):
    wanted = {"train": SWEPT, "keys": KEYS, "points": points_of(width=[1.0])}
    with pytest.raises(error, match=message):
        sweep(**wanted | {"train_set": EIGHT, "test_set": EIGHT} | change)


# Grids --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (1.0, TypeError, "width must be a sequence of numbers .* got 1.0"),
        (np.float32(1), TypeError, "width must be a sequence of numbers"),
        (np.array(1.0), ValueError, r"width must have one axis, got shape \[\]"),
        (np.ones((2, 1)), ValueError, r"width must have one axis, got shape \[2, 1\]"),
        ("12", TypeError, "width must be a sequence of numbers .* got '12'"),
        (b"12", TypeError, "width must be a sequence of numbers"),
        ({0.1: 1}, TypeError, "width must be a sequence of numbers"),
        ({0.1, 1.0}, TypeError, "width must be a sequence of numbers"),
        (iter([0.1]), TypeError, "width must be a sequence of numbers"),
        (None, TypeError, "width must be a sequence of numbers"),
        (np.ma.ones(2), TypeError, "width must be an array without a mask"),
        (["0.1"], TypeError, "width must be numbers, got '0.1' among them"),
        ([True], TypeError, "width must be numbers, got True among them"),
        (np.array([True]), TypeError, "width must be numbers, got .*True.* among them"),
        ([1j], TypeError, "width must be numbers, got 1j among them"),
        ([[0.1]], TypeError, r"width must be numbers, got \[0.1\] among them"),
        ([None], TypeError, "width must be numbers, got None among them"),
        ([0.1, float("nan")], ValueError, "width must be numbers, got nan among them"),
        ([1e39], ValueError, "width must hold numbers that float32 can hold, got .*1e.39"),
        ([1e-60], ValueError, "width must hold numbers that float32 can hold, got .*1e-60"),
        (
            [2**24 + 1],
            ValueError,
            "width must hold integers that float32 keeps exactly, got 16777217",
        ),
        ([10**400], ValueError, "width must hold integers that float32 keeps exactly, got 1000"),
        ([], ValueError, "width must have at least one value"),
        ((), ValueError, "width must have at least one value"),
    ],
)
def test_axes_of_a_grid(values, error, message):
    with pytest.raises(error, match=message):
        grid(width=values, decay=[0.1])


def test_a_grid_is_refused_by_name_under_a_trace():
    with pytest.raises(TypeError, match="width must be a sequence of numbers"):
        jax.jit(lambda w: grid(width=w)[0])(jnp.ones(2))


@pytest.mark.parametrize(
    "values",
    [(1, 2), np.array([1, 2], np.uint8), jnp.array([1, 2]), [np.int64(1), jnp.array(2)]],
    ids=["tuple", "uint8", "jax", "scalars"],
)
def test_a_grid_takes_any_sequence_of_numbers(values):
    points, rows = grid(width=values)
    assert rows == [{"width": 1.0}, {"width": 2.0}]
    np.testing.assert_array_equal(points["width"], [1, 2])


def test_a_grid_may_hold_infinity():
    assert grid(max_norm=[1.0, np.inf])[1][1] == {"max_norm": np.inf}


# Divergence ---------------------------------------------------------------------------------------


def test_runs_that_diverge_are_counted_and_left_out_of_means():
    accuracy = np.full((3, 3, 2), 0.5)
    accuracy[0] = [[0.5, 0.8], [0.9, 0.1], [0.5, 0.6]]
    found = history(accuracy)
    loss, updates = np.zeros((3, 3, 2)), np.zeros((3, 3, 2), np.int32)
    loss[0, 1, 1] = np.nan
    updates[1, 0, 0] = 3  # skipped in the first epoch, not in the last
    updates[1, 1, 1] = 1
    updates[2] = 4
    found = found._replace(loss=loss, non_finite_updates=updates)
    first, second, third = summarize(found, [{}] * 3)
    assert (first["seeds"], first["diverged"]) == (3, 1)
    assert first["last_mean"] == pytest.approx(0.7)
    assert first["best_mean"] == pytest.approx(0.7)
    assert first["last_sd"] == pytest.approx(0.02**0.5)
    assert (second["diverged"], second["last_mean"], second["last_sd"]) == (1, 0.5, 0)
    assert third["diverged"] == 3
    assert all(np.isnan(third[name]) for name in ("last_mean", "last_sd", "best_mean", "best_sd"))


@pytest.mark.parametrize("name", ["loss", "test.loss", "test.metrics"])
def test_a_last_number_that_is_not_finite_is_divergence(name):
    values = np.zeros((1, 1, 2))
    values[0, 0, 1] = np.inf
    found = history(np.zeros((1, 1, 2)))
    if name == "loss":
        found = found._replace(loss=values)
    elif name == "test.loss":
        found = found._replace(test=found.test._replace(loss=values))
    else:
        found = found._replace(test=found.test._replace(metrics={"accuracy": values}))
    (line,) = summarize(found, [{}])
    assert line["diverged"] == 1
    assert np.isnan(line["last_mean"])


def test_a_learning_rate_of_infinity_diverges_in_a_real_sweep():
    points = points_of(learning_rate=[0.1, np.inf, np.nan])
    found = sweep(SWEPT, KEYS[:2], points, EIGHT, EIGHT)
    np.testing.assert_array_equal(
        found.non_finite_updates, np.full((3, 2, 2), [[[0]], [[2]], [[2]]])
    )
    assert [line["diverged"] for line in summarize(found, [{}] * 3)] == [0, 2, 2]


@pytest.mark.parametrize(
    ("shape", "rows", "error", "message"),
    [
        ((1, 1, 0), [{}], ValueError, r"\[H, S, E\] must have at least one of each, got \[1, 1, 0"),
        ((1, 0, 1), [{}], ValueError, r"\[H, S, E\] must have at least one of each, got \[1, 0, 1"),
        ((1, 1, 1), [0.5], TypeError, "points must be dicts, got 0.5 among them"),
        ((1, 1, 1), [{"seeds": 3}], ValueError, r"entries that summarize adds, got \['seeds'\]"),
    ],
)
def test_arguments_of_summarize(shape, rows, error, message):
    with pytest.raises(error, match=message):
        summarize(history(np.zeros(shape)), rows)


# Random points ------------------------------------------------------------------------------------


def test_random_points_come_from_their_distributions():
    draws = {"a": sweeps.uniform(-1.0, 1.0), "b": sweeps.log_uniform(1e-3, 1e-1)}
    points, listed = sweeps.random_points(jax.random.key(0), 400, **draws)
    a, b = (np.asarray(points[name]) for name in "ab")
    assert [row["a"] for row in listed] == a.tolist()
    assert (np.abs(a) <= 1).all()
    assert abs(a.mean()) < 0.1
    assert ((b >= 1e-3) & (b <= 1e-1)).all()
    assert abs(np.log10(b).mean() + 2) < 0.1
    assert abs(np.corrcoef(a, np.log(b))[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda k: sweeps.random_points(k, 3), ValueError, "at least one axis"),
        (lambda k: sweeps.random_points(k, 0, a=sweeps.uniform(0, 1)), ValueError, "count"),
        (lambda k: sweeps.random_points(k, 3, a=[1, 2]), TypeError, "a must be a distribution"),
        (
            lambda k: sweeps.random_points(k, 3, a=lambda k, n: [1.0]),
            ValueError,
            "a must draw 3",
        ),
        (lambda k: sweeps.uniform(1.0, 1.0), ValueError, "low must be below high"),
        (lambda k: sweeps.log_uniform(0.0, 1.0), ValueError, "low must be above 0"),
    ],
)
def test_random_points_refuse_by_name(draw, error, message):
    with pytest.raises(error, match=message):
        draw(jax.random.key(0))
