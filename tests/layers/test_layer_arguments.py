"""Arguments of layers, initializers, convolutions and presets: errors for bad ones."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj

# presets

KEY = jax.random.key(0)
zeros = jax.nn.initializers.zeros


def raises(error, *parts):
    """Expects `error` with all parts in its message, in this order."""
    return pytest.raises(error, match="(?s)" + ".*".join(re.escape(str(p)) for p in parts))


# Layers -----------------------------------------------------------------------------------------

INTEGERS = {
    "avg_pool": (sj.avg_pool, "window"),
    "unpack": (sj.layers.unpack, "shape"),
    "dense": (sj.dense, "features"),
    "conv": (lambda n: sj.conv(n, 3), "features"),
    "conv kernel": (lambda n: sj.conv(2, n), "kernel"),
}


@pytest.mark.parametrize(("make", "name"), INTEGERS.values(), ids=INTEGERS)
def test_sizes_that_are_no_static_integers(make, name):
    for bad in ("2", 2.0, np.float32(2), None, True, [2, 2], np.array([2, 2])):
        with raises(TypeError, f"{name} must be a static integer, got {bad!r}"):
            make(bad)
    for bad in (0, -1):
        with raises(ValueError, f"{name} must be at least 1, got {bad}"):
            make(bad)
    with raises(TypeError, f"{name} must be a static integer, got", "Tracer"):
        jax.eval_shape(lambda n: make(n).init(KEY, (4, 4, 1)), 2)
    make(np.int64(2))


@pytest.mark.parametrize("kernel", [(), (3,), (3, 3, 3)])
def test_kernels_of_other_ranks(kernel):
    with raises(ValueError, "kernel must be one integer or two", f"got {kernel}"):
        sj.conv(2, kernel)


@pytest.mark.parametrize("padding", ["SAME", "Valid", "full", 1, None, ("same",), [(1, 1)] * 2])
def test_other_paddings(padding):
    with raises(ValueError, "padding must be 'valid' or 'same'", f"got {padding!r}"):
        sj.conv(2, 3, padding=padding)
    x = np.ones((1, 3, 3, 1), np.float32)
    with raises(ValueError, "padding must be 'valid' or 'same'", f"got {padding!r}"):
        sj.layers.convolve(x, x[:, :2, :2], padding)


@pytest.mark.parametrize("padding", [np.array(["same"]), np.array(["same", "valid"])])
def test_paddings_of_numpy(padding):
    for make in (
        lambda: sj.conv(2, 3, padding=padding),
        lambda: sj.layers.convolve(np.ones((1, 3, 3, 1)), np.ones((1, 1, 1, 1)), padding),
    ):
        with raises(ValueError, "padding must be 'valid' or 'same', got array("):
            make()


@pytest.mark.parametrize("rate", ["0.5", None, True, [0.5], (0.5,), np.int64(0)])
def test_dropout_rates_of_a_wrong_kind(rate):
    with raises(TypeError, "rate must be a float", f"got {rate!r}"):
        sj.dropout(rate)


def test_dropout_rates_are_scalars():
    rates = np.array([0.1, 0.5], np.float32)
    with raises(ValueError, "rate must be one number, got shape [2]"):
        sj.dropout(rates)
    with raises(ValueError, "rate must be one number, got shape [2]"):
        jax.eval_shape(lambda r: sj.dropout(r).initial_state((), (3, 2), key=KEY), rates)


LAYERS = {
    "dense": (sj.dense(2), (3,)),
    "conv": (sj.conv(2, 2), (4, 4, 1)),
    "avg_pool": (sj.avg_pool(2), (4, 4, 1)),
    "flatten": (sj.flatten(), (2, 2)),
    "dropout": (sj.dropout(0.5), (3,)),
    "unpack": (sj.layers.unpack(2, 5), (2,)),
}
layers = pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)


@layers
def test_shapes_that_are_none(layer, shape):
    for bad in (3, None, "34", ("3",) * len(shape), tuple(map(float, shape))):
        with raises(TypeError, "shape must be a tuple of static integers", f"got {bad!r}"):
            layer.init(KEY, bad)
    with raises(ValueError, "shape must be at least 0, got -1"):
        layer.init(KEY, (*shape[:-1], -1))
    for same in (list(shape), np.array(shape)):
        out = layer.init(KEY, same)[1]
        assert out == layer.init(KEY, shape)[1]
        assert all(type(size) is int for size in out)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("dense", (0,)), ("conv", (4, 4, 0)), ("avg_pool", (4, 4, 0))],
)
def test_layers_without_inputs(name, shape):
    with raises(ValueError, f"{name}(2", "needs", f"{list(shape)}"):
        LAYERS[name][0].init(KEY, shape)
    with raises(ValueError, "got [4, 4]: first rearrange(lambda x: x[..., None])"):
        sj.conv(2, 2).init(KEY, (4, 4))
    with raises(ValueError, "conv(2, 2x2) needs pixels", "[0, 4, 1]"):
        sj.conv(2, 2, padding="same").init(KEY, (0, 4, 1))


@layers
def test_inputs_of_a_step_that_are_no_arrays(layer, shape):
    params = layer.init(KEY, shape)[0]
    x = np.ones((2, *shape), np.float32)
    for bad, shown in (
        (x.tolist(), "got list"),
        (np.ma.masked_array(x, x > 0), "without a mask"),
        (x.astype(object), "got dtype object"),
        (jnp.asarray(x, jnp.complex64), "got dtype complex64"),
    ):
        with raises(TypeError, "inputs must be", shown):
            layer.step(params, (), bad)


# Weights ----------------------------------------------------------------------------------------


def test_a_step_of_several_arrays():
    layer = sj.dense(3, sj.lif())
    params, _ = layer.init(KEY, (2,))
    state, _ = layer.initial_state(params, (1, 2))
    with raises(TypeError, "x must be one array [B, ...], got dict: `parallel` takes a pytree"):
        layer.step(params, state, {"picture": jnp.ones((1, 2))})


@pytest.mark.parametrize("other", [{"0": (), "1": ()}, ((),), None])
def test_parameters_of_another_form(other):
    network = sj.serial(sj.dense(3), sj.dense(2))
    got = type(other).__name__ + ("" if other is None else f" of {len(other)}")
    with raises(TypeError, "params must be a tuple of 2, one entry for each layer", f"got {got}"):
        sj.apply(network, other, jnp.ones((1, 1, 4)))


@pytest.mark.parametrize("make", [sj.dense, lambda n, **kw: sj.conv(n, 1, **kw)])
def test_functions_that_are_none(make):
    for name in ("init", "inputs"):
        for bad in (None, "he", 1, np.zeros(2)):
            with raises(TypeError, f"{name} must be", f"got {bad!r}"):
                make(2, **{name: bad})


WEIGHTS = {
    "array": (zeros, TypeError, "must return Weights(kernel, bias), got an array"),
    "None": (lambda k, s, d: None, TypeError, "got NoneType"),
    "tuple": (lambda k, s, d: (jnp.zeros(s), None), TypeError, "got tuple"),
    "no kernel": (
        lambda k, s, d: sj.initializers.Weights(None),
        TypeError,
        "init's kernel must be an array",
    ),
    "integers": (
        lambda k, s, d: sj.initializers.Weights(np.zeros(s, int)),
        TypeError,
        "init's kernel must be floats, got dtype int64",
    ),
    "other kernel": (
        lambda k, s, d: sj.initializers.Weights(np.zeros((5, *s[1:]), d)),
        ValueError,
        "init's kernel must have shape [",
    ),
    "other bias": (
        lambda k, s, d: sj.initializers.Weights(np.zeros(s, d), np.zeros(7, d)),
        ValueError,
        "init's bias must have shape [2], got [7]",
    ),
    "flat bias": (  # which would be reshaped in silence
        lambda k, s, d: sj.initializers.Weights(np.zeros(s, d), np.zeros((1, 2), d)),
        ValueError,
        "init's bias must have shape [2], got [1, 2]",
    ),
}


@pytest.mark.parametrize("case", WEIGHTS.values(), ids=WEIGHTS)
def test_what_init_makes(case):
    init, error, message = case
    with raises(error, "dense(2): ", message):
        sj.dense(2, init=init).init(KEY, (3,))
    with raises(error, "conv(2, 2x2): ", message):
        sj.conv(2, 2, init=init).init(KEY, (3, 3, 1))
    with raises(error, "dense(2): ", message):
        jax.eval_shape(lambda k: sj.dense(2, init=init).init(k, (3,)), KEY)


@pytest.mark.parametrize(
    ("matmul", "shape"), [(lambda x, k: x, [4, 3]), (lambda x, k: (x @ k)[:1], [1, 2])]
)
def test_what_a_matmul_makes(matmul, shape):
    params = sj.dense(2).init(KEY, (3,))[0]
    with raises(ValueError, "dense(2): matmul must give shape [4, 2]", f"got {shape}"):
        sj.dense(2, matmul=matmul).step(params, (), np.ones((4, 3), np.float32))


INITIALIZERS = {
    "fan_in_uniform": sj.initializers.fan_in_uniform(),
    "fan_in_normalized": sj.initializers.fan_in_normalized(),
    "initializer": sj.initializers.initializer(jax.nn.initializers.lecun_normal()),
}


@pytest.mark.parametrize("init", INITIALIZERS.values(), ids=INITIALIZERS)
def test_kernels_that_cannot_be_drawn(init):
    for shape in ((0, 3), (2, 0, 3), ()):
        with raises(ValueError, "[*in, out] with at least one input", f"got {list(shape)}"):
            init(KEY, shape, jnp.float32)
    for shape in (3, (3.0, 2), "32", None):
        with raises(TypeError, "shape must be a tuple of static integers", f"got {shape!r}"):
            init(KEY, shape, jnp.float32)
    for dtype in (jnp.int32, bool, complex, "foo"):
        with raises(TypeError, "dtype must be a dtype of floats, got"):
            init(KEY, (3, 2), dtype)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (sj.initializers.fan_in_uniform, "scale"),
        (sj.initializers.fan_in_normalized, "gain"),
        (lambda b: sj.initializers.fan_in_normalized(1.0, b), "bias"),
    ],
)
def test_numbers_of_initializers(make, name):
    for bad in (-1, np.nan, np.inf, *(() if name == "bias" else (0,))):
        with raises(ValueError, f"{name} must be", f"got {float(bad)}"):
            make(bad)
    for bad in ("1", None, True, [1.0]):
        with raises(TypeError, f"{name} must be a float", f"got {bad!r}"):
            make(bad)
    with raises(ValueError, f"{name} must be one number, got shape [2]"):
        make(np.ones(2))


@pytest.mark.parametrize("bad", ["zeros", 1, np.zeros((3, 2))])
def test_initializers_of_no_function(bad):
    with raises(TypeError, "kernel must be a function", f"got {bad!r}"):
        sj.initializers.initializer(bad)
    with raises(TypeError, "bias must be a function or None", f"got {bad!r}"):
        sj.initializers.initializer(zeros, bad)


def test_a_row_of_zeros_gets_its_norm():
    # A bfloat16 draw is 0 once in 256, and a single input is all that its post-neuron has.
    kernel = np.asarray(
        sj.initializers.fan_in_normalized(2.0)(KEY, (1, 3000), jnp.bfloat16).kernel, np.float32
    )
    np.testing.assert_array_equal(np.abs(kernel), 2)
    drawn = np.asarray(jax.random.uniform(jax.random.split(KEY)[0], (1, 3000), jnp.bfloat16, -1, 1))
    assert np.any(drawn == 0)


# Convolution and presets ------------------------------------------------------------------------


def test_convolutions_of_what_does_not_fit():
    kernel = np.ones((2, 2, 1, 1), np.float32)
    for x, error, *message in (
        (np.ones((1, 4, 4, 1), np.int8), TypeError, "kernel's dtype float32", "int8"),
        (np.ones((1, 4, 4, 2), np.float32), ValueError, "x must have 1 channels", "[1, 4, 4, 2]"),
        (np.ones((4, 4, 1), np.float32), ValueError, "x must have shape [B, height", "[4, 4, 1]"),
        (np.ones((1, 1, 4, 1), np.float32), ValueError, "as large as the kernel", "[1, 1, 4, 1]"),
        (np.ones((0, 1, 4, 1), np.float32), ValueError, "as large as the kernel", "[0, 1, 4, 1]"),
        ([[[[1.0]]]], TypeError, "x must be an array, got list"),
    ):
        with raises(error, *message):
            sj.layers.convolve(x, kernel, "valid")
    with raises(ValueError, "kernel must have shape [kh, kw, channels, features], got [2, 2, 1]"):
        sj.layers.convolve(np.ones((1, 4, 4, 1), np.float32), kernel[..., 0], "valid")


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "6", None])
def test_updates_of_an_epoch(bad):
    # With none of them, optax would leave the rate constant.
    with raises((TypeError, ValueError), "updates_per_epoch must be", f"got {bad!r}"):
        sj.presets.paper.mnist.optimizer(bad)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("learning_rate", -1.0),
        ("learning_rate", np.nan),
        ("learning_rate", "1e-3"),
        ("decay_factor", 0.0),
        ("decay_epochs", 0),
        ("decay_epochs", 1.5),
    ],
)
def test_schedules_of_a_preset(name, bad):
    preset = sj.presets.paper.mnist._replace(**{name: bad})
    with raises((TypeError, ValueError), f"{name} must be", f"got {bad!r}"):
        preset.optimizer(10)
