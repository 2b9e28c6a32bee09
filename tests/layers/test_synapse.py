"""Inputs that do not change: the same run, for one product."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from tests.contracts import quick_jit


@pytest.mark.parametrize(
    "make",
    [
        lambda **kw: sj.serial(sj.flatten(), sj.dense(6, sj.lif(), **kw)),
        lambda **kw: sj.conv(3, 3, sj.lif(), **kw),
        lambda **kw: sj.conv(3, 3, **kw),
    ],
)
def test_still_inputs_are_the_same_run(make):
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 5, 5, 1)) / 256, jnp.float32)
    xs = sj.constant(images, 4)
    params, _ = make().init(jax.random.key(0), (5, 5, 1))
    params = jax.tree.map(lambda p: jnp.round(p * 256) / 256, params)  # dyadic: sums are exact

    def loss(params, layer):
        outs = sj.apply(layer, params, xs)[1]
        return jnp.sum(outs * jnp.arange(1, 5).reshape((4,) + (1,) * (outs.ndim - 1))), outs

    @quick_jit
    def run(params):
        grad, static_input = (
            jax.value_and_grad(loss, has_aux=True),
            make(inputs=sj.layers.static_input),
        )
        both = [grad(params, layer) for layer in (static_input, make())]
        return *both, sj.apply(sj.stepwise(static_input), params, xs)[1]

    ((_, outs), grads), ((_, wanted), wanted_grads), stepwise = run(params)
    np.testing.assert_array_equal(outs, wanted)
    chex.assert_trees_all_close(grads, wanted_grads, rtol=1e-5)
    np.testing.assert_array_equal(stepwise, wanted)
