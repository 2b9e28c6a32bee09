"""Every public function under the strict settings of JAX, all four at once.

Each setting only refuses: implicit promotion of dtypes or of ranks, NaN in a result, a tracer that
outlives its trace. What passes under all four together passes under each of them.
"""

import contextlib
import functools
import gc
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
import pytest

import stbp_jax as sj
from stbp_jax import calls, core, layers, neurons

matplotlib.use("Agg")

T, B, N, C = 4, 3, 5, 3
IMAGE = (6, 6, 1)
KEY = jax.random.key(0)


@contextlib.contextmanager
def strict():
    gc.freeze()  # the search for leaks walks all objects that are not frozen
    with (
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.debug_nans(True),
        # JAX 0.11 and later find tracers in the jaxpr that `closures.opened` keeps.
        jax.checking_leaks(),
    ):
        yield


@pytest.fixture(scope="module", autouse=True)
def _thawed():
    yield
    gc.unfreeze()


# What the runs use --------------------------------------------------------------------------------


def floats(*shape):
    """Dyadic numbers in [0, 1), in the default float."""
    values = np.random.default_rng(0).integers(0, 256, shape) / 256
    return jnp.asarray(values, jnp.result_type(float))


def spikes(*shape):
    return (floats(*shape) < 0.5).astype(jnp.result_type(float))


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def labels():
    return np.arange(B, dtype=np.uint8)


def lengths():
    """The mask of sequences of 2, 3 and 4 steps."""
    return np.arange(T)[:, None] < np.array([[2, 3, 4]])


def restarts():
    return np.arange(T)[:, None] == np.array([[1, 2, 2]])


def total(tree):
    """The sum of all floats of a tree."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return sum((jnp.sum(x).astype(float) for x in leaves), jnp.zeros((), float))


def with_gradient(function, *args):
    """The function as it is, and compiled with its gradient to all arguments."""
    function(*args)
    everywhere = tuple(range(len(args)))
    slope = jax.grad(lambda *args: total(function(*args)), argnums=everywhere)
    return jax.jit(slope)(*args)


def network(layer, shape=(N,), *, schedules=(), dtype=None):
    """A layer by `unroll`, `step` and more schedules, with restarts, statistics and gradients."""
    params = jax.jit(lambda key: layer.init(key, shape)[0])(KEY)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype or leaf.dtype), params)

    def everything(params, xs):
        outs = [sj.apply(schedule, params, xs, key=KEY) for schedule in (layer, *schedules)]
        return total((outs, sj.apply_with_stats(layer, params, xs, is_first=restarts())))

    jax.jit(jax.value_and_grad(everything, argnums=(0, 1)))(params, spikes(T, B, *shape))
    sj.apply(layer, params, pixels(T, B, *shape), key=KEY)
    repr(layer)


def started(layer, t=slice(None)):
    """Parameters, the state at rest and inputs."""
    params, _ = layer.init(KEY, (N,))
    return params, layer.initial_state(params, (B, N))[0], spikes(T, B, N)[t]


def started_network():
    """A network, its parameters and inputs."""
    return LAYER, LAYER.init(KEY, (N,))[0], spikes(T, B, N)


def beside():
    """Two layers side by side, on the same input."""
    return sj.serial(
        layers.rearrange(lambda x: (x, x)),
        sj.parallel(LAYER, sj.dense(2)),
        layers.rearrange(lambda ys: jnp.concatenate(ys, axis=-1)),
    )


def exported(tmp_path):
    net, params, _ = started_network()
    sj.streaming.export_stream(tmp_path / "network.zip", net, params, (N,))


def population(neuron):
    layer = sj.dense(N, neuron)
    network(layer, schedules=(sj.stepwise(layer),))


def unrolled(unroll):
    """An unroll as it is, with each reset, and with gradients to all that it takes."""
    constants = neurons.LIFConstants(jnp.asarray(0.5), jnp.asarray(0.5), sj.gaussian(0.3))
    rest = neurons.LIFState(jnp.zeros((B, N)), jnp.zeros((B, N)))
    for reset in (sj.hard_reset, sj.detach_reset(sj.soft_reset)):
        run = functools.partial(unroll, reset)
        with_gradient(lambda c, s, xs, run=run: run(c, s, xs), constants, rest, floats(T, B, N))


def curve(surrogate):
    v = floats(B, N) - 0.5
    with_gradient(surrogate, v)
    repr((surrogate, surrogate.fwhm, surrogate.peak, surrogate.probe(v), surrogate.in_window(v)))
    with_gradient(surrogate.antiderivative, v)
    jax.jit(lambda width, v: surrogate.replace(width=width)(v))(jnp.asarray(0.5), v)


def build(hparams, num_updates):
    # The updates of optax.adam promote int32 to float, which is optax's to mend.
    neuron = sj.lif(surrogate=sj.rectangular(hparams["width"]))
    return sj.Pipeline(
        encode=lambda key, images: sj.bernoulli(key, images, T),
        network=sj.serial(sj.flatten(), sj.dropout(0.5), sj.dense(C, neuron)),
        readout=sj.rate,
        loss=sj.half_squared_error,
        optimizer=optax.sgd(hparams["learning_rate"]),
        augment=sj.augment.horizontal_flip,
    )


CONFIG = sj.TrainConfig(epochs=1, batch_size=B, eval_batch_size=2)


def hparams():
    return {"width": 1.0, "learning_rate": 0.1}


def data_set():
    return floats(B, 4, 4), labels()


def pipeline():
    return build(hparams(), 1)


def trained():
    """The state and the history of one epoch."""
    return trained_in(jnp.result_type(float))


@functools.cache
def trained_in(dtype):
    return jax.jit(sj.make_train(build, CONFIG))(KEY, hparams(), data_set(), data_set())


def saved_and_loaded(tmp_path):
    params = trained()[0].params
    sj.save(tmp_path / "params.npz", pipeline().network, params)
    sj.load(tmp_path / "params.npz", pipeline().network, params)


def update():
    loss_fn = lambda w, key, x: (jnp.sum((w - x) ** 2), None)  # noqa: E731
    step = sj.training.make_train_step(loss_fn, optax.sgd(0.25))
    w = jnp.zeros(2)
    jax.jit(step)(sj.TrainState(w, optax.sgd(0.25).init(w), KEY, jnp.int32(0)), jnp.ones(2))


def points():
    return sj.grid(width=[0.5, 1.0], learning_rate=[0.1])


def keys():
    return jax.random.split(KEY, 1)


def stream():
    net = sj.serial(sj.flatten(), sj.dense(C, sj.lif()))
    return sj.streaming.make_stream(net, net.init(KEY, (2, 2))[0], shape=(2, 2))


WORDS = np.array([3, 10_000 * 4 + 1, 10_001 * 4 + 2], np.uint32)


def axes():
    from matplotlib.figure import Figure

    return Figure().subplots()


def kernel(key, shape, dtype):
    return jax.nn.initializers.orthogonal()(key, shape, dtype)


def drawn(init):
    init(KEY, (N, C), jnp.result_type(float))


def custom():
    """A neuron of its step alone."""

    def step(params, u, current):
        u = 0.5 * u + current
        return u, u

    return sj.make_neuron(step, jnp.zeros, spiking=False)


def biased():
    """A neuron of its equations."""
    dynamics = neurons.Dynamics(
        reset=lambda c, s: (c.decay * s.membrane * (1 - s.spikes) + 0.25,),
        distance=lambda c, hidden: hidden[0] - c.threshold,
        state=lambda hidden, fired: neurons.LIFState(hidden[0], fired),
        hidden=lambda state: (state.membrane,),
    )
    rest = lambda shape, dtype: neurons.LIFState(*[jnp.zeros(shape, dtype)] * 2)  # noqa: E731
    constants = neurons.LIFConstants(0.5, 0.5, sj.gaussian(0.3))
    return neurons.from_dynamics(dynamics, constants, rest)


def linear(params, x):
    return x.astype(params.dtype) @ params


def synapse():
    return sj.Synapse(
        lambda key, shape: (jnp.ones((shape[0], C)), (C,)), linear, layers.linear_fan_out(linear)
    )


def product(matmul):
    with_gradient(matmul, spikes(B, N), floats(N, C))


def masked(readout, outs):
    readout((outs > 0).astype(jnp.uint8), mask=lengths())
    with_gradient(readout, outs)
    with_gradient(functools.partial(readout, mask=lengths()), outs)


def resets(reset):
    state = neurons.LIFState(floats(B, N), spikes(B, N))
    constants = neurons.LIFConstants(jnp.asarray(0.5), jnp.asarray(0.5), sj.gaussian(0.3))
    with_gradient(reset, constants, state)


def running(readout):
    state = readout.initial_state((B, C), jnp.result_type(float))
    with_gradient(lambda xs: readout.unroll((), state, xs)[1], spikes(T, B, C))


POOLED = (4, 4, 2)
LAYER = sj.dense(C, sj.lif())

# The run of each public function.
RUNS: dict[str, Any] = {
    "augment.elastic": lambda: [
        sj.augment.elastic(KEY, x) for x in (floats(B, 5, 4), pixels(B, 5, 4, 1))
    ],
    "augment.horizontal_flip": lambda: sj.augment.horizontal_flip(KEY, pixels(B, *IMAGE)),
    "core.restart_where": lambda: core.restart_where(
        restarts()[1], floats(B, N), jnp.zeros((B, N))
    ),
    "core.scan": lambda: with_gradient(
        lambda xs: core.scan(lambda _, u, x: (u + x, u))((), jnp.zeros((B, N)), xs),
        floats(T, B, N),
    ),
    "core.given": lambda: core.given(restarts()),
    "core.float_dtype": lambda: core.float_dtype((), pixels(T, B, N)),
    "core.wide_dtype": lambda: core.wide_dtype(jnp.bfloat16),
    "core.make_neuron": lambda: population(custom()),
    "calls.without_stats": lambda: calls.without_stats(LAYER.unroll),
    "core.constants_of": lambda: core.constants_of(LAYER),
    "core.name_of": lambda: core.name_of(sj.hard_reset),
    "calls.step_layer": lambda: calls.step_layer(
        LAYER._replace(step=lambda params, state, x: LAYER.step(params, state, x)),
        *started(LAYER, 0),
        restarts()[0],
    ),
    "calls.unroll_layer": lambda: calls.unroll_layer(
        LAYER._replace(unroll=lambda params, state, xs: LAYER.unroll(params, state, xs)),
        *started(LAYER),
        restarts(),
    ),
    "core.is_shape": lambda: core.is_shape((2, 3)),
    "core.map_shapes": lambda: core.map_shapes(list, {"a": (2, 3)}),
    "calls.unroll_with_stats": lambda: calls.unroll_with_stats(LAYER, *started(LAYER)),
    "encoders.bernoulli": lambda: [
        sj.bernoulli(KEY, x, steps) for x in (floats(B, N), pixels(B, N)) for steps in (4, 40)
    ],
    "encoders.threefry2x32": lambda: sj.encoders.threefry2x32(
        jax.random.key_data(KEY), jnp.zeros(2, jnp.uint32), jnp.ones(2, jnp.uint32)
    ),
    "encoders.constant": lambda: [sj.constant(x, T) for x in (floats(B, N), pixels(B, N))],
    "encoders.latency": lambda: [sj.latency(x, T) for x in (floats(B, N), pixels(B, N))],
    "encoders.pack": lambda: sj.encoders.pack(spikes(T, B, N)),
    "events.by_count": lambda: sj.events.event_spikes(
        WORDS[None], 2, shape=(2, 2), steps=sj.events.by_count(2)
    ),
    "events.by_time": lambda: sj.events.by_time(10_000, start=-5)(np.array([[0, 20_000]])),
    "events.event_counts": lambda: sj.events.event_counts(WORDS[None], 2, shape=(2, 2)),
    "events.event_spikes": lambda: sj.events.event_spikes(WORDS[None], 2, shape=(2, 2)),
    "export.register": lambda: sj.export.register(trained()[0]),
    "initializers.drawn": lambda: sj.initializers.drawn(
        "dense", sj.initializers.fan_in_uniform(), KEY, (N, C)
    ),
    "initializers.plus_bias": lambda: sj.initializers.plus_bias(
        floats(B, C), sj.initializers.Weights(floats(N, C), floats(C))
    ),
    "initializers.fan_in_uniform": lambda: drawn(sj.initializers.fan_in_uniform(2.0)),
    "initializers.fan_in_normalized": lambda: drawn(sj.initializers.fan_in_normalized(2.0, 0.5)),
    "initializers.initializer": lambda: drawn(
        sj.initializers.initializer(kernel, jax.nn.initializers.zeros)
    ),
    "layers.apply": lambda: sj.apply(LAYER, LAYER.init(KEY, (N,))[0], spikes(T, B, N)),
    "layers.apply_with_stats": lambda: sj.apply_with_stats(
        LAYER, LAYER.init(KEY, (N,))[0], spikes(T, B, N)
    ),
    "layers.final_state": lambda: sj.layers.final_state(*started_network(), lengths()),
    "layers.by_name": lambda: layers.by_name(str.isupper)(started_network()[1]),
    "layers.named_parameters": lambda: layers.named_parameters(started_network()[1]),
    "layers.feedback": lambda: network(layers.feedback(LAYER, sj.dense(N))),
    "layers.tied": lambda: network(
        layers.tied(
            sj.serial(sj.dense(N, sj.lif()), sj.dense(N)),
            where=lambda params: params[1].synapse,
            get=lambda params: params[0].synapse,
        )
    ),
    "layers.rearrange": lambda: network(beside()),
    "layers.parallel": lambda: network(beside()),
    "layers.record": lambda: sj.record(LAYER, LAYER.init(KEY, (N,))[0], spikes(T, B, N)),
    "layers.avg_pool": lambda: network(sj.avg_pool(2), POOLED),
    "layers.max_pool": lambda: network(sj.max_pool(2), POOLED),
    "layers.flatten": lambda: network(sj.flatten(), POOLED),
    "layers.concatenate": lambda: network(sj.concatenate(LAYER, sj.dense(2, sj.alif()))),
    "layers.residual": lambda: network(sj.residual(sj.dense(N, sj.lif()))),
    "layers.serial": lambda: network(
        sj.serial(sj.conv(2, 3, sj.lif()), sj.avg_pool(2), sj.flatten(), LAYER), IMAGE
    ),
    "layers.full_matmul": lambda: product(layers.full_matmul),
    "layers.bfloat16_matmul": lambda: product(layers.bfloat16_matmul),
    "layers.event_driven_matmul": lambda: product(layers.event_driven_matmul),
    "layers.split_bfloat16_matmul": lambda: (
        jnp.result_type(float) == jnp.float32 and product(layers.split_bfloat16_matmul)
    ),
    "layers.chunked": lambda: network(sj.chunked(sj.dropout(0.5), 3)),
    "layers.conv": lambda: network(sj.conv(2, 3, sj.lif(), padding="same"), IMAGE),
    "layers.convolve": lambda: with_gradient(
        functools.partial(layers.convolve, padding="valid"), floats(B, *IMAGE), floats(3, 3, 1, 2)
    ),
    "layers.dense": lambda: network(sj.dense(C, sj.lif(), constraint=jnp.abs)),
    "layers.dropout": lambda: network(sj.dropout(0.5)),
    "layers.linear_fan_out": lambda: layers.linear_fan_out(linear)(floats(N, C), (N,)),
    "layers.pointwise": lambda: network(layers.pointwise(synapse())),
    "layers.spiking": lambda: network(layers.spiking(synapse(), sj.lif())),
    "layers.static_input": lambda: sj.apply(
        sj.dense(C, sj.lif(), inputs=layers.static_input),
        LAYER.init(KEY, (N,))[0],
        sj.constant(floats(B, N), T),
    ),
    "layers.varying_input": lambda: layers.varying_input(floats(T, B, N)),
    "layers.stepwise": lambda: network(sj.stepwise(LAYER)),
    "layers.truncated": lambda: network(sj.truncated(LAYER, 3)),
    "layers.summary": lambda: layers.summary(LAYER, (N,)),
    "layers.unpack": lambda: sj.apply(
        layers.unpack(N), layers.LayerParams((), ()), sj.encoders.pack(spikes(T, B, N))
    ),
    "losses.half_squared_error": lambda: [
        with_gradient(lambda s, y=y: sj.half_squared_error(s, y), floats(B, C))
        for y in (labels(), floats(B, C), spikes(B, C).astype(jnp.int32))
    ],
    "losses.cross_entropy": lambda: with_gradient(
        lambda s: sj.cross_entropy(s, labels()), floats(B, C)
    ),
    "losses.negative_log_likelihood": lambda: with_gradient(
        lambda s: sj.losses.negative_log_likelihood(s, labels()), -floats(B, C)
    ),
    "losses.activity_penalty": lambda: [
        with_gradient(lambda s, r=r: sj.losses.activity_penalty(s, target=r), spikes(T, B, N))
        for r in (0.1, floats(N))
    ],
    "metrics.accuracy": lambda: sj.metrics.accuracy(floats(B, C), labels()),
    "metrics.correct": lambda: sj.metrics.correct(floats(B, C), labels()),
    "metrics.firing_rate": lambda: sj.metrics.firing_rate(spikes(T, B, N)),
    "metrics.silent_fraction": lambda: sj.metrics.silent_fraction(spikes(T, B, N)),
    "metrics.synaptic_operations": lambda: [
        sj.metrics.synaptic_operations(spikes(T, B, N), fan_out) for fan_out in (10, floats(N))
    ],
    "neurons.activation": lambda: population(neurons.activation(jax.nn.relu)),
    "neurons.adaptive_reset": lambda: population(
        sj.alif(reset=neurons.adaptive_reset(sj.detach_reset(sj.soft_reset)))
    ),
    "neurons.alif": lambda: population(sj.alif()),
    "neurons.current_based": lambda: population(sj.current_based(sj.lif(), decay=0.5)),
    "neurons.detach_reset": lambda: resets(sj.detach_reset(sj.hard_reset)),
    "neurons.detach_time": lambda: resets(sj.detach_time(sj.hard_reset)),
    "neurons.exponential_reset": lambda: resets(sj.exponential_reset),
    "neurons.hard_reset": lambda: resets(sj.hard_reset),
    "neurons.soft_reset": lambda: resets(sj.soft_reset),
    "neurons.from_dynamics": lambda: population(biased()),
    "neurons.keep_membranes": lambda: network(
        sj.chunked(sj.dense(C, sj.alif()), 3, policy=neurons.keep_membranes)
    ),
    "neurons.leaky_integrator": lambda: population(sj.leaky_integrator(decay=0.5)),
    "neurons.learnable_decay": lambda: population(
        sj.learnable_decay(lambda decay: sj.lif(decay=decay), neurons.per_neuron(0.2, 0.9))
    ),
    "neurons.lif": lambda: population(sj.lif(decay=np.full(N, 0.5, np.float32))),
    "neurons.lif_scan": lambda: unrolled(neurons.lif_scan),
    "neurons.lif_step": lambda: unrolled(
        lambda reset, c, s, xs: neurons.lif_step(reset, c, s, xs[0])
    ),
    "neurons.lif_unroll": lambda: unrolled(neurons.lif_unroll),
    "neurons.per_layer": lambda: population(
        sj.learnable_decay(lambda decay: sj.leaky_integrator(decay=decay), neurons.per_layer(0.5))
    ),
    "neurons.per_neuron": lambda: neurons.per_neuron(0.2, 0.9)(KEY, (N,)),
    "neurons.recurrent": lambda: population(sj.recurrent(sj.lif())),
    "plots.raster": lambda: sj.plots.raster(axes(), spikes(T, N)),
    "plots.curves": lambda: sj.plots.curves(axes(), [sj.rectangular(), sj.arctan()]),
    "plots.membranes": lambda: sj.plots.membranes(axes(), floats(T, N), spikes=spikes(T, N)),
    "plots.populations": lambda: sj.plots.populations(sj.record(*started_network())[0]),
    "plots.record": lambda: sj.plots.record([axes()], sj.record(*started_network())[0]),
    "plots.bands": lambda: sj.plots.bands(axes(), SWEPT, "a"),
    "plots.heat_map": lambda: sj.plots.heat_map(axes(), SWEPT, "a", "b"),
    "plots.learning_curve": lambda: sj.plots.learning_curve(axes(), trained()[1]),
    "readouts.rate": lambda: masked(sj.rate, spikes(T, B, C)),
    "readouts.identity": lambda: masked(sj.readouts.identity, floats(T, B, C)),
    "readouts.first_spike": lambda: [
        sj.first_spike(spikes(T, B, C), mask=mask) for mask in (None, lengths())
    ],
    "readouts.peak_membrane": lambda: masked(sj.peak_membrane, floats(T, B, C)),
    "readouts.mean_log_probability": lambda: masked(
        sj.readouts.mean_log_probability, floats(T, B, C)
    ),
    "streaming.any_event": lambda: sj.streaming.any_event(jnp.ones((1, 2), jnp.uint16)),
    "streaming.classify_stream": lambda: list(
        sj.streaming.classify_stream(stream(), [(120, 3), (25_000, None)], num_steps=2)
    ),
    "streaming.export_stream": exported,
    "streaming.make_stream": lambda: stream().advance(stream().start(), np.ones((1, 2, 2), int)),
    "streaming.margin_rule": lambda: sj.streaming.margin_rule(0.1)(np.array([0.1, 0.4])),
    "streaming.no_early_exit": lambda: sj.streaming.no_early_exit(np.array([0.1, 0.4])),
    "streaming.replay": lambda: list(sj.streaming.replay(WORDS, shape=(2, 2))),
    "streaming.running_peak": lambda: running(sj.streaming.running_peak()),
    "streaming.running_rate": lambda: running(sj.streaming.running_rate()),
    "streaming.with_clock": lambda: list(sj.streaming.with_clock([(120, 3)])),
    "surrogates.forward_mode": lambda: curve(sj.surrogates.forward_mode(sj.sigmoid(0.5))),
    "surrogates.rectangular": lambda: curve(sj.rectangular(0.5)),
    "surrogates.polynomial": lambda: curve(sj.polynomial(2.0)),
    "surrogates.sigmoid": lambda: curve(sj.sigmoid(0.5)),
    "surrogates.gaussian": lambda: curve(sj.gaussian(0.5)),
    "surrogates.arctan": lambda: curve(sj.arctan()),
    "surrogates.superspike": lambda: curve(sj.superspike()),
    "surrogates.matched": lambda: curve(sj.matched(sj.gaussian, 1.0)),
    "sweeps.grid": points,
    "sweeps.log_uniform": lambda: sj.sweeps.log_uniform(0.1, 1.0)(KEY, 3),
    "sweeps.random_points": lambda: sj.sweeps.random_points(KEY, 3, a=sj.sweeps.uniform(0.0, 1.0)),
    "sweeps.uniform": lambda: sj.sweeps.uniform(0.0, 1.0)(KEY, 3),
    "sweeps.summarize": lambda: sj.summarize(
        jax.tree.map(lambda leaf: leaf[None, None], trained()[1]), points()[1][:1]
    ),
    "sweeps.sweep": lambda: sj.sweep(
        sj.make_train(build, CONFIG), keys(), points()[0], data_set(), data_set()
    ),
    "sweeps.sweep_chunks": lambda: list(
        sj.sweeps.sweep_chunks(
            sj.make_train(build, CONFIG), keys(), points()[0], data_set(), data_set(), chunk=1
        )
    ),
    "sweeps.sweep_epochs": lambda: list(
        sj.sweeps.sweep_epochs(build, CONFIG, keys(), points()[0], data_set(), data_set())
    ),
    "training.adversarial": lambda: sj.training.adversarial(
        lambda params, key, batch: (jnp.sum(params * batch[0]), None), epsilon=0.25
    )(floats(B, N), KEY, (pixels(B, N), labels())),
    "training.diagnose": lambda: sj.training.diagnose(trained()[1]),
    "training.evaluate": lambda: sj.evaluate(
        pipeline(), trained()[0].params, KEY, *data_set(), batch_size=2
    ),
    "training.first_non_finite": lambda: sj.training.first_non_finite(
        build, CONFIG, KEY, hparams(), data_set()
    ),
    "training.loss_of": lambda: jax.grad(sj.training.loss_of(pipeline()), has_aux=True)(
        trained()[0].params, KEY, data_set()
    ),
    "training.merge_evaluations": lambda: sj.training.merge_evaluations(
        [sj.evaluate(pipeline(), trained()[0].params, KEY, *data_set())] * 2
    ),
    "training.init_state": lambda: sj.training.init_state(
        build, CONFIG, KEY, hparams(), data_set()
    ),
    "training.load": saved_and_loaded,
    "training.save": saved_and_loaded,
    "training.make_epoch": lambda: sj.training.make_epoch(build, CONFIG)(
        KEY, hparams(), trained()[0], data_set(), data_set()
    ),
    "training.make_train": lambda: sj.make_train(build, CONFIG)(
        KEY, hparams(), data_set(), data_set()
    ),
    "training.make_train_step": update,
    "training.num_updates": lambda: sj.training.num_updates(CONFIG, data_set()),
    "training.train_epochs": lambda: list(
        sj.train_epochs(build, CONFIG, KEY, hparams(), data_set(), data_set())
    ),
}


SWEPT = [{"a": a, "b": 1.0, "last_mean": a, "last_sd": 0.1} for a in (0.5, 1.0)]


def public_functions():
    """The names of all public functions, such as `neurons.lif`."""
    for part in sj.__all__:
        module = getattr(sj, part)
        if not inspect.ismodule(module) or module is sj.data:  # `data` does not import JAX
            continue
        listed = getattr(module, "__all__", None)
        for name in listed or [name for name in vars(module) if not name.startswith("_")]:
            thing = inspect.unwrap(getattr(module, name))
            if inspect.isroutine(thing) and (listed or thing.__module__ == module.__name__):
                yield f"{part}.{name}"


def test_every_public_function_has_a_run():
    assert sorted(public_functions()) == sorted(RUNS)


def run(name, tmp_path):
    trained()  # once, and without the search for leaks
    with strict():
        RUNS[name](*[tmp_path] * len(inspect.signature(RUNS[name]).parameters))


SLOW = ("augment", "layers", "neurons", "streaming", "sweeps", "training")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.heavy) if n.startswith(SLOW) else n for n in RUNS],
)
def test_runs_under_all_settings(name, tmp_path):
    run(name, tmp_path)


@pytest.mark.heavy
def test_bfloat16_weights_run_under_all_settings():
    net = sj.serial(
        sj.conv(2, 3, sj.lif()),
        sj.avg_pool(2),
        sj.flatten(),
        sj.dense(4, sj.alif()),
        sj.dense(C, sj.leaky_integrator(decay=0.5)),
    )
    with strict():
        network(net, IMAGE, dtype=jnp.bfloat16)


def test_an_unknown_statistic_is_a_nan_that_debug_nans_refuses():
    layer = LAYER._replace(unroll_with_stats=None)
    params, state, xs = started(layer)
    assert np.isnan(calls.unroll_with_stats(layer, params, state, xs)[2][0].in_window)
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        calls.unroll_with_stats(layer, params, state, xs)


@pytest.mark.heavy
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", RUNS)
def test_runs_under_all_settings_in_float64(name, tmp_path):
    run(name, tmp_path)
