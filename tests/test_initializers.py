"""Initializers: ranges, norms and independent draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stbp_jax.initializers import fan_in_normalized, fan_in_uniform, initializer

SHAPE = (5, 3, 2, 500)  # fan-in 30


@functools.partial(jax.jit, static_argnums=0)
def drawn(init):
    return init(jax.random.key(0), SHAPE, jnp.float32)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_fan_in_uniform_fills_its_range(scale):
    kernel, bias = map(np.asarray, drawn(fan_in_uniform(scale)))
    bound = scale / np.sqrt(30)
    for x in (kernel, bias):
        assert -bound <= x.min() < -0.97 * bound
        assert 0.97 * bound < x.max() <= bound
    assert not np.isin(bias, kernel).all()  # of two keys


def test_fan_in_normalized_has_one_norm_for_each_unit():
    kernel, bias = map(np.asarray, drawn(fan_in_normalized(gain=2.0, bias=0.5)))
    np.testing.assert_allclose(np.sqrt((kernel**2).sum((0, 1, 2))), np.full(500, 2), rtol=1e-5)
    assert kernel.min() < -0.3
    assert kernel.max() > 0.3
    assert 0 <= bias.min() < 0.02
    assert 0.48 < bias.max() <= 0.5


def test_an_initializer_of_two_functions_gives_each_its_own_key():
    normal = jax.nn.initializers.normal(1.0)
    kernel, bias = drawn(initializer(normal, normal))
    assert bias.shape == (500,)
    assert not np.isin(bias, kernel).all()
    assert drawn(initializer(normal)).bias is None
