"""Bad input raises an error that names the argument, what was expected and what came."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj

KEY = jax.random.key(0)
HALF = np.full((2, 3), 0.5, np.float32)
SCORES = np.zeros((2, 3), np.float32)


def raises(error, *parts):
    """Expects `error` with all parts in its message, in this order."""
    return pytest.raises(error, match="(?s)" + ".*".join(re.escape(str(p)) for p in parts))


ENCODERS = {
    "bernoulli": lambda images, num_steps: sj.bernoulli(KEY, images, num_steps),
    "constant": sj.constant,
    "latency": sj.latency,
}
encoders = pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS)

SURROGATES = {
    "rectangular": (sj.rectangular, "width"),
    "polynomial": (sj.polynomial, "width"),
    "sigmoid": (sj.sigmoid, "width"),
    "gaussian": (sj.gaussian, "width"),
    "arctan": (sj.arctan, "alpha"),
    "superspike": (sj.superspike, "alpha"),
    "matched": (lambda fwhm: sj.matched(sj.gaussian, fwhm), "fwhm"),
}
surrogates = pytest.mark.parametrize(("make", "name"), SURROGATES.values(), ids=SURROGATES)


# Steps and pixels -------------------------------------------------------------------------------


@encoders
@pytest.mark.parametrize("steps", [0, -1])
def test_fewer_steps_than_one(encode, steps):
    with raises(ValueError, "num_steps", "at least 1", f"got {steps}"):
        encode(HALF, steps)


@encoders
@pytest.mark.parametrize("steps", [2.5, 2.0, True, "3", None])
def test_steps_that_are_no_integer(encode, steps):
    with raises(TypeError, "num_steps", "integer", f"got {steps!r}"):
        encode(HALF, steps)


@encoders
def test_traced_steps(encode):
    with raises(TypeError, "num_steps", "static integer", "got"):
        jax.jit(lambda n: encode(HALF, n))(3)


@encoders
@pytest.mark.parametrize("steps", [np.int64(2), np.array(2)])
def test_integers_of_numpy_are_steps(encode, steps):
    assert encode(HALF, steps).shape == (2, 2, 3)


@encoders
@pytest.mark.parametrize(
    ("bad", "shown"), [(1.01, "1.01"), (-0.25, "-0.25"), (255.0, "255"), (np.inf, "inf")]
)
def test_pixels_out_of_range(encode, bad, shown):
    images = HALF.copy()
    images[1, 2] = bad
    with raises(ValueError, "images", "[0, 1]", "got", shown):
        encode(images, 2)
    with raises(ValueError, "images", "[0, 1]", "got", shown):
        encode(jnp.asarray(images), 2)


@encoders
def test_pixels_that_are_no_number(encode):
    images = HALF.copy()
    images[0, 0] = np.nan
    with raises(ValueError, "images", "finite", "got", "nan"):
        encode(images, 2)


@encoders
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.int8, np.uint16, bool, np.complex64])
def test_pixels_of_a_wrong_dtype(encode, dtype):
    # jnp narrows 64 bits to 32 before the name is shown.
    shown = np.dtype(dtype).name.replace("64", "") if dtype is np.int64 else np.dtype(dtype).name
    with raises(TypeError, "images", "uint8", "[0, 1]", f"got dtype {shown[:3]}"):
        encode(np.ones((2, 3), dtype), 2)


# Scores and labels ------------------------------------------------------------------------------

ON_LABELS = {
    "half_squared_error": (sj.half_squared_error, "targets"),
    "cross_entropy": (sj.cross_entropy, "labels"),
    "accuracy": (sj.metrics.accuracy, "labels"),
}
on_labels = pytest.mark.parametrize(("function", "name"), ON_LABELS.values(), ids=ON_LABELS)


@on_labels
@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [2, 100]])
def test_labels_out_of_range(function, name, labels):
    with raises(ValueError, name, "[0, 3)", f"from {min(labels)} to {max(labels)}"):
        function(SCORES, np.array(labels))


@on_labels
@pytest.mark.parametrize("dtype", ["float32", "bool"])
def test_labels_that_are_no_integers(function, name, dtype):
    with raises(TypeError, name, "integers", f"got dtype {dtype}"):
        function(SCORES, np.array([0, 1], dtype))


@on_labels
@pytest.mark.parametrize("count", [1, 3])
def test_labels_of_a_wrong_length(function, name, count):
    with raises(ValueError, name, "[2]", f"got [{count}]"):
        function(SCORES, np.zeros(count, np.int32))
    with raises(ValueError, name, "[2]", f"got [{count}]"):  # shapes are known under jit too
        jax.jit(function)(SCORES, np.zeros(count, np.int32))


@on_labels
def test_outputs_without_a_readout(function, name):
    with raises(ValueError, name, "[5, 2]", "got [2]", "need a readout first"):
        function(np.zeros((5, 2, 3), np.float32), np.array([0, 1]))


@on_labels
def test_scores_without_a_batch(function, name):
    with raises(ValueError, "scores", "[B, C]", "got [3]"):
        function(np.zeros(3, np.float32), np.array([0]))


@on_labels
def test_batch_major_outputs(function, name):
    # [B, T, C] through `rate` gives scores [T, C], and B labels show it.
    batch_major = np.zeros((2, 7, 3), np.float32)
    with raises(ValueError, name, "[7]", "got [2]", "time-major"):
        function(sj.rate(batch_major), np.array([0, 1]))


def test_targets_of_another_shape():
    with raises(ValueError, "targets", "[2, 3]", "got [2, 4]"):
        sj.half_squared_error(SCORES, np.zeros((2, 4), np.float32))
    with raises(ValueError, "targets", "[2, 3]", "got [3, 2]"):
        sj.half_squared_error(SCORES, np.zeros((3, 2), np.float32))


READOUTS = {"outs": sj.rate, "spikes": sj.first_spike, "membranes": sj.peak_membrane}


@pytest.mark.parametrize(("name", "readout"), READOUTS.items(), ids=READOUTS)
@pytest.mark.parametrize("shape", [(3,), (), (0, 2, 3)])
def test_readouts_of_no_sequence(name, readout, shape):
    with raises(ValueError, name, "[T, B, ...]", f"got {list(shape)}"):
        readout(np.zeros(shape, np.float32))


@pytest.mark.parametrize("target", [-0.1, 1.1, np.nan])
def test_penalty_target_out_of_range(target):
    with raises(ValueError, "target", "between 0 and 1", f"got {target}"):
        sj.losses.activity_penalty(np.zeros((2, 2, 3), np.float32), target=target)


def test_penalty_of_spikes_without_units():
    with raises(ValueError, "spikes", "[T, B, *units]", "got [2, 3]"):
        sj.losses.activity_penalty(np.zeros((2, 3), np.float32), target=0.1)


# Constants of neurons and surrogates ------------------------------------------------------------


@pytest.mark.parametrize("make", [sj.lif, sj.leaky_integrator])
@pytest.mark.parametrize("decay", [-0.1, 1.5, np.nan, np.inf, np.array([0.2, -0.1])])
def test_decay_out_of_range(make, decay):
    with raises(ValueError, "decay", "between 0 and 1", f"got {decay!r}"):
        make(decay=decay)


@pytest.mark.parametrize("make", [sj.lif, sj.leaky_integrator])
@pytest.mark.parametrize("decay", [0, 1, 0.0, 1.0, np.float32(0.5)])
def test_the_ends_of_decay_are_allowed(make, decay):
    make(decay=decay)


@pytest.mark.parametrize("make", [sj.lif, sj.leaky_integrator])
@pytest.mark.parametrize("decay", ["0.2", None, True, 0.2j])
def test_decay_that_is_no_float(make, decay):
    with raises(TypeError, "decay", "float", f"got {decay!r}"):
        make(decay=decay)


@pytest.mark.parametrize("threshold", [0, -1.0, np.nan, np.inf, np.array([1.0, 0.0])])
def test_threshold_that_is_not_positive(threshold):
    with raises(ValueError, "threshold", "positive", "got"):
        sj.lif(threshold=threshold)


@surrogates
@pytest.mark.parametrize("width", [0, -1.0, np.nan, np.inf])
def test_width_that_is_not_positive(make, name, width):
    with raises(ValueError, name, "positive", f"got {float(width)}"):
        make(width)


@surrogates
def test_width_that_is_no_float(make, name):
    with raises(TypeError, name, "float", "got None"):
        make(None)


def test_traced_constants_pass():
    # Their numbers are not known when the program is made.
    @jax.jit
    def last(decay, threshold, width):
        neuron = sj.lif(decay=decay, threshold=threshold, surrogate=sj.rectangular(width))
        readout = sj.leaky_integrator(decay=decay)
        x = jnp.ones((1, 1))
        _, out = neuron.step((), neuron.initial_state((1, 1), jnp.float32), x)
        return out + readout.step((), readout.initial_state((1, 1), jnp.float32), x)[1]

    assert float(last(-0.1, -1.0, -1.0)[0, 0]) == 2


UNITS = {
    "lif decay": (lambda c: sj.lif(decay=c), "decay"),
    "lif threshold": (lambda c: sj.lif(threshold=c), "threshold"),
    "leaky decay": (lambda c: sj.leaky_integrator(decay=c), "decay"),
}


@pytest.mark.parametrize(("make", "name"), UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("shape", [(3,), (4, 1), (1, 4), (2, 4)])
def test_constants_that_do_not_fit_the_units(make, name, shape):
    neuron = make(np.full(shape, 0.2, np.float32))
    message = (name, "[4]", f"got {list(shape)}")
    with raises(ValueError, *message):
        sj.dense(4, neuron).init(KEY, (5,))
    with raises(ValueError, *message):
        neuron.initial_state((2, 4), jnp.float32)


def test_recurrence_on_images():
    with raises(ValueError, "recurrent", "[N]", "got [4, 4, 2]", "flatten()"):
        sj.conv(2, 3, sj.recurrent(sj.lif())).init(KEY, (6, 6, 1))


# Networks ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    net = sj.serial(sj.dense(4, sj.lif()), sj.dense(3, sj.lif()))
    return net, net.init(KEY, (5,))[0]


@pytest.mark.parametrize("run", [sj.apply, sj.apply_with_stats])
@pytest.mark.parametrize("shape", [(), (5,), (0, 2, 5)])
def test_sequences_without_time_or_batch(network, run, shape):
    with raises(ValueError, "xs", "[T, B, ...]", f"got {list(shape)}"):
        run(*network, np.zeros(shape, np.float32))


@pytest.mark.parametrize("run", [sj.apply, sj.apply_with_stats])
def test_a_missing_axis_shows_at_the_first_layer(network, run):
    with raises(ValueError, "dense(4)", "[B, 5]", "got [5]", "time-major"):
        run(*network, np.zeros((2, 5), np.float32))


def test_images_before_a_dense_layer(network):
    with raises(ValueError, "dense(4)", "[B, 5]", "got [2, 5, 5]"):
        sj.apply(*network, np.zeros((3, 2, 5, 5), np.float32))
    with raises(ValueError, "dense(4)", "[in]", "got [5, 5]", "flatten()"):
        network[0].init(KEY, (5, 5))


def test_inputs_of_another_size(network):
    net, params = network
    with raises(ValueError, "dense(4)", "[B, 5]", "got [2, 6]"):
        sj.apply(net, params, np.zeros((3, 2, 6), np.float32))
    with raises(ValueError, "dense(4)", "[B, 5]", "got [2, 6]"):
        state, _ = net.initial_state(params, (2, 5))
        net.step(params, state, np.zeros((2, 6), np.float32))


@pytest.fixture(scope="module")
def convolution():
    layer = sj.conv(2, (3, 4), sj.lif())
    return layer, layer.init(KEY, (6, 6, 1))[0]


def test_images_that_do_not_fit_a_convolution(convolution):
    layer, params = convolution
    name = "conv(2, 3x4)"
    for xs, *message in (
        ((2, 2, 6, 6, 3), "1 channels", "got", "[6, 6, 3]"),
        ((2, 2, 6, 6), "[height, width, channels]", "got [6, 6]"),
        ((2, 6, 6, 1), "[height, width, channels]", "got [6, 1]"),  # no time axis
        ((2, 2, 6, 3, 1), "larger", "[6, 3, 1]"),
        ((2, 2, 2, 6, 1), "larger", "[2, 6, 1]"),
    ):
        with raises(ValueError, name, *message):
            sj.apply(layer, params, np.zeros(xs, np.float32))
    for shape, *message in (
        ((6, 6), "[height, width, channels]", "got [6, 6]"),
        ((2, 6, 1), "larger", "[2, 6, 1]"),
    ):
        with raises(ValueError, name, *message):
            layer.init(KEY, shape)


@pytest.mark.parametrize("shape", [(6, 6), (2, 6, 1), (6, 2, 1), (6, 6, 1, 1)])
def test_images_that_do_not_fit_a_pool(shape):
    layer = sj.avg_pool(3)
    message = ("avg_pool(3)", "[height, width, channels]", "3x3", f"got {list(shape)}")
    with raises(ValueError, *message):
        layer.init(KEY, shape)
    params, _ = layer.init(KEY, (3, 3, 1))
    with raises(ValueError, *message):
        sj.apply(layer, params, np.zeros((2, 2, *shape), np.float32))


COUNTS = {
    "dense": (sj.dense, "features"),
    "conv features": (lambda n: sj.conv(n, 3), "features"),
    "conv kernel": (lambda n: sj.conv(2, n), "kernel"),
    "conv kernel width": (lambda n: sj.conv(2, (3, n)), "kernel"),
    "avg_pool": (sj.avg_pool, "window"),
}


@pytest.mark.parametrize(("make", "name"), COUNTS.values(), ids=COUNTS)
def test_sizes_of_layers(make, name):
    for bad in (0, -1):
        with raises(ValueError, name, "at least 1", f"got {bad}"):
            make(bad)
    for bad in (2.5, True, None, "3"):
        with raises(TypeError, name, "integer", f"got {bad!r}"):
            make(bad)


def test_kernels_of_three_sizes():
    with raises(ValueError, "kernel", "one integer or two", "got (3, 3, 3)"):
        sj.conv(2, (3, 3, 3))


@pytest.mark.parametrize("padding", ["SAME", "full", 1, None, ((0, 0), (0, 0))])
def test_unknown_padding(padding):
    with raises(ValueError, "padding", "'valid' or 'same'", f"got {padding!r}"):
        sj.conv(2, 3, padding=padding)


@pytest.mark.parametrize("rate", [1.0, 1, -0.1, 1.5, np.nan])
def test_dropout_rate_out_of_range(rate):
    with raises(ValueError, "rate", "[0, 1)", f"got {float(rate)}"):
        sj.dropout(rate)


@pytest.mark.parametrize("rate", [None, True, "0.5"])
def test_dropout_rate_that_is_no_float(rate):
    with raises(TypeError, "rate", "float", f"got {rate!r}"):
        sj.dropout(rate)


def test_no_layers():
    with raises(ValueError, "serial", "at least one layer", "got none"):
        sj.serial()


@pytest.mark.parametrize(
    ("make", "name", "bad"),
    [
        (sj.initializers.fan_in_uniform, "scale", 0.0),
        (sj.initializers.fan_in_normalized, "gain", -1.0),
        (lambda bias: sj.initializers.fan_in_normalized(bias=bias), "bias", -0.5),
    ],
)
def test_numbers_of_initializers(make, name, bad):
    with raises(ValueError, name, f"got {bad}"):
        make(bad)


# Training ---------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
IMAGES = RNG.random((20, 4), np.float32)
LABELS = RNG.integers(0, 3, 20).astype(np.int32)
SET = (IMAGES, LABELS)


def build(hparams, num_updates):
    return sj.Pipeline(
        encode=lambda key, images: sj.bernoulli(key, images, 3),
        network=sj.dense(3, sj.lif()),
        readout=sj.rate,
        loss=sj.half_squared_error,
        optimizer=optax.sgd(0.1),
    )


def whole(config=sj.TrainConfig(1, 5), train_set=SET, test_set=SET):
    sj.make_train(build, config)(KEY, {}, train_set, test_set)


def from_host(config=sj.TrainConfig(1, 5), train_set=SET, test_set=SET):
    next(sj.train_epochs(build, config, KEY, {}, train_set, test_set))


runs = pytest.mark.parametrize("run", [whole, from_host], ids=["make_train", "epochs"])


@runs
@pytest.mark.parametrize("field", ["epochs", "batch_size", "eval_batch_size"])
def test_config_that_is_not_made_of_counts(run, field):
    for bad, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)):
        with raises(error, field, f"got {bad}"):
            run(sj.TrainConfig(**{"epochs": 1, field: bad}))


@runs
def test_batch_larger_than_the_set(run):
    with raises(ValueError, "train_set", "21", "got [20, 4]"):
        run(sj.TrainConfig(1, 21))


@runs
@pytest.mark.parametrize("name", ["train_set", "test_set"])
@pytest.mark.parametrize("labels", [LABELS[:10], np.eye(3), LABELS[0]])
def test_sets_with_mismatched_lengths(run, name, labels):
    with raises(ValueError, f"{name} targets", "[20, ...]", f"got {list(labels.shape)}"):
        run(**{name: (IMAGES, labels)})


@runs
@pytest.mark.parametrize("name", ["train_set", "test_set"])
def test_images_and_labels_swapped(run, name):
    with raises(TypeError, f"{name}: images", "uint8", "got dtype int32"):
        run(**{name: (LABELS, IMAGES)})


@runs
def test_an_empty_test_set(run):
    with raises(ValueError, "test_set inputs", ">= 1", "got [0, 4]"):
        run(test_set=(IMAGES[:0], LABELS[:0]))


@runs
@pytest.mark.parametrize("name", ["train_set", "test_set"])
def test_labels_that_the_network_has_no_class_for(run, name):
    with raises(ValueError, f"{name}: targets", "[0, 3)", "from 1 to 3"):
        run(**{name: (IMAGES, LABELS + 1)})


@runs
@pytest.mark.parametrize("name", ["train_set", "test_set"])
def test_float_labels_of_a_set(run, name):
    with raises(TypeError, "integers", "got dtype float32"):
        run(**{name: (IMAGES, LABELS.astype(np.float32))})


@runs
def test_images_of_a_size_that_the_network_does_not_take(run):
    with raises(ValueError, "dense(3)", "[B, 4]", "got [20, 3]"):
        run(test_set=(IMAGES[:, :3], LABELS))


@runs
@pytest.mark.parametrize("name", ["train_set", "test_set"])
def test_integer_images_of_a_set(run, name):
    with raises(TypeError, "images", "uint8", "got dtype int32"):
        run(**{name: ((IMAGES * 255).astype(np.int32), LABELS)})


@runs
@pytest.mark.parametrize("name", ["train_set", "test_set"])
@pytest.mark.parametrize("factor", [255, np.nan])
def test_pixels_of_a_set_out_of_range(run, name, factor):
    # The encoder inside the run only ever sees traced images; the set itself is known.
    with raises(ValueError, "images", "[0, 1]", "got"):
        run(**{name: (IMAGES * np.float32(factor), LABELS)})


# Sweeps and plots -------------------------------------------------------------------------------


def test_grids_without_values():
    with raises(ValueError, "grid", "at least one axis", "got none"):
        sj.grid()
    with raises(ValueError, "width", "at least one value", "got none"):
        sj.grid(width=[], decay=[0.1])


def sweep(keys=jax.random.split(KEY, 2), points=None, **options):
    train = sj.make_train(build, sj.TrainConfig(1, 5))
    points = {"width": np.ones(2, np.float32)} if points is None else points
    return sj.sweep(train, keys, points, SET, SET, **options)


def test_points_of_unequal_lengths():
    with raises(ValueError, "points", "one length", "got [2, 3]"):
        sweep(points={"width": np.ones(2), "decay": np.ones(3)})


@pytest.mark.parametrize("width", [1.0, np.float32(1.0)])
def test_points_without_their_axis(width):
    with raises((TypeError, ValueError), "points", "[H"):
        sweep(points={"width": width})


def test_no_points():
    with raises(ValueError, "points", "one length", "got []"):
        sweep(points={})


def test_chunks_of_nothing():
    for bad, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError)):
        with raises(error, "chunk", f"got {bad}"):
            sweep(chunk=bad)


@pytest.mark.parametrize(("shape", "rows"), [((2, 3, 4), 3), ((2, 3, 4), 1), ((3, 4), 3)])
def test_summary_of_other_points(shape, rows):
    zeros = np.zeros(shape)
    test = sj.training.Evaluation(zeros, {"accuracy": zeros}, *[zeros] * 4)
    history = sj.training.History(zeros, test.metrics, test, zeros)
    with raises(ValueError, "points", "[H, S, E]", f"got {rows}", f"{list(shape)}"):
        sj.summarize(history, [{}] * rows)


@pytest.mark.parametrize("shape", [(3,), (5, 2, 3)])
def test_rasters_of_a_wrong_rank(shape):
    with raises(ValueError, "spikes", "[T, N]", f"got {list(shape)}"):
        sj.plots.raster(None, np.zeros(shape))


# States, sequences and parts of a wrong kind ------------------------------------------------------

SPIKING = {
    "lif": sj.lif(),
    "alif": sj.alif(),
    "leaky": sj.leaky_integrator(decay=0.5),
    "recurrent": sj.recurrent(sj.lif()),
    "current_based": sj.current_based(sj.lif(), decay=0.5),
    "lif_scan": sj.lif(unroll=sj.neurons.lif_scan),
}


@pytest.mark.parametrize("wrap", [lambda net: net, sj.stepwise, lambda net: sj.chunked(net, 2)])
@pytest.mark.parametrize("name", SPIKING)
def test_a_state_of_another_batch_is_refused_by_both_schedules(name, wrap):
    net = wrap(sj.dense(3, SPIKING[name]))
    params, _ = net.init(jax.random.key(0), (2,))
    for batch, inputs in ((1, 4), (4, 1), (2, 3)):
        state, _ = net.initial_state(params, (batch, 2))
        with pytest.raises(ValueError, match=rf"of the inputs, B = {inputs}, got an array"):
            net.unroll(params, state, jnp.zeros((4, inputs, 2)))
        with pytest.raises(ValueError, match=rf"of the inputs, B = {inputs}, got an array"):
            net.step(params, state, jnp.zeros((inputs, 2)))


@pytest.mark.parametrize("name", SPIKING)
def test_a_neuron_refuses_a_state_of_another_shape(name):
    neuron = SPIKING[name]
    params = neuron.init(jax.random.key(0), (3,))
    state = neuron.initial_state((1, 3), jnp.float32)
    message = "must have the shape of one time slice of the inputs"
    with pytest.raises(ValueError, match=message):
        neuron.unroll(params, state, jnp.zeros((2, 4, 3)))
    with pytest.raises(ValueError, match=message):
        neuron.step(params, state, jnp.zeros((4, 3)))


@pytest.mark.parametrize("name", SPIKING)
def test_no_steps_are_refused(name):
    neuron = SPIKING[name]
    layer = sj.dense(3, neuron)
    params, _ = layer.init(jax.random.key(0), (3,))
    nothing = jnp.zeros((0, 4, 3))
    networks = (layer, sj.stepwise(layer), sj.chunked(layer, 2), sj.dense(3), sj.dropout(0.5))
    for net in networks:
        own = params if net.init is layer.init else net.init(jax.random.key(0), (3,))[0]
        with pytest.raises(ValueError, match=r"with T >= 1, got \[0, 4, 3\]"):
            net.unroll(own, net.initial_state(own, (4, 3))[0], nothing)
    with pytest.raises(ValueError, match=r"with T >= 1, got \[0, 4, 3\]"):
        neuron.unroll(params.neuron, neuron.initial_state((4, 3), jnp.float32), nothing)


def test_still_inputs_that_vary():
    layer = sj.dense(3, sj.lif(), inputs=sj.layers.static_input)
    params, _ = layer.init(jax.random.key(0), (2,))
    xs = np.zeros((4, 1, 2), np.float32)
    xs[2] = 1
    for run in (sj.apply, sj.apply_with_stats):
        with pytest.raises(ValueError, match="same at all 4 steps.*other values at step 2"):
            run(layer, params, xs)
    with pytest.raises(ValueError, match="other values at step 2"):
        jax.jit(lambda p: sj.apply(layer, p, xs))(params)  # the inputs are still concrete
    xs[:] = np.nan
    sj.apply(layer, params, jnp.asarray(xs))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: sj.lif(surrogate="arctan"),
            "surrogate must be a Surrogate, such as arctan(), got",
        ),
        (lambda: sj.lif(surrogate=sj.arctan), "got the function arctan"),
        (lambda: sj.alif(surrogate=1.0), "surrogate must be a Surrogate"),
        (lambda: sj.lif(reset="hard"), "reset must be a function such as hard_reset, got 'hard'"),
        (lambda: sj.lif(unroll="scan"), "unroll must be an unroll, such as lif_unroll"),
        (lambda: sj.lif(decay="0.5"), "decay must be a float"),
        (lambda: sj.lif(decay=[0.5]), "decay must be a float"),
        (lambda: sj.alif(reset=None), "reset must be a function"),
        (lambda: sj.neurons.adaptive_reset("hard"), "reset must be a function of lif"),
        (lambda: sj.detach_reset(None), "reset must be a function"),
        (lambda: sj.detach_time(1.0), "reset must be a function"),
        (lambda: sj.recurrent(sj.lif), "neuron must be a Neuron, such as lif(), got the function"),
        (lambda: sj.recurrent(sj.lif(), init=None), "init must be an initializer"),
        (lambda: sj.current_based(0.5, decay=0.5), "neuron must be a Neuron"),
        (lambda: sj.neurons.activation("relu"), "function must be an activation function"),
        (
            lambda: sj.learnable_decay(sj.lif(), sj.neurons.per_layer(0.5)),
            "population must be a function",
        ),
        (
            lambda: sj.learnable_decay(lambda d: d, sj.neurons.per_layer(0.5)),
            "population must be a function",
        ),
        (lambda: sj.learnable_decay(lambda d: sj.lif(decay=d), 0.5), "init must be a function"),
        (lambda: sj.dense(3, sj.lif), "neuron must be a Neuron, such as lif(), or None"),
        (
            lambda: sj.dense(3, inputs="still"),
            "inputs must be varying_input or static_input, got 'still'",
        ),
        (lambda: sj.serial(sj.lif()), "layers must be a Layer"),
        (lambda: sj.stepwise(sj.lif()), "layer must be a Layer"),
        (lambda: sj.chunked([], 2), "layer must be a Layer"),
        (lambda: sj.truncated(None, 2), "layer must be a Layer"),
        (lambda: sj.apply(sj.lif(), (), jnp.zeros((1, 1, 1))), "network must be a Layer"),
        (lambda: sj.apply(sj.flatten(), (), [[1.0]]), "xs must be an array"),
    ],
)
def test_parts_of_a_wrong_kind(make, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        make()
