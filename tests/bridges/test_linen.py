"""A network as a `flax.linen` module: parameters, runs, optimizers, checkpoints."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import stbp_jax as sj
from stbp_jax.bridges import linen
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

MODEL = linen.Spiking(NETWORK)
VARIABLES = MODEL.init(jax.random.key(0), XS)


def params_of(variables):
    """The parameters in the network's tree."""
    return linen.network_params(NETWORK, SHAPE, variables["params"])


def test_parameters_have_the_names_of_the_network(tmp_path):
    params = params_of(VARIABLES)
    flat = flax.traverse_util.flatten_dict(VARIABLES["params"]["net"], sep="/")
    named = sj.layers.named_parameters(params)
    assert sorted(flat) == sorted(named)
    assert all(flat[name] is leaf for name, leaf in named.items())
    same(linen.module_params(params), VARIABLES["params"])
    sj.save(tmp_path / "params.npz", NETWORK, params)
    loaded = sj.load(tmp_path / "params.npz", NETWORK, params)
    restored = MODEL.apply({"params": linen.module_params(loaded)}, XS)
    same(restored, MODEL.apply(VARIABLES, XS))


@pytest.mark.parametrize("key", [None, DROPOUT], ids=["without dropout", "dropout"])
def test_runs_are_those_of_apply(key):
    rngs = {} if key is None else {"dropout": key}
    bound = MODEL.bind(VARIABLES, rngs=rngs)
    call = jax.jit(
        lambda xs, state, first: MODEL.apply(VARIABLES, xs, state=state, is_first=first, rngs=rngs)
    )

    @jax.jit
    def step(state, x, first):
        return MODEL.apply(VARIABLES, state, x, is_first=first, method="step")

    drawn = None if key is None else MODEL.bind(VARIABLES, rngs=rngs).make_rng("dropout")
    check_runs(
        lambda: bound.initial_state((BATCH, *SHAPE)), call, step, params_of(VARIABLES), drawn
    )


def test_dropout_obeys_deterministic():
    rngs = {"dropout": DROPOUT}
    on, off = MODEL.apply(VARIABLES, XS, rngs=rngs)[1], MODEL.apply(VARIABLES, XS)[1]
    assert np.any(on != off)

    def outs(field=None, call=None, **more):
        model = linen.Spiking(NETWORK, deterministic=field)
        return model.apply(VARIABLES, XS, deterministic=call, **more)[1]

    for field, call in ((True, None), (None, True)):
        same(outs(field, call, rngs=rngs), off)
        same(outs(field, call), off)
    for field, call in ((False, None), (None, False)):
        same(outs(field, call, rngs=rngs), on)
        with pytest.raises(flax.errors.InvalidRngError):
            outs(field, call)
    with pytest.raises(ValueError, match="deterministic"):  # as nn.Dropout
        outs(True, True)
    # A network that draws nothing needs no stream.
    bare = linen.Spiking(sj.flatten(), deterministic=False)
    assert bare.apply({"params": {"net": {}}}, XS)[1].shape == XS.shape
    state = MODEL.apply(
        VARIABLES, (BATCH, *SHAPE), deterministic=True, rngs=rngs, method="initial_state"
    )
    same(state, NETWORK.initial_state(params_of(VARIABLES), (BATCH, *SHAPE))[0])


class Model(nn.Module):
    """Two spiking parts of one module, and a layer of Flax."""

    @nn.compact
    def __call__(self, xs):
        shared = linen.Spiking(sj.residual(sj.dense(4, sj.lif())), name="shared")
        xs = shared(shared(xs)[1])[1]
        xs = linen.Spiking(sj.serial(sj.flatten()), name="bare")(xs)[1]
        return nn.Dense(3)(sj.rate(linen.Spiking(NETWORK)(xs)[1]))


def test_inside_a_model_with_an_optimizer_and_a_mask(tmp_path):
    model = Model()
    params = model.init(jax.random.key(0), XS)["params"]
    assert set(params) == {"shared", "bare", "Spiking_0", "Dense_0"}
    assert params["bare"] == {"net": {}}
    kernels = sj.layers.by_name(lambda name: name.endswith("kernel"))
    frozen = sj.layers.by_name(lambda name: "frozen" if name.startswith("shared") else "trained")
    optimizer = optax.partition(
        {"frozen": optax.set_to_zero(), "trained": optax.adamw(0.05, mask=kernels)}, frozen
    )

    @jax.jit
    def update(params, state):
        def loss(params):
            return sj.cross_entropy(model.apply({"params": params}, XS), LABELS).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value, grads

    start, state = params, optimizer.init(params)
    losses = []
    for _ in range(5):
        params, state, value, grads = update(params, state)
        losses.append(float(value))
    assert losses[-1] < losses[0]
    for name, leaf in sj.layers.named_parameters(grads).items():
        assert np.any(leaf != 0), name
    same(params["shared"], start["shared"])

    # Restored in full, the run goes on as if it had not stopped.
    like = jax.tree.map(jnp.zeros_like, (params, state))
    restored = saved_and_restored(tmp_path, (params, state), like)
    same(update(*restored)[:3], update(params, state)[:3])
    content = flax.serialization.to_bytes(params)
    same(flax.serialization.from_bytes(like[0], content), params)


def test_an_ensemble_is_a_vmap():
    ensemble = nn.vmap(
        linen.Spiking,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=None,
        axis_size=2,
    )(NETWORK)
    variables = ensemble.init(jax.random.key(0), XS)
    _, outs = jax.jit(ensemble.apply)(variables, XS)
    for k in range(2):
        lone = jax.tree.map(lambda leaf, k=k: leaf[k], variables)
        same(outs[k], jax.jit(MODEL.apply)(lone, XS)[1])
    assert np.any(outs[0] != outs[1])


def test_errors_name_the_argument():
    with pytest.raises(TypeError, match="net must be a Layer"):
        linen.Spiking(sj.lif())
    with pytest.raises(TypeError, match="xs must be an array"):
        MODEL.apply(VARIABLES, None)
    with pytest.raises(ValueError, match="is_first must have shape"):
        MODEL.apply(VARIABLES, XS, is_first=FIRST[1:])
    with pytest.raises(ValueError, match=r"dense\(8\) needs time slices \[B, 4\], got \[3, 2\]"):
        MODEL.apply(VARIABLES, XS[..., :2])
    other = linen.Spiking(sj.serial(sj.dense(9), sj.dropout(0.5), sj.dense(3)))
    with pytest.raises(ValueError, match="must hold the parameters"):
        other.apply(VARIABLES, XS)
    small = linen.Spiking(sj.dense(9)).init(jax.random.key(0), XS)
    with pytest.raises(flax.errors.ScopeParamShapeError):  # parameters of another network
        linen.Spiking(sj.dense(8)).apply(small, XS)
    for wrong in (VARIABLES, VARIABLES["params"]["net"], None):
        with pytest.raises(ValueError, match="variables must be the parameters of one Spiking"):
            linen.network_params(NETWORK, SHAPE, wrong)


def test_the_gradient_is_that_of_apply():
    grads = jax.jit(jax.grad(lambda v: loss_of(MODEL.apply(v, XS)[1])))(VARIABLES)
    wanted = jax.jit(jax.grad(lambda p: loss_of(sj.apply(NETWORK, p, XS)[1])))(params_of(VARIABLES))
    same(params_of(grads), wanted)
