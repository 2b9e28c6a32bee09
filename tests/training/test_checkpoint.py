"""Parameters in a file: they come back bit for bit, and a bad file raises an error."""

import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from tests.contracts import assert_same


def network(decay=0.5, features=3, **more):
    return sj.serial(
        sj.dense(4, sj.lif(decay=decay, **more)), sj.dense(features, sj.leaky_integrator(decay=0.5))
    )


def params_of(net, shape=(5,)):
    """Any numbers, of the network's shapes: nothing is compiled."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), shape)[0])
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), shapes)


@pytest.fixture
def saved(tmp_path):
    params = params_of(network())
    sj.save(tmp_path / "params.npz", network(), params)
    return tmp_path / "params.npz", params


def rewritten(path, change, arrays=()):
    """The file with its header or arrays changed."""
    with np.load(path) as file:
        members = {name: file[name] for name in file.files}
    header = json.loads(members["header"].tobytes())
    change(header)
    members["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **members | dict(arrays))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_what_is_saved_comes_back(tmp_path, dtype):
    net = network(decay=np.full(4, 0.25, np.float32))
    params = jax.tree.map(lambda x: x.astype(dtype), params_of(net))
    sj.save(tmp_path / "a.npz", net, params)
    assert_same(sj.load(tmp_path / "a.npz", net, params), params)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    shapes = jax.eval_shape(lambda: params)
    assert_same(sj.load(tmp_path / "a.npz", network(decay=np.full(4, 0.25)), shapes), params)


def test_parameters_can_be_read_without_the_library(saved):
    path, params = saved
    with np.load(path) as file:
        np.testing.assert_array_equal(file["[0].synapse.kernel"], params[0].synapse.kernel)


def test_schedules_and_products_load_the_same_file(saved):
    path, params = saved
    for net in (sj.stepwise(network()), sj.chunked(network(), 2), sj.truncated(network(), 2)):
        assert_same(sj.load(path, net, params), params)
    gathered = sj.dense(4, matmul=sj.layers.event_driven_matmul)
    full = params_of(sj.dense(4))
    sj.save(path, sj.dense(4), full)
    assert_same(sj.load(path, gathered, full), full)


OTHER = [
    (network(decay=0.2), r"network.layers\[0\].units.decay = 0.5, here it is 0.2"),
    (network(threshold=0.4), r"units.threshold = 0.5, here it is 0.4"),
    (network(reset=sj.soft_reset), "reset = 'hard_reset', here it is 'soft_reset'"),
    (network(decay=np.full(4, 0.5)), r"units.decay = 0.5, here it is \[0.5, 0.5, 0.5, 0.5\]"),
    (network(features=2), r"\[1\].synapse.kernel has shape \[4, 3\], the network needs \[4, 2\]"),
    (sj.serial(network(), sj.dense(3)), r"the network has a parameter \[0\]\[0\].synapse.kernel"),
    (sj.serial(sj.dense(4, sj.lif(decay=0.5))), r"the file has a parameter \[1\].synapse.kernel"),
    (
        sj.serial(
            sj.dense(4, sj.recurrent(sj.lif(decay=0.5))),
            sj.dense(3, sj.leaky_integrator(decay=0.5)),
        ),
        r"the network has a parameter \[0\].neuron",
    ),
]


@pytest.mark.parametrize(("other", "message"), OTHER)
def test_another_network_is_refused(saved, other, message):
    with pytest.raises(ValueError, match=message):
        sj.load(saved[0], other, params_of(other))


def test_a_cut_gradient_is_the_same_network(saved):
    path, params = saved
    detached = network(reset=sj.detach_reset(sj.hard_reset), surrogate=sj.arctan())
    assert_same(sj.load(path, detached, params), params)


def test_another_dtype_is_refused(saved):
    path, params = saved
    low = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    with pytest.raises(ValueError, match="has dtype float32, the network needs bfloat16"):
        sj.load(path, network(), low)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(format=2), "has format 2, this release reads format 1"),
        (lambda h: h.pop("format"), "is damaged, or not written by save"),
        (lambda h: h.pop("constants"), "not written by save: its header has"),
        (lambda h: h.update(params=[]), "not written by save: its header has"),
        (lambda h: h["params"].update({"[0].synapse.bias": 3}), "describes .* by 3"),
        (lambda h: h["params"]["[0].synapse.bias"].update(dtype=7), "has dtype 7, the network nee"),
    ],
)
def test_headers_that_do_not_fit(saved, change, message):
    path, params = saved
    rewritten(path, change)
    with pytest.raises(ValueError, match=message):
        sj.load(path, network(), params)


def test_damage_is_found(saved):
    path, params = saved
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        at = file.getinfo("[0].synapse.kernel.npy").header_offset + 250
    # An array that unpacks to more than the network needs.
    rewritten(path, lambda h: None, {"[0].synapse.kernel": np.zeros(2**20)})
    with pytest.raises(ValueError, match=r"kernel\.npy: unpacks to 8388736 bytes, more than"):
        sj.load(path, network(), params)
    rewritten(path, lambda h: None, {"[0].synapse.kernel": np.zeros(19, np.float32)})
    with pytest.raises(ValueError, match="kernel must have 80 bytes, got 76"):
        sj.load(path, network(), params)
    for damaged in (b"", whole[:-40], whole[:at] + b"\x55" + whole[at + 1 :], b"no archive"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged, or not written by save"):
            sj.load(path, network(), params)
    np.savez(path, kernel=np.zeros(3))
    with pytest.raises(ValueError, match="not written by save"):
        sj.load(path, network(), params)
    np.savez(path, header=np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="not written by save"):
        sj.load(path, network(), params)
    with pytest.raises(FileNotFoundError):
        sj.load(path.with_name("none.npz"), network(), params)


def test_a_file_is_written_whole_or_not_at_all(saved, monkeypatch):
    path, params = saved
    before = path.read_bytes()

    def fails(file, **members):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OSError, match="no space"):
        sj.save(path, network(), params)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_traced_values_and_wrong_types_are_refused(tmp_path):
    net, params = network(), params_of(network())
    path = tmp_path / "a.npz"
    with pytest.raises(TypeError, match="must be concrete, got a traced value"):
        jax.jit(lambda p: sj.save(path, net, p))(params)
    with pytest.raises(TypeError, match="decay must be concrete"):
        jax.vmap(lambda d: sj.save(path, network(decay=d), params))(jnp.array([0.1, 0.2]))
    with pytest.raises(TypeError, match="network must be a Layer"):
        sj.save(path, sj.lif(), params)
    with pytest.raises(TypeError, match=r"params\[0\] must be an array"):
        sj.save(path, net, [object(), ()])
    assert not path.exists()


def test_parameters_in_another_tree_are_refused(tmp_path):
    net = network()
    params, path = params_of(net), tmp_path / "a.npz"
    names = sj.layers.named_parameters(params)
    for other, got in ((params[:1], "tuple of 1"), (names, "dict"), (params[0], "LayerParams")):
        with pytest.raises(TypeError, match=f"params must be a tuple of 2, .* got {got}"):
            sj.save(path, net, other)
    with pytest.raises(TypeError, match=r"params\[1\] must be a tuple of 2"):
        sj.save(path, sj.serial(sj.flatten(), net), ((), params[0]))
    assert not path.exists()


def test_constants_of_every_part():
    """Learned, wrapped and hand-written parts too."""
    neurons = [
        sj.learnable_decay(lambda d: sj.lif(decay=d), sj.neurons.per_layer(0.5)),
        sj.current_based(sj.alif(decay=0.5), decay=0.25),
        sj.neurons.activation(jax.nn.relu),
        sj.Neuron(lambda k, s: (), lambda s, d: (), lambda p, s, x: (s, x), None),
    ]
    layers = [sj.dense(2, neuron).constants()["units"] for neuron in neurons]
    assert layers[0]["at 0.5"]["threshold"] == 0.5
    assert layers[1] == {
        "neuron": "current_based",
        "decay": 0.25,
        "inner": {
            "neuron": "alif",
            "decay": 0.5,
            "threshold": 0.5,
            "surrogate": sj.rectangular(1.0),
            "adaptation_decay": 0.95,
            "adaptation_strength": 0.1,
            "reset": "hard_reset",
        },
    }
    assert layers[2] == {"neuron": "activation", "function": "relu"}
    assert layers[3] == {}
