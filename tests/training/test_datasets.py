"""Every function of a data set raises on a bad one, by name, before it computes anything."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax import arguments
from tests.training.small_run import (
    CONFIG,
    IMAGES,
    KEY,
    LABELS,
    PARAMS,
    PIPELINE,
    SET,
    build,
    epoch,
    evaluation,
    expects,
    from_host,
    run,
    start,
)

# Every function of a set: a call of it, and its argument's name.
TAKES = {
    "evaluate": (lambda data: evaluation(*data), ""),
    "make_train, to learn from": (lambda data: run(data, SET), "train_set "),
    "make_train, to test on": (lambda data: run(SET, data), "test_set "),
    "epochs, to learn from": (lambda data: from_host(data, SET), "train_set "),
    "epochs, to test on": (lambda data: from_host(SET, data), "test_set "),
    "start": (start, "train_set "),
    "epoch, to learn from": (lambda data: epoch(data, SET), "train_set "),
    "epoch, to test on": (lambda data: epoch(SET, data), "test_set "),
}
takes_set = pytest.mark.parametrize(("take", "of"), TAKES.values(), ids=TAKES)

ONE_OUT_OF_RANGE = np.where(LABELS == 2, 7, LABELS)
WIDE = LABELS.astype(np.int64) + 2**32  # 0, 1, 2 where 64 bits become 32
LENGTH = "targets must have shape [100, ...], one for each example, got "
RANGE = "targets must lie in [0, 3), got values from "
PIXELS = "images must be uint8, or floats in"
STATIC = {  # known under a trace too
    "fewer labels": (IMAGES, LABELS[:90], ValueError, LENGTH + "[90]"),
    "more labels": (IMAGES[:70], LABELS, ValueError, "[70, ...], one for each example, got [100]"),
    "a column of labels": (IMAGES, LABELS[:, None], ValueError, "targets must have the scores'"),
    "float labels": (IMAGES, LABELS * 1.0, TypeError, "targets must be integers, got dtype float"),
    "bool labels": (IMAGES, LABELS > 0, TypeError, "targets must be integers, got dtype bool"),
    "no accuracy": (
        IMAGES,
        np.eye(3)[LABELS],
        TypeError,
        "labels must be integers, got dtype float",
    ),
    "no examples": (IMAGES[:0], LABELS[:0], ValueError, "inputs must have shape [N, ...] with N"),
    "no pixels": (IMAGES[:, :0], LABELS, ValueError, "inputs must not be empty, got shape [100, 0"),
    "integer images": (IMAGES.astype(int), LABELS, TypeError, PIXELS),
    "bool images": (IMAGES > 0, LABELS, TypeError, PIXELS),
    "complex images": (IMAGES * 1j, LABELS, TypeError, PIXELS),
    "swapped": (LABELS, IMAGES, TypeError, PIXELS),
    "events": (IMAGES.astype(np.uint32), LABELS, TypeError, PIXELS),
}
KNOWN = {
    "larger images": (np.ones((100, 4), np.float32), LABELS, ValueError, "3], got ["),
    "labels from 1": (IMAGES, LABELS + 1, ValueError, RANGE + "1 to 3"),
    "a label out of range": (IMAGES, ONE_OUT_OF_RANGE, ValueError, RANGE + "0 to 7"),
    "a label below 0": (IMAGES, LABELS - 1, ValueError, RANGE + "-1 to 1"),
    "labels that wrap": (IMAGES, WIDE, ValueError, RANGE + "4294967296 to 4294967298"),
    "images to 255": (IMAGES * 255, LABELS, ValueError, "images must be finite and in [0, 1]"),
    "images below 0": (IMAGES - 1, LABELS, ValueError, "images must be finite and in [0, 1]"),
    "images of NaN": (IMAGES * np.nan, LABELS, ValueError, "images must be finite and in [0, 1]"),
    "a list of labels": (IMAGES, [0] * 100, TypeError, "targets[0] must be an array of NumPy or"),
    "a tuple of images": ((1.0,) * 100, LABELS, TypeError, "inputs[0] must be an array of NumPy"),
    "no labels": (IMAGES, None, TypeError, "targets must hold an array, got None"),
    "strings": (IMAGES.astype(str), LABELS, TypeError, "inputs must be an array of numbers, got"),
    "objects": (IMAGES.astype(object), LABELS, TypeError, "inputs must be an array of numbers"),
    "masked images": (np.ma.array(IMAGES), LABELS, TypeError, "inputs must be an array without a"),
    "masked labels": (IMAGES, np.ma.array(LABELS), TypeError, "targets must be an array without a"),
}


@takes_set
@pytest.mark.parametrize(
    ("images", "labels", "error", "message"), (STATIC | KNOWN).values(), ids=STATIC | KNOWN
)
def test_bad_sets(take, of, images, labels, error, message):
    with expects(error, of.strip(), message):
        take((images, labels))


@takes_set
def test_bad_sets_on_the_device(take, of):
    with expects(ValueError, of.strip(), "targets must lie in [0, 3), got values from 1 to 3"):
        take((jnp.asarray(IMAGES), jnp.asarray(LABELS + 1)))


@pytest.mark.parametrize(
    "take", [take for name, (take, _) in TAKES.items() if "epochs" not in name]
)
@pytest.mark.parametrize(("images", "labels", "error", "message"), STATIC.values(), ids=STATIC)
def test_shapes_and_dtypes_are_known_under_a_trace(take, images, labels, error, message):
    if take is start and ("integers" in message or "the scores'" in message):
        pytest.skip("no loss is traced")
    with expects(error, message):
        jax.eval_shape(lambda *data: take(data), images, labels)


def test_a_list_under_a_trace_is_its_numbers():
    with expects(ValueError, "targets[0] must have shape [100, ...]", "np.asarray(list)"):
        jax.eval_shape(evaluation, IMAGES, [0] * 100)


def test_numbers_are_not_known_under_a_trace():
    # As the docstrings say: pixels are taken as they are, the labels count as errors.
    found = jax.jit(evaluation)(IMAGES * 255, LABELS + 7)
    assert float(found.metrics["accuracy"]) == 0
    jax.eval_shape(run, (IMAGES * 255, LABELS + 7), (IMAGES * 255, LABELS + 7))
    # A set that the jitted function closes over is known.
    with expects(ValueError, "targets must lie in [0, 3)"):
        jax.jit(lambda params: sj.evaluate(PIPELINE, params, KEY, IMAGES, LABELS + 1))(PARAMS)


PARTS = "(inputs, targets) or (inputs, targets, weights), got "


@pytest.mark.parametrize("take", [run, from_host, epoch])
@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"images": IMAGES, "labels": LABELS}, TypeError, PARTS + "dict"),
        (np.zeros((2, 100, 3)), TypeError, PARTS + "ndarray"),
        (None, TypeError, PARTS + "NoneType"),
        ((IMAGES,), ValueError, PARTS + "1 parts"),
        ((*SET, LABELS, LABELS), ValueError, PARTS + "4 parts"),
    ],
)
def test_sets_that_have_other_parts(take, data, error, message):
    for name, sets in (("train_set", (data, SET)), ("test_set", (SET, data))):
        with expects(error, f"{name} must be {message}"):
            take(*sets)
    with expects(error, f"train_set must be {message}"):
        sj.training.num_updates(CONFIG, data)


@pytest.mark.parametrize("count", [1, 49, 50, 70, 100])
def test_good_sets_are_right_whatever_their_length(count):
    found = evaluation(IMAGES[:count], LABELS[:count])
    assert float(found.metrics["accuracy"]) == 1.0
    assert float(found.loss) == 0.0


@pytest.mark.parametrize(
    "of",
    [lambda x: x.astype(np.int64), lambda x: x.astype(np.uint8), jnp.asarray, np.flip],
    ids=["int64", "uint8", "jax", "strides"],
)
def test_labels_of_any_integer_type(of):
    images = np.eye(3, dtype=np.uint8)[np.asarray(of(LABELS))] * np.uint8(255)
    images.flags.writeable = False
    assert float(evaluation(images, of(LABELS)).metrics["accuracy"]) == 1.0


def test_packed_events_are_evaluated():
    words = np.array([[0, 2**32 - 1], [1, 2**32 - 1], [2, 5]], np.uint32)  # pixel, or padding
    encode = lambda key, events: sj.events.event_spikes(events, 1, shape=(3,))  # noqa: E731
    found = sj.evaluate(PIPELINE._replace(encode=encode), PARAMS, KEY, words, np.arange(3))
    assert float(found.metrics["accuracy"]) == 1.0
    with expects(ValueError, "events must have shape [B, M]"):
        sj.evaluate(PIPELINE._replace(encode=encode), PARAMS, KEY, words[..., None], np.arange(3))


def test_a_set_may_be_larger_than_its_events_can_be_indexed_at_once():
    # 2^31 numbers in all, 2^21 in a batch.
    encode = lambda key, events: sj.events.event_spikes(events, 2, shape=(1024, 1024))  # noqa: E731
    network = sj.serial(sj.flatten(), sj.dense(3))
    pipeline = PIPELINE._replace(encode=encode, network=network)
    words = np.zeros((1025, 1), np.uint32)
    config = sj.TrainConfig(1, batch_size=1, eval_batch_size=1)
    train = sj.make_train(lambda hparams, num_updates: pipeline, config)
    data = words, np.zeros(1025, np.int32)
    jax.eval_shape(lambda: train(KEY, (), data, data))


def test_numbers_are_looked_at_once(monkeypatch):
    seen = []
    images = arguments.images

    def counted(name, x):
        if arguments.concrete(x):
            seen.append(name)
        images(name, x)

    monkeypatch.setattr(arguments, "images", counted)
    train = sj.make_train(build, CONFIG._replace(epochs=3))
    jax.eval_shape(lambda: train(KEY, (), SET, SET))
    assert seen == ["images"] * 2
    seen.clear()
    from_host(SET, SET)
    assert seen == ["images"] * 2
    seen.clear()
    jax.eval_shape(evaluation, *SET)
    assert seen == []
