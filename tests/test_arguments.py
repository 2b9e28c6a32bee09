"""Arguments of encodings, readouts, losses and metrics: good ones, and errors for bad ones.

Arrays of every dtype, width and layout, empty arrays, NaN, keys, labels. `test_layer_arguments`
holds the arguments of layers.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax import losses

KEY = jax.random.key(0)
IMAGES = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
SCORES = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], np.float32)
LABELS = np.array([2, 0])
SPIKES = (np.random.default_rng(0).random((5, 2, 3)) < 0.4).astype(np.float32)


def raises(error, *parts):
    """Expects `error` with all parts in its message, in this order."""
    return pytest.raises(error, match="(?s)" + ".*".join(re.escape(str(p)) for p in parts))


# Values in place of an array, and how the message names each.
NO_ARRAYS = {
    "list": (lambda x: x.tolist(), "got list"),
    "tuple": (tuple, "got tuple"),
    "dict": (lambda x: {"x": x}, "got dict"),
    "str": (lambda x: "x", "got str"),
    "None": (lambda x: None, "got NoneType"),
    "masked": (lambda x: np.ma.masked_array(x, x > 0), "without a mask"),
    "object": (lambda x: x.astype(object), "got dtype object"),
    "complex": (lambda x: x.astype(np.complex64), "got dtype complex64"),
    "strings": (lambda x: x.astype(str), "got dtype <U"),
    "fields": (lambda x: x.view([("x", "f4")]), "got dtype [('x'"),
    "swapped": (lambda x: x.astype(">f4"), "byte order"),
    "keys": (lambda x: jax.random.split(KEY, 2), "got dtype key"),
}
no_arrays = pytest.mark.parametrize(("give", "shown"), NO_ARRAYS.values(), ids=NO_ARRAYS)

TAKES_ARRAYS = {
    "bernoulli": (lambda x: sj.bernoulli(KEY, x, 2), IMAGES, "images"),
    "constant": (lambda x: sj.constant(x, 2), IMAGES, "images"),
    "latency": (lambda x: sj.latency(x, 2), IMAGES, "images"),
    "rate": (sj.rate, SPIKES, "outs"),
    "first_spike": (sj.first_spike, SPIKES, "spikes"),
    "peak_membrane": (sj.peak_membrane, SPIKES, "membranes"),
    "mean_log_probability": (sj.readouts.mean_log_probability, SPIKES, "outs"),
    "pack": (sj.encoders.pack, SPIKES, "spikes"),
    "half_squared_error": (lambda x: sj.half_squared_error(x, LABELS), SCORES, "scores"),
    "cross_entropy": (lambda x: sj.cross_entropy(x, LABELS), SCORES, "scores"),
    "negative_log_likelihood": (
        lambda x: losses.negative_log_likelihood(x, LABELS),
        SCORES,
        "log_probabilities",
    ),
    "activity_penalty": (lambda x: sj.losses.activity_penalty(x, target=0.1), SPIKES, "spikes"),
    "accuracy": (lambda x: sj.metrics.accuracy(x, LABELS), SCORES, "scores"),
    "firing_rate": (sj.metrics.firing_rate, SPIKES, "spikes"),
    "silent_fraction": (sj.metrics.silent_fraction, SPIKES, "spikes"),
    "synaptic_operations": (lambda x: sj.metrics.synaptic_operations(x, 2), SPIKES, "spikes"),
}
takes_arrays = pytest.mark.parametrize(
    ("function", "right", "name"), TAKES_ARRAYS.values(), ids=TAKES_ARRAYS
)


@takes_arrays
@no_arrays
def test_what_is_no_array(function, right, name, give, shown):
    with raises(TypeError, f"{name} must be ", shown):
        function(give(right))


@takes_arrays
def test_arrays_in_any_layout(function, right, name):
    given = np.repeat(right, 2, axis=-1)[..., ::2]  # not contiguous
    given.flags.writeable = False
    np.testing.assert_array_equal(function(given), function(right), err_msg=name)


# Encodings --------------------------------------------------------------------------------------

NO_KEYS = {
    "int": (0, TypeError, "got int"),
    "None": (None, TypeError, "got NoneType"),
    "list": ([0, 1], TypeError, "got list"),
    "generator": (np.random.default_rng(0), TypeError, "got Generator"),
    "function": (jax.random.key, TypeError, "got function"),
    "int32": (np.array([0, 1], np.int32), TypeError, "got int32"),
    "uint64": (np.array([0, 1], np.uint64), TypeError, "got uint64"),
    "scalar": (np.uint32(3), TypeError, "got uint32"),
    "three words": (np.zeros(3, np.uint32), ValueError, "words of a key", "got 3"),
    "four words": (np.zeros(4, np.uint32), ValueError, "words of a key", "got 4"),
    # Two keys and two pixels would broadcast.
    "two keys": (lambda: jax.random.split(KEY, 2), ValueError, "single key", "[2]"),
    "two raw keys": (np.zeros((2, 2), np.uint32), ValueError, "single key", "[2, 2]"),
    "no keys": (lambda: jax.random.split(KEY, 0), ValueError, "single key", "[0]"),
}
TAKES_KEYS = {
    "bernoulli": lambda key: sj.bernoulli(key, np.full((1, 2), 0.5, np.float32), 3),
    "dense": lambda key: sj.dense(2).init(key, (3,)),
    "conv": lambda key: sj.conv(2, 1).init(key, (2, 2, 1)),
    "fan_in_uniform": lambda key: sj.initializers.fan_in_uniform()(key, (2, 2), jnp.float32),
    "fan_in_normalized": lambda key: sj.initializers.fan_in_normalized()(key, (2, 2), jnp.float32),
    "initializer": lambda key: sj.initializers.initializer(jax.nn.initializers.zeros)(
        key, (2, 2), jnp.float32
    ),
    "dropout": lambda key: (
        None if key is None else sj.dropout(0.5).initial_state((), (2, 3), key=key)
    ),
}


@pytest.mark.parametrize("case", NO_KEYS.values(), ids=NO_KEYS)
@pytest.mark.parametrize("function", TAKES_KEYS.values(), ids=TAKES_KEYS)
def test_what_is_no_key(function, case):
    key, error, *parts = case
    if key is None and function is TAKES_KEYS["dropout"]:
        return  # None turns it off
    with raises(error, "key must", *parts):
        function(key() if key is not jax.random.key and callable(key) else key)


@pytest.mark.parametrize("dtype", ["float33", 3, 0, False, "", complex, object, str, [], {}])
@pytest.mark.parametrize("name", ["bernoulli", "constant", "latency"])
def test_dtypes_that_are_none(name, dtype):
    encode = {
        "bernoulli": lambda **kw: sj.bernoulli(KEY, IMAGES, 2, **kw),
        "constant": lambda **kw: sj.constant(IMAGES, 2, **kw),
        "latency": lambda **kw: sj.latency(IMAGES, 2, **kw),
    }[name]
    with raises(TypeError, "dtype must be a dtype of floats", "got"):
        encode(dtype=dtype)


@pytest.mark.parametrize("dtype", [int, np.uint8, bool])
def test_intensities_in_integers_would_be_0_or_1(dtype):
    with raises(TypeError, "dtype must be a dtype of floats, got", np.dtype(dtype).name):
        sj.constant(IMAGES, 2, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, jnp.bfloat16])
@pytest.mark.parametrize("name", ["bernoulli", "constant", "latency"])
def test_images_of_any_width(name, dtype):
    levels = np.array([[0.0, 0.25, 0.5, 1.0]])  # exact in all
    encode = {
        "bernoulli": lambda x: sj.bernoulli(KEY, x, 4),
        "constant": lambda x: sj.constant(x, 4),
        "latency": lambda x: sj.latency(x, 4),
    }[name]
    np.testing.assert_array_equal(encode(levels.astype(dtype)), encode(np.float32(levels)))


# Readouts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64, np.float16, jnp.bfloat16])
def test_readouts_of_any_dtype(dtype):
    given = SPIKES.astype(dtype)
    np.testing.assert_allclose(np.float32(sj.rate(given)), SPIKES.mean(axis=0), rtol=4e-3)
    np.testing.assert_array_equal(sj.first_spike(given), sj.first_spike(SPIKES))
    np.testing.assert_array_equal(np.float32(sj.peak_membrane(given)), SPIKES.max(axis=0))
    wide = sj.readouts.mean_log_probability(SPIKES)
    np.testing.assert_allclose(np.float32(sj.readouts.mean_log_probability(given)), wide, rtol=1e-2)
    np.testing.assert_array_equal(sj.encoders.pack(given), sj.encoders.pack(-SPIKES))


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, jnp.bfloat16])
def test_means_neither_wrap_nor_saturate(dtype):
    full = 200 if dtype == np.uint8 else 1  # bfloat16 counts to 256
    outs = np.full((600, 1, 1), full).astype(dtype)
    assert float(sj.rate(outs)[0, 0]) == full
    assert float(sj.metrics.firing_rate(outs)) == pytest.approx(full)
    pool = sj.avg_pool(24)
    images = np.full((1, 24, 24, 1), full).astype(dtype)
    pooled = pool.step(pool.init(KEY, images.shape[1:])[0], (), images)[1]
    assert float(pooled.ravel()[0]) == full


@pytest.mark.parametrize("name", ["rate", "peak_membrane", "mean_log_probability"])
@pytest.mark.parametrize("value", [2**40, 1e300])
def test_outputs_that_32_bits_cannot_hold(name, value):
    with raises(ValueError, "must hold numbers that", "32 can hold"):
        getattr(sj.readouts, name)(np.full((2, 1, 1), value))


@pytest.mark.parametrize("value", [2**40, 1e-300])
def test_spikes_that_32_bits_would_lose(value):
    spikes = np.full((2, 1, 1), value)
    assert sj.encoders.pack(spikes).tolist() == [[[128]], [[128]]]
    assert int(sj.first_spike(spikes)[0, 0]) == 0
    assert float(sj.metrics.silent_fraction(spikes)) == 0


def test_readouts_of_empty_batches_are_empty():
    for readout in (sj.rate, sj.first_spike, sj.peak_membrane, sj.readouts.mean_log_probability):
        assert readout(np.zeros((3, 0, 2), np.float32)).shape == (0, 2)
    assert sj.encoders.pack(np.zeros((0, 2, 9))).shape == (0, 2, 2)


@pytest.mark.parametrize("shape", [(3, 2), (3, 2, 0)])
def test_a_softmax_over_no_classes(shape):
    # [T, B] would be normalized over the batch.
    with raises(ValueError, "outs must have shape [T, B, C] with C >= 1", f"got {list(shape)}"):
        sj.readouts.mean_log_probability(np.ones(shape, np.float32))


@pytest.mark.parametrize("function", [sj.encoders.pack, sj.first_spike])
def test_spikes_of_nan_are_neither(function):
    with raises(ValueError, "spikes must hold no NaN"):
        function(np.full((2, 1, 1), np.nan, np.float32))
    for readout in (sj.rate, sj.peak_membrane, sj.readouts.mean_log_probability):
        assert np.isnan(readout(np.full((2, 1, 1), np.nan, np.float32)))


def test_packed_spikes_come_back_from_every_dtype():
    layer = sj.layers.unpack(3)
    params, _ = layer.init(KEY, (1,))
    for dtype in (bool, np.uint8, np.float16, jnp.bfloat16):
        back = sj.apply(layer, params, sj.encoders.pack(SPIKES.astype(dtype)))[1]
        np.testing.assert_array_equal(back, SPIKES)


# Losses and metrics -----------------------------------------------------------------------------

ON_LABELS = {
    "half_squared_error": (sj.half_squared_error, "targets"),
    "cross_entropy": (sj.cross_entropy, "labels"),
    "negative_log_likelihood": (losses.negative_log_likelihood, "labels"),
    "accuracy": (sj.metrics.accuracy, "labels"),
}
on_labels = pytest.mark.parametrize(("function", "name"), ON_LABELS.values(), ids=ON_LABELS)


@on_labels
def test_labels_may_be_lists(function, name):
    for given in (LABELS.tolist(), tuple(LABELS), LABELS.astype(np.uint64)):
        np.testing.assert_array_equal(function(SCORES, given), function(SCORES, LABELS))


@on_labels
@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (None, "an array, got NoneType"),
        ("20", "an array, got str"),
        ({2, 0}, "an array, got set"),
        (["a", "b"], "got dtype <U1"),
        ([2.0, 0.0], "integers, got dtype float"),
        ([True, False], "integers, got dtype bool"),
        (LABELS.astype(object), "got dtype object"),
        (np.ma.masked_array(LABELS, [1, 0]), "without a mask"),
    ],
)
def test_labels_of_a_wrong_kind(function, name, labels, shown):
    with raises(TypeError, f"{name} must be ", shown):
        function(SCORES, labels)


@on_labels
@pytest.mark.parametrize("labels", [np.array([2**32, 0]), np.array([-1, 0], np.int8), [0, 3]])
def test_labels_of_any_width_out_of_range(function, name, labels):
    with raises(ValueError, f"{name} must lie in [0, 3)", "got"):
        function(SCORES, labels)


@on_labels
def test_ragged_labels_and_columns(function, name):
    for labels in ([[1], [1, 2]], LABELS[:, None], np.zeros((2, 3, 1), int)):
        with raises(ValueError, f"{name} must"):
            function(SCORES, labels)


@on_labels
def test_scores_without_classes(function, name):
    for batch in (0, 2):
        with raises(ValueError, "must", f"[{batch}, 0]"):
            function(np.zeros((batch, 0), np.float32), np.zeros(batch, int))


def test_one_hot_targets_of_any_dtype():
    wanted = sj.half_squared_error(SCORES, LABELS)
    for dtype in (bool, np.uint8, np.int64, np.float64):
        one_hot = np.eye(3)[LABELS].astype(dtype)
        np.testing.assert_array_equal(sj.half_squared_error(SCORES, one_hot), wanted)
        np.testing.assert_array_equal(sj.half_squared_error(SCORES, one_hot.tolist()), wanted)
    with raises(TypeError, "targets must be", "complex128"):
        sj.half_squared_error(SCORES, np.ones((2, 3), complex))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_squared_error_of_any_dtype_does_not_wrap(dtype):
    scores = np.array([[200, 0, 7], [1, 0, 0]]).astype(dtype)
    wanted = [(200**2 + 6**2) / 2, 0]
    np.testing.assert_array_equal(sj.half_squared_error(scores, LABELS), wanted)


@pytest.mark.parametrize("loss", [sj.cross_entropy, losses.negative_log_likelihood])
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool])
def test_scores_that_no_gradient_passes(loss, dtype):
    with raises(TypeError, "must be floats, got dtype"):
        loss(SCORES.astype(dtype), LABELS)


def test_a_row_with_nan_is_never_right():
    nan = np.float32(np.nan)
    scores = np.array([[nan, 0, 1], [0, nan, 1], [nan, nan, nan], [0, 1, 0]], np.float32)
    for labels in ([0, 1, 0, 1], [2, 2, 2, 1]):
        assert float(sj.metrics.accuracy(scores, labels)) == 0.25
        assert float(jax.jit(sj.metrics.accuracy)(scores, np.array(labels))) == 0.25
    assert float(sj.metrics.accuracy(np.array([[-np.inf, np.inf]], np.float32), [1])) == 1
    assert (
        float(sj.metrics.accuracy(-sj.first_spike(SPIKES), np.zeros(2, int))) >= 0
    )  # integers are scores
    # Losses carry it on.
    for loss in (sj.half_squared_error, sj.cross_entropy):
        np.testing.assert_array_equal(np.isnan(loss(scores, [0, 0, 0, 0])), [1, 1, 1, 0])
    spikes = np.full((1, 1, 2), nan)
    assert np.isnan(sj.metrics.firing_rate(spikes))
    assert np.isnan(sj.metrics.silent_fraction(spikes))


@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 0, 3), (2, 2, 0)])
@pytest.mark.parametrize("metric", [sj.metrics.firing_rate, sj.metrics.silent_fraction])
def test_means_over_nothing(metric, shape):
    for run in (metric, jax.jit(metric)):
        with raises(ValueError, "spikes must not be empty", f"got shape {list(shape)}"):
            run(np.zeros(shape, np.float32))


def test_no_examples():
    with raises(ValueError, "scores must not be empty, got shape [0, 3]"):
        sj.metrics.accuracy(np.zeros((0, 3), np.float32), [])
    assert sj.cross_entropy(np.zeros((0, 3), np.float32), []).shape == (0,)


@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 2, 0)])
def test_penalty_of_nothing(shape):
    with raises(ValueError, "spikes must have shape [T, B, *units] with a step and a unit"):
        sj.losses.activity_penalty(np.zeros(shape, np.float32), target=0.1)


@pytest.mark.parametrize("shape", [(2,), (1,), (1, 3), (2, 3)])
def test_shapes_that_would_broadcast(shape):
    numbers = np.full(shape, 0.5, np.float32)
    for penalty in (sj.losses.activity_penalty, jax.jit(sj.losses.activity_penalty)):
        with raises(ValueError, "target must be a scalar or", "[3]", f"got {list(shape)}"):
            penalty(SPIKES, target=numbers)
    with raises(ValueError, "fan_out must be a number or", "[3]", f"got {list(shape)}"):
        sj.metrics.synaptic_operations(SPIKES, numbers)
