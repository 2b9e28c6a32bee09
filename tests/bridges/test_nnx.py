"""A network as a `flax.nnx` module: parameters, runs, optimizers, checkpoints."""

import jax
import numpy as np
import optax
import pytest

import stbp_jax as sj
from tests.bridges.networks import (
    BATCH,
    DROPOUT,
    FIRST,
    LABELS,
    NETWORK,
    SHAPE,
    XS,
    check_runs,
    loss_of,
    same,
    saved_and_restored,
)

try:
    from stbp_jax.bridges import nnx as bridge
except ImportError as error:  # some releases of JAX break flax.nnx
    pytest.skip(str(error), allow_module_level=True)
from flax import nnx


def made(**more):
    return bridge.Spiking(NETWORK, SHAPE, rngs=nnx.Rngs(0), **more)


def params_of(model):
    """The parameters in the network's tree."""
    return nnx.as_pure(model.params)


def test_parameters_are_those_of_init():
    rngs = nnx.Rngs(params=7)  # and no other stream
    model = bridge.Spiking(NETWORK, SHAPE, rngs=rngs)
    params, _ = NETWORK.init(nnx.Rngs(params=7).params(), SHAPE)
    same(params_of(model), params)
    paths = ["/".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model))]
    assert sorted(paths) == sorted(f"params/{name}" for name in sj.layers.named_parameters(params))
    assert all(isinstance(leaf, nnx.Param) for _, leaf in nnx.to_flat_state(nnx.state(model)))


def test_parameters_pass_to_a_file_and_back(tmp_path):
    model = bridge.Spiking(NETWORK, SHAPE, rngs=nnx.Rngs(params=0))
    sj.save(tmp_path / "params.npz", NETWORK, params_of(model))
    with pytest.raises(TypeError, match=r"params\[0\].* must be an array, got Param: .*as_pure"):
        sj.save(tmp_path / "params.npz", NETWORK, model.params)
    other = bridge.Spiking(NETWORK, SHAPE, rngs=nnx.Rngs(params=1))
    loaded = sj.load(tmp_path / "params.npz", NETWORK, params_of(other))
    other.params = nnx.data(jax.tree.map(nnx.Param, loaded))
    same(other(XS), model(XS))
    same(nnx.state(other), nnx.state(model))


def test_dropout_obeys_train_and_eval():
    model = bridge.Spiking(NETWORK, SHAPE, rngs=nnx.Rngs(0, dropout=1))
    wanted = nnx.Rngs(0, dropout=1)["dropout"].fork()
    call = nnx.jit(lambda model, **keys: model(XS, **keys)[1])
    off = sj.apply(NETWORK, params_of(model), XS)[1]
    for _ in range(2):  # a new draw at each call
        outs = call(model)
        same(outs, sj.apply(NETWORK, params_of(model), XS, key=wanted())[1])
        assert np.any(outs != off)
    model.eval()
    same(call(model), off)
    same(call(model, key=DROPOUT), off)
    rest = NETWORK.initial_state(params_of(model), (BATCH, *SHAPE))[0]
    same(model.initial_state((BATCH, *SHAPE)), rest)
    model.train()
    assert np.any(call(model) != off)
    same(call(nnx.view(model, deterministic=True)), off)
    assert not model.deterministic
    same(call(bridge.Spiking(NETWORK, SHAPE, rngs=nnx.Rngs(0), deterministic=True)), off)


def test_a_stream_is_kept_by_networks_that_draw():
    assert bridge.Spiking(NETWORK, SHAPE, rngs=nnx.Rngs(params=0)).rngs is None
    plain = sj.serial(sj.dense(8, sj.recurrent(sj.lif())), sj.flatten())
    assert bridge.Spiking(plain, SHAPE, rngs=nnx.Rngs(0)).rngs is None
    for net in (NETWORK, sj.residual(sj.dropout(0.5)), sj.concatenate(plain, NETWORK)):
        assert isinstance(bridge.Spiking(net, SHAPE, rngs=nnx.Rngs(0)).rngs, nnx.RngStream)


@pytest.mark.parametrize("key", [None, DROPOUT], ids=["without dropout", "dropout"])
def test_runs_are_those_of_apply(key):
    model = made(deterministic=key is None)

    @nnx.jit
    def call(model, xs, state, first):
        drawn = key if state is None else None
        return model(xs, key=drawn, state=state, is_first=first)

    @nnx.jit
    def step(model, state, x, first):
        return model.step(state, x, is_first=first)

    check_runs(
        lambda: model.initial_state((BATCH, *SHAPE), key=key),
        lambda *args: call(model, *args),
        lambda *args: step(model, *args),
        params_of(model),
        key,
    )


class Model(nnx.Module):
    """Two spiking parts and a layer of Flax."""

    def __init__(self, rngs):
        self.first = bridge.Spiking(sj.residual(sj.dense(4, sj.lif())), SHAPE, rngs=rngs)
        self.bare = bridge.Spiking(sj.flatten(), SHAPE, rngs=rngs)
        self.second = bridge.Spiking(NETWORK, SHAPE, rngs=rngs)
        self.readout = nnx.Linear(3, 3, rngs=rngs)

    def __call__(self, xs):
        xs = self.bare(self.first(xs)[1])[1]
        return self.readout(sj.rate(self.second(xs)[1]))


def optimizer_of(model):
    """Decay of kernels alone, in a model whose first part is frozen."""
    kernels = sj.layers.by_name(lambda name: "kernel" in name)
    frozen = sj.layers.by_name(lambda name: "frozen" if name.startswith("first") else "trained")
    parts = {"frozen": optax.set_to_zero(), "trained": optax.adamw(0.05, mask=kernels)}
    return nnx.Optimizer(model, optax.partition(parts, frozen), wrt=nnx.Param)


@nnx.jit
def update(model, optimizer):
    def loss(model):
        return sj.cross_entropy(model(XS), LABELS).mean()

    value, grads = nnx.value_and_grad(loss)(model)
    optimizer.update(model, grads)
    return value, grads


def test_inside_a_model_with_an_optimizer_and_a_mask(tmp_path):
    model = Model(nnx.Rngs(0))
    optimizer, start = optimizer_of(model), nnx.state(Model(nnx.Rngs(0)))
    losses = []
    for _ in range(5):
        value, grads = update(model, optimizer)
        losses.append(float(value))
    assert losses[-1] < losses[0]
    for name, leaf in sj.layers.named_parameters(grads).items():
        assert np.any(leaf != 0), name
    same(nnx.state(model.first), start["first"])

    # Restored in full into another model, the run goes on as if it had not stopped.
    other = Model(nnx.Rngs(1))
    resumed = optimizer_of(other)
    restored = saved_and_restored(
        tmp_path, nnx.state((model, optimizer)), nnx.state((other, resumed))
    )
    nnx.update((other, resumed), restored)
    same(update(other, resumed), update(model, optimizer))
    same(nnx.state(other), nnx.state(model))


def test_an_ensemble_is_a_vmap():
    keys = jax.random.split(jax.random.key(0), 2)
    many = nnx.vmap(lambda key: bridge.Spiking(NETWORK, SHAPE, rngs=nnx.Rngs(key)))(keys)
    call = nnx.jit(nnx.vmap(lambda model: model(XS)[1]))
    assert np.any(call(many) != call(many))  # each has a stream of its own
    many.eval()
    outs = call(many)
    for k in range(2):
        params = jax.tree.map(lambda leaf, k=k: leaf[k], params_of(many))
        same(outs[k], jax.jit(sj.apply, static_argnums=0)(NETWORK, params, XS)[1])
    assert np.any(outs[0] != outs[1])


def test_the_gradient_is_that_of_apply():
    model = made(deterministic=True)
    grads = nnx.jit(nnx.grad(lambda m: loss_of(m(XS)[1])))(model)
    wanted = jax.jit(jax.grad(lambda p: loss_of(sj.apply(NETWORK, p, XS)[1])))(params_of(model))
    flat = {"/".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(grads)}
    same(flat, {f"params/{name}": g for name, g in sj.layers.named_parameters(wanted).items()})


def test_errors_name_the_argument():
    with pytest.raises(TypeError, match="net must be a Layer"):
        bridge.Spiking(sj.lif(), SHAPE, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"rngs must be nnx\.Rngs"):
        bridge.Spiking(NETWORK, SHAPE, rngs=jax.random.key(0))
    with pytest.raises(TypeError, match="shape must be a tuple"):
        bridge.Spiking(NETWORK, 4.0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="is_first must have shape"):
        made()(XS, is_first=FIRST[1:])
