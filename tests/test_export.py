"""`jax.export` of the library's functions, and networks in files that run without it."""

import importlib.util
import inspect
import json
import pkgutil
import subprocess
import sys
import textwrap
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import stbp_jax as sj
from stbp_jax import neurons, streaming
from stbp_jax.streaming import exporting
from tests.contracts import assert_near, assert_same, dyadic

pytest.importorskip("flatbuffers")

KEY = jax.random.key(0)
CURVE = sj.gaussian(0.5)
NEURONS = (
    sj.lif(decay=0.5, surrogate=CURVE),
    sj.alif(decay=0.5, adaptation_decay=0.5, surrogate=CURVE),
    sj.recurrent(sj.lif(decay=0.5, surrogate=CURVE)),
    sj.current_based(sj.lif(unroll=neurons.lif_scan, surrogate=CURVE), decay=0.5),
    sj.learnable_decay(lambda decay: sj.lif(decay=decay, surrogate=CURVE), neurons.per_layer(0.5)),
    sj.leaky_integrator(decay=0.5),
)
LOUD = sj.initializers.fan_in_normalized(gain=4.0)
NETWORKS = {
    "all neurons": (sj.serial(*(sj.dense(5, neuron, init=LOUD) for neuron in NEURONS)), (4,)),
    "images": (
        sj.serial(
            sj.conv(2, 3, NEURONS[0], padding="same"),
            sj.avg_pool(2),
            sj.max_pool(2),
            sj.flatten(),
            sj.residual(sj.dense(2, NEURONS[1])),
            sj.concatenate(sj.dense(2, matmul=sj.layers.event_driven_matmul), sj.dropout(0.5)),
        ),
        (4, 4, 1),
    ),
}


def inputs(shape, *, steps=4, batch=2):
    return jnp.asarray(dyadic(np.random.default_rng(0), -1, 2, (steps, batch, *shape)), jnp.float32)


def params_of(network, shape):
    return network.init(KEY, shape)[0]


def sent(exported, **kwargs):
    """The exported function after a passage through bytes."""
    return export.deserialize(exported.serialize(**kwargs)).call


# Types --------------------------------------------------------------------------------------------

ENDINGS = ("Params", "State", "Stats", "Weights", "Probe", "History", "Evaluation")


def types_of_trees():
    """The package's NamedTuples that programs take and return, by their names."""
    found = set()
    for module in pkgutil.walk_packages(sj.__path__, "stbp_jax."):
        if ".bridges" not in module.name and ".testing" not in module.name:
            found |= {
                thing
                for name, thing in vars(importlib.import_module(module.name)).items()
                if inspect.isclass(thing) and hasattr(thing, "_fields") and name.endswith(ENDINGS)
            }
    return sorted(found, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", types_of_trees(), ids=lambda kind: kind.__name__)
def test_every_type_of_a_tree_is_registered(kind):
    tree = kind(*map(jnp.float32, range(len(kind._fields))))
    assert_same(sent(export.export(jax.jit(lambda tree: tree))(tree))(tree), tree)


def test_the_types_are_found():
    names = {kind.__name__ for kind in types_of_trees()}
    assert {"TrainState", "LayerParams", "LIFState", "Weights", "StreamState"} <= names


class Own(sj.layers.LayerParams):
    """A type of the user's, in whose name nothing is private."""


def test_register_adds_the_types_of_a_tree_once():
    tree = {"own": [Own(jnp.ones(2), ())]}
    same = export.export(jax.jit(lambda tree: tree))(tree)
    with pytest.raises(ValueError, match="unregistered"):
        same.serialize()
    for _ in range(2):
        sj.export.register(tree)
    assert_same(sent(same)(tree), tree)


def test_two_types_of_one_name_are_refused():
    def made():
        return type("Twice", (sj.layers.LayerParams,), {"__module__": "mine._private"})(1.0, 2.0)

    sj.export.register(made())
    with pytest.raises(ValueError, match=r"mine\.Twice"):
        sj.export.register(made())


TRAINING = """
import jax, jax.numpy as jnp, optax
import stbp_jax as sj

network = sj.serial(sj.dense(5, sj.lif()), sj.dense(3, sj.leaky_integrator(decay=0.5)))
weights_alone = sj.layers.by_name(lambda name: "decay" if name.endswith("kernel") else "plain")
optimizer = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.partition(
        {
            "decay": optax.adamw(optax.cosine_decay_schedule(0.1, 10)),
            "plain": optax.inject_hyperparams(optax.sgd)(0.1, momentum=0.5),
        },
        weights_alone,
    ),
)

def loss_fn(params, key, batch):
    xs, labels = batch
    outs = sj.apply(network, params, xs)[1]
    return sj.cross_entropy(sj.peak_membrane(outs), labels).mean(), None

params, _ = network.init(jax.random.key(0), (4,))
state = sj.TrainState(params, optimizer.init(params), jax.random.key(1), jnp.int32(0))
batch = jnp.linspace(-1, 2, 24).reshape((3, 2, 4)), jnp.array([0, 2])
sj.export.register(state)
"""


def test_an_update_of_training_runs_in_another_process(tmp_path):
    """The types of the state have the same names there."""
    here = {}
    exec(TRAINING, here)
    step = jax.jit(sj.training.make_train_step(here["loss_fn"], here["optimizer"]))
    exported = export.export(step)(here["state"], here["batch"])
    (tmp_path / "step").write_bytes(exported.serialize())
    state, losses = here["state"], []
    for _ in range(2):
        state, (loss, _) = step(state, here["batch"])
        losses.append(float(loss))
    assert losses[1] < losses[0]
    there = python(
        TRAINING
        + """
step = jax.export.deserialize(bytearray(open("step", "rb").read())).call
for _ in range(2):
    state, (loss, _) = step(state, batch)
    print(float(loss))
print(float(jnp.sum(state.params[0].synapse.kernel)))
""",
        tmp_path,
        flags=[],
    )
    wanted = [*losses, float(jnp.sum(state.params[0].synapse.kernel))]
    np.testing.assert_allclose(np.array(there.split(), float), wanted, rtol=1e-5)


# Symbolic sizes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [pytest.param("all neurons", marks=pytest.mark.heavy), "images"])
def test_symbolic_steps_and_batch(name):
    """One program for all T and B: outputs, statistics and gradients."""
    network, shape = NETWORKS[name]
    params = params_of(network, shape)

    def run(params, xs, is_first):
        def loss(params, xs):
            state, outs, stats = sj.apply_with_stats(network, params, xs, is_first=is_first)
            return jnp.sum(sj.apply(network, params, xs)[1] ** 2) + jnp.sum(outs**3), stats

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, xs)

    sizes = export.symbolic_shape("T, B")
    exported = export.export(jax.jit(run))(
        params,
        jax.ShapeDtypeStruct((*sizes, *shape), jnp.float32),
        jax.ShapeDtypeStruct(sizes, bool),
    )
    call = sent(exported)
    for steps, batch in ((1, 3), (5, 2))[: 2 if shape == (4,) else 1]:
        xs = inputs(shape, steps=steps, batch=batch)
        is_first = jnp.arange(steps * batch).reshape((steps, batch)) % 3 == 1
        wanted = jax.jit(run)(params, xs, is_first)
        assert_near(call(params, xs, is_first), wanted, 1e-6)
        assert np.abs(wanted[1][1]).max() > 0


@pytest.mark.parametrize("schedule", [sj.chunked, sj.truncated])
def test_chunks_need_a_static_number_of_steps(schedule):
    network = schedule(sj.dense(3, sj.lif()), 2)
    params = params_of(network, (4,))

    def exported(sizes):
        xs = jax.ShapeDtypeStruct((*export.symbolic_shape(sizes), 4), jnp.float32)
        return export.export(jax.jit(lambda params, xs: sj.apply(network, params, xs)))(params, xs)

    with pytest.raises(TypeError, match="2 steps need a static number of steps T, got .* T = T"):
        exported("T, B")
    xs = inputs((4,), steps=5)
    assert_same(
        exported("5, B").call(params, xs), jax.jit(sj.apply, static_argnums=0)(network, params, xs)
    )


def test_gradients_of_an_exported_function():
    network = sj.dense(3, sj.alif(surrogate=CURVE))
    params, xs = params_of(network, (4,)), inputs((4,))

    def run(params, xs):
        return sj.apply(network, params, xs)

    call = sent(export.export(jax.jit(run))(params, xs), vjp_order=1)
    got, wanted = (
        jax.jit(jax.grad(lambda p, f=f: jnp.sum(f(p, xs)[1])))(params) for f in (call, run)
    )
    assert_near(got, wanted, 1e-6)
    assert np.abs(wanted.synapse.kernel).max() > 0


# Files that run without the library ---------------------------------------------------------------


def python(code, folder, *, flags=("-I",)):
    """The output of a fresh interpreter in a folder."""
    paths = f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n"
    command = [sys.executable, *flags, "-W", "error", "-c", paths + code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def reader():
    """The code that reads a file, as the module's docstring shows it."""
    block = exporting.__doc__.split("JAX alone reads the file:")[1].split("JAX runs")[0]
    return textwrap.dedent(block)


def without_the_library(folder, path, xs):
    """The outputs of two calls in a process that cannot import this library or its dependencies."""
    np.save(folder / "xs.npy", xs)
    code = reader().replace("network.zip", path)
    assert code.count("advance(state, xs)") == 1
    blocked = """
for name in ("stbp_jax", "optax", "flax", "chex"):
    sys.modules[name] = None
import numpy as np
xs = np.load("xs.npy")
"""
    again = "state, more = advance(state, xs)\nnp.savez('outs.npz', outs=outs, more=more)\n"
    python(blocked + code + again, folder)
    outs = np.load(folder / "outs.npz")
    return outs["outs"], outs["more"]


def header_of(path):
    with zipfile.ZipFile(path) as file:
        assert sorted(file.namelist()) == ["advance", "header.json", "start"]
        return json.loads(file.read("header.json"))


def test_a_network_for_any_sequence(tmp_path):
    network, shape = NETWORKS["all neurons"]
    params, xs = params_of(network, shape), inputs(shape, steps=5, batch=3)
    streaming.export_stream(tmp_path / "any.zip", network, params, shape, steps=None, batch=None)
    run = jax.jit(lambda state: sj.apply(network, params, xs, state=state))
    state, wanted = run(network.initial_state(params, xs.shape[1:])[0])
    outs, more = without_the_library(tmp_path, "any.zip", xs)
    np.testing.assert_allclose(outs, wanted, atol=1e-6)
    np.testing.assert_allclose(more, run(state)[1], atol=1e-6)
    assert np.ptp(outs) > 0

    header = header_of(tmp_path / "any.zip")
    assert header["format"] == exporting.FORMAT == 1
    assert header["network"] == repr(network)
    assert header["jax"] == jax.__version__
    assert header["platforms"] == ["cpu"]
    assert header["inputs"] == {"shape": ["T", "B", 4], "dtype": "float32"}
    assert header["outputs"] == {"shape": ["T", "B", 5], "dtype": "float32"}
    leaves = jax.tree.leaves(state)
    assert len(header["state"]) == len(leaves)
    for described, leaf in zip(header["state"], leaves, strict=True):
        assert described == {"shape": ["B", *leaf.shape[1:]], "dtype": leaf.dtype.name}


def test_a_step_of_a_stream(tmp_path):
    """Counts in, scores out: the numbers of `make_stream`, here for two platforms."""
    network = sj.serial(sj.flatten(), sj.dense(3, sj.leaky_integrator(decay=0.5)))
    params = params_of(network, (2, 3))
    counts = np.random.default_rng(0).integers(0, 9, (1, 1, 2, 3)).astype(np.uint16)
    spikes, plain = (sj.apply(network, params, xs)[1] for xs in (counts > 0, 1.0 * counts))
    assert np.any(spikes != plain)  # so that the encoding shows
    streaming.export_stream(
        tmp_path / "step.zip",
        network,
        params,
        (2, 3),
        dtype="uint16",
        encode=streaming.any_event,
        readout=streaming.running_rate(),
        platforms=("cpu", "cuda"),
    )
    stream = streaming.make_stream(network, params, shape=(2, 3))
    state, wanted = stream.advance(stream.start(), counts[0])
    outs, more = without_the_library(tmp_path, "step.zip", counts)
    np.testing.assert_allclose(outs[:, 0], wanted, rtol=1e-6)
    np.testing.assert_allclose(more[:, 0], stream.advance(state, counts[0])[1], rtol=1e-6)
    header = header_of(tmp_path / "step.zip")
    assert header["platforms"] == ["cpu", "cuda"]
    assert header["inputs"] == {"shape": [1, 1, 2, 3], "dtype": "uint16"}
    assert header["outputs"] == {"shape": [1, 1, 3], "dtype": "float32"}


NET = sj.dense(3, sj.lif())
NET_PARAMS = NET.init(KEY, (4,))[0]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"network": sj.lif()}, TypeError, "network must be a Layer"),
        ({"params": "weights"}, TypeError, "params must be an array, got str"),
        ({"shape": 4.5}, TypeError, "shape must be a tuple of static integers"),
        ({"shape": (5,)}, ValueError, r"time slices \[B, 4\], got \[1, 5\]"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"batch": 1.5}, TypeError, "batch must be a static integer"),
        ({"dtype": "words"}, TypeError, "dtype must be a dtype of real numbers"),
        ({"encode": 3}, TypeError, "encode must be a function of inputs or None"),
        ({"readout": sj.rate}, TypeError, "readout must be a Neuron"),
        ({"network": sj.chunked(NET, 2), "steps": None}, TypeError, "static number of steps"),
    ],
)
def test_what_export_stream_refuses(tmp_path, changed, error, message):
    given = {"network": NET, "params": NET_PARAMS, "shape": (4,)} | changed
    with pytest.raises(error, match=message):
        streaming.export_stream(tmp_path / "file.zip", **given)
    assert list(tmp_path.iterdir()) == []


def test_flatbuffers_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"flatbuffers.*pip install flatbuffers"):
        streaming.export_stream(tmp_path / "file.zip", NET, NET_PARAMS, (4,))
