"""Generated probes: every function of arrays x every kind of bad or unusual array.

A probe replaces one array of a good call. A replacement with the same values (another layout, a
wider dtype, a trace) must give the same result or raise. A replacement with bad values must raise
an error that names the problem, or show in the result. `SILENT` lists the exceptions, with reasons.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj
from stbp_jax import data

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
T, B, N, C = 4, 3, 6, 5


def floats(*shape):
    return RNG.uniform(0.1, 0.9, shape).astype(np.float32)


def spikes(*shape):
    return RNG.integers(0, 2, shape).astype(np.float32)


NET = sj.serial(sj.dense(4, sj.lif()), sj.dense(C, sj.lif()))
PARAMS, _ = NET.init(KEY, (N,))
CONV = sj.conv(2, 3, sj.lif())
CONV_PARAMS, _ = CONV.init(KEY, (4, 4, 1))
LABELS = np.array([0, 2, 4], np.int32)
PIPELINE = sj.Pipeline(
    lambda key, x: sj.constant(x, 2), NET, sj.rate, sj.half_squared_error, optax.sgd(0.1)
)
EVENTS = np.array([[3, 12, 27, 2**32 - 1], [5, 6, 7, 8]], np.uint32)


def neuron(make):
    return lambda currents: make.unroll((), make.initial_state((B, N), jnp.float32), currents)


def evaluated(images, labels):
    return sj.evaluate(PIPELINE, PARAMS, KEY, images, labels, batch_size=2)


# name -> (function of arrays by name, good arrays)
CALLS: dict[str, tuple[Any, dict[str, np.ndarray]]] = {
    "bernoulli": (lambda images: sj.bernoulli(KEY, images, T), {"images": floats(B, N)}),
    "constant": (lambda images: sj.constant(images, T), {"images": floats(B, N)}),
    "latency": (lambda images: sj.latency(images, T), {"images": floats(B, N)}),
    "constant of bytes": (
        lambda images: sj.constant(images, T),
        {"images": RNG.integers(0, 256, (B, N)).astype(np.uint8)},
    ),
    "pack": (sj.encoders.pack, {"spikes": spikes(T, B, N)}),
    "rate": (sj.rate, {"outs": spikes(T, B, C)}),
    "first_spike": (sj.first_spike, {"spikes": spikes(T, B, C)}),
    "peak_membrane": (sj.peak_membrane, {"membranes": floats(T, B, C)}),
    "mean_log_probability": (sj.readouts.mean_log_probability, {"outs": floats(T, B, C)}),
    "half_squared_error": (sj.half_squared_error, {"scores": floats(B, C), "targets": LABELS}),
    "half_squared_error of rates": (
        sj.half_squared_error,
        {"scores": floats(B, C), "targets": floats(B, C)},
    ),
    "cross_entropy": (sj.cross_entropy, {"scores": floats(B, C), "labels": LABELS}),
    "negative_log_likelihood": (
        sj.losses.negative_log_likelihood,
        {"log_probabilities": -floats(B, C), "labels": LABELS},
    ),
    "activity_penalty": (
        lambda spikes, target: sj.losses.activity_penalty(spikes, target=target),
        {"spikes": spikes(T, B, N), "target": floats(N)},
    ),
    "accuracy": (sj.metrics.accuracy, {"scores": floats(B, C), "labels": LABELS}),
    "firing_rate": (sj.metrics.firing_rate, {"spikes": spikes(T, B, N)}),
    "silent_fraction": (sj.metrics.silent_fraction, {"spikes": spikes(T, B, N)}),
    "synaptic_operations": (
        sj.metrics.synaptic_operations,
        {"spikes": spikes(T, B, N), "fan_out": np.full(N, 3.0, np.float32)},
    ),
    "event_spikes": (
        lambda events: sj.events.event_spikes(events, T, steps=sj.events.by_time(1), shape=(5, 2)),
        {"events": EVENTS},
    ),
    "event_counts": (
        lambda events: sj.events.event_counts(events, T, steps=sj.events.by_count(1), shape=(5, 2)),
        {"events": EVENTS},
    ),
    "elastic": (lambda images: sj.augment.elastic(KEY, images), {"images": floats(B, 6, 6)}),
    "horizontal_flip": (
        lambda images: sj.augment.horizontal_flip(KEY, images),
        {"images": floats(B, 6, 6)},
    ),
    "apply": (lambda xs: sj.apply(NET, PARAMS, xs), {"xs": floats(T, B, N)}),
    "apply still": (
        lambda xs: sj.apply(sj.dense(4, inputs=sj.layers.static_input), PARAMS[0], xs),
        {"xs": np.repeat(floats(1, B, N), T, 0)},
    ),
    "activity": (lambda xs: sj.apply_with_stats(NET, PARAMS, xs), {"xs": floats(T, B, N)}),
    "chunked": (lambda xs: sj.apply(sj.chunked(NET, 3), PARAMS, xs), {"xs": floats(T, B, N)}),
    "conv": (lambda xs: sj.apply(CONV, CONV_PARAMS, xs), {"xs": floats(T, B, 4, 4, 1)}),
    "avg_pool": (
        lambda xs: sj.apply(sj.avg_pool(2), sj.avg_pool(2).init(KEY, (4, 4, 1))[0], xs)[1],
        {"xs": floats(T, B, 4, 4, 1)},
    ),
    "full_matmul": (sj.layers.full_matmul, {"x": spikes(B, N), "kernel": floats(N, C)}),
    "bfloat16_matmul": (sj.layers.bfloat16_matmul, {"x": spikes(B, N), "kernel": floats(N, C)}),
    "split_bfloat16_matmul": (
        sj.layers.split_bfloat16_matmul,
        {"x": spikes(B, N), "kernel": floats(N, C)},
    ),
    "event_driven_matmul": (
        sj.layers.event_driven_matmul,
        {"x": spikes(B, N), "kernel": floats(N, C)},
    ),
    "lif": (neuron(sj.lif()), {"currents": floats(T, B, N)}),
    "lif_scan": (
        neuron(sj.lif(unroll=sj.neurons.lif_scan)),
        {"currents": floats(T, B, N)},
    ),
    "alif": (neuron(sj.alif()), {"currents": floats(T, B, N)}),
    "leaky": (neuron(sj.leaky_integrator(decay=0.5)), {"currents": floats(T, B, N)}),
    "lif(decay)": (
        lambda decay, threshold: neuron(sj.lif(decay=decay, threshold=threshold))(
            jnp.ones((T, B, N))
        ),
        {"decay": floats(N), "threshold": floats(N)},
    ),
    "rectangular": (lambda width: sj.rectangular(width).derivative(0.1), {"width": floats(N)}),
    "matched": (lambda fwhm: sj.matched(sj.gaussian, fwhm).width, {"fwhm": floats(N)}),
    "surrogate": (lambda v: sj.sigmoid()(v), {"v": floats(B, N)}),
    "derivative": (lambda v: sj.rectangular().derivative(v), {"v": floats(B, N)}),
    "evaluate": (evaluated, {"images": floats(B, N), "labels": LABELS}),
    "pack_events": (
        lambda times, addresses: data.pack_events([(times, addresses)], 10),
        {"times": np.array([0, 3, 9], np.int32), "addresses": np.array([7, 1, 2], np.int32)},
    ),
    "grid": (lambda width: sj.grid(width=width)[0], {"width": floats(N)}),
}


def not_contiguous(x):
    return np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def wide(x):
    return x.astype({"f": np.float64, "i": np.int64, "u": np.uint64}[x.dtype.kind])


def masked(x):
    return np.ma.masked_array(x, x == x.max())


KEPT = {
    "not contiguous": not_contiguous,
    "read-only": read_only,
    "64 bits": wide,
    "jax": jnp.asarray,
}


def poked(value):
    def poke(x):
        if x.dtype.kind != "f":
            return None
        x = x.copy()
        x.flat[x.size // 2] = value
        return x

    return poke


SPOILED = {
    "NaN": poked(np.nan),
    "text": lambda x: np.full(x.shape, "a"),
    "objects": lambda x: np.full(x.shape, None),
    "complex": lambda x: x + 1j,
    "masked": masked,
    "None": lambda x: None,
    "two axes more": lambda x: x[None, None],
}
# Bad values that pass in silence, and why that is right.
SILENT = {
    ("accuracy", "scores", "NaN"): "the example counts as wrong",
    ("synaptic_operations", "spikes", "two axes more"): "units of any number of axes",
}
ANY_SHAPE = {"surrogate", "derivative", "rectangular", "matched", "firing_rate", "pack", "rate"}
ANY_SHAPE |= {"bernoulli", "constant", "latency", "constant of bytes", "first_spike"}
ANY_SHAPE |= {"peak_membrane", "mean_log_probability", "silent_fraction", "activity_penalty"}
ON_THE_HOST = {"pack_events", "grid"}  # not for jit


def outcome(function, arrays):
    try:
        with np.errstate(all="ignore"):
            return jax.tree.map(np.asarray, function(**arrays))
    except Exception as error:
        return error


def same(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.allclose(np.float64(x), np.float64(y), 1e-5, 1e-6, True) for x, y in leaves)


CASES = [(name, argument) for name, (_, arrays) in CALLS.items() for argument in arrays]
# Of a kind with another case, and many programs.
HEAVY = {"activity", "alif", "apply", "bernoulli", "chunked", "conv", "elastic", "evaluate"}
HEAVY |= {"event_driven_matmul", "event_spikes", "lif_scan", "lif(decay)"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "argument"),
    [pytest.param(*c, marks=[pytest.mark.heavy] if c[0] in HEAVY else []) for c in CASES],
)
def test_another_layout_gives_the_same_or_is_refused(name, argument):
    function, arrays = CALLS[name]
    wanted = function(**arrays)
    for kind, change in KEPT.items():
        got = outcome(function, {**arrays, argument: change(arrays[argument])})
        if isinstance(got, Exception):
            assert isinstance(got, TypeError), kind
            assert argument in str(got), kind
        else:
            assert same(got, wanted), kind
    if name not in ON_THE_HOST:
        traced = jax.jit(lambda x: function(**{**arrays, argument: x}))
        assert same(traced(arrays[argument]), wanted)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "argument"), CASES)
def test_what_is_spoiled_shows(name, argument):
    function, arrays = CALLS[name]
    for kind, change in SPOILED.items():
        x = change(arrays[argument])
        if (x is None and kind != "None") or (name, argument, kind) in SILENT:
            continue
        if kind == "two axes more" and name in ANY_SHAPE:
            continue
        got = outcome(function, {**arrays, argument: x})
        if isinstance(got, Exception):
            assert isinstance(got, TypeError | ValueError), (kind, got)
            known = (argument, "must", "needs")
            assert any(word in str(got) for word in known), (kind, got)
        else:
            leaves = [np.float64(leaf) for leaf in jax.tree.leaves(got)]
            assert any(np.isnan(leaf).any() for leaf in leaves), (kind, "passed in silence")
