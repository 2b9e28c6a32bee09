"""Residuals of the backward pass by schedule, and that every schedule computes the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax.neurons.kernels import lif_pallas_interpreted

STEPS, BATCH, UNITS = 24, 2, 40
KEY = jax.random.key(0)


INPUTS = 30


def network(unroll=sj.neurons.lif_unroll, matmul=sj.layers.full_matmul):
    neuron = sj.lif(unroll=unroll, surrogate=sj.gaussian(1.0))
    layer = functools.partial(sj.dense, UNITS, neuron, matmul=matmul)
    return sj.serial(layer(), layer())


def run(layer, params, xs):
    return sj.apply(layer, params, xs)[1]


def bytes_kept(layer, xs):
    """Bytes per neuron and step that backward needs of forward, without weights and input."""
    params = jax.eval_shape(lambda: layer.init(KEY, (INPUTS,))[0])
    # Shapes suffice, so nothing is compiled.
    pull = jax.eval_shape(lambda p, xs: jax.vjp(lambda p: run(layer, p, xs), p)[1], params, xs)
    weights = {x.shape for x in jax.tree.leaves(params)}
    arrays = [x for x in jax.tree.leaves(pull) if x.shape not in weights]
    kept = [x.size * x.dtype.itemsize for x in arrays if x.shape[-1:] != (INPUTS,) and x.ndim > 1]
    return sum(kept) / (2 * STEPS * BATCH * UNITS)


@pytest.fixture(scope="module")
def xs():
    return sj.bernoulli(KEY, np.full((BATCH, INPUTS), 0.5, np.float32), STEPS)


STATES = 2 * 4 / STEPS  # membrane and spikes of one step, float32


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        # Membranes of both layers; spikes of the first, as the input of the second's synapse.
        (network(), 4 + 4 / 2 + STATES),
        (network(matmul=sj.layers.bfloat16_matmul), 4 + 2 / 2 + STATES),
        (sj.chunked(network(), 12, policy=sj.neurons.keep_membranes), 4 + 2 * STATES),
        (sj.chunked(network(), 12), 2 * STATES),  # 0.67: under a byte
    ],
    ids=["default", "bfloat16 product", "chunked, membranes kept", "chunked"],
)
def test_backward_keeps_what_is_documented(layer, expected, xs):
    assert bytes_kept(layer, xs) == pytest.approx(expected, rel=1e-6)


def test_plain_autodiff_keeps_more(xs):
    assert bytes_kept(network(sj.neurons.lif_scan), xs) > 12


@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")
@pytest.mark.parametrize("unroll", [sj.neurons.lif_unroll, lif_pallas_interpreted])
def test_membranes_kept_by_name_spare_the_product(unroll, xs):
    """Backward then makes as many products as without chunks; without the policy, two more."""
    params = jax.eval_shape(lambda: network().init(KEY, (INPUTS,))[0])

    def products(layer):
        grad = jax.grad(lambda p: jnp.sum(run(layer, p, xs)))
        return str(jax.make_jaxpr(grad)(params)).count("dot_general[")

    net = network(unroll)
    least = products(net)
    assert products(sj.chunked(net, STEPS, policy=sj.neurons.keep_membranes)) == least
    assert products(sj.chunked(net, STEPS)) == least + 2


@pytest.mark.heavy
def test_packed_spikes_are_the_same_input(xs):
    bits = sj.encoders.pack(xs)
    assert bits.dtype == jnp.uint8
    assert bits.shape == (STEPS, BATCH, 4)
    packed = sj.chunked(sj.serial(sj.layers.unpack(INPUTS), network()), 5)
    params, shape = packed.init(KEY, (4,))
    assert shape == (UNITS,)

    def loss(params, layer, xs):
        return jnp.sum(run(layer, params, xs) ** 2)

    grad = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    wanted = grad(params[1], network(), xs)
    got = grad(params, packed, bits)
    np.testing.assert_array_equal(got[0], wanted[0])
    for g, w in zip(jax.tree.leaves(got[1]), jax.tree.leaves(wanted[1]), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(3,), (4, 4), (2, 3, 3)])
def test_unpack_undoes_pack(shape):
    spikes = np.random.default_rng(0).integers(0, 2, (5, 2, *shape)).astype(np.float32)
    layer = sj.layers.unpack(*shape)
    params, out = layer.init(KEY, jax.eval_shape(sj.encoders.pack, spikes).shape[2:])
    assert out == shape
    bits = np.asarray(sj.encoders.pack(spikes))
    np.testing.assert_array_equal(run(layer, params, bits), spikes)
    state, found = layer.initial_state(params, bits.shape[1:])
    assert found == (2, *shape)
    np.testing.assert_array_equal(layer.step(params, state, bits[0])[1], spikes[0])


def test_bad_bits_raise():
    layer = sj.layers.unpack(3, 4)
    with pytest.raises(ValueError, match=r"unpack\(3, 4\) needs time slices \[B, 2\]"):
        layer.init(KEY, (3,))
    with pytest.raises(TypeError, match="needs uint8, got float32"):
        run(layer, layer.init(KEY, (2,))[0], jnp.ones((2, 2, 2)))
    with pytest.raises(ValueError, match=r"\[T, B, \.\.\.\], got \[3\]"):
        sj.encoders.pack(jnp.ones(3))
    with pytest.raises(ValueError, match="steps must be at least 1"):
        sj.chunked(network(), 0)
    with pytest.raises(TypeError, match="steps must be a static integer"):
        sj.chunked(network(), 2.5)
