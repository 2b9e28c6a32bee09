"""Layers in sequence: spikes, draws and masks of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax.layers import LayerParams


def a_key() -> jax.Array:
    return jax.random.key(7)


def test_a_spike_crosses_all_layers_in_its_own_step() -> None:
    """Equation (3): layer n at t sees layer n - 1 at t."""
    one = LayerParams(sj.initializers.Weights(jnp.ones((1, 1)), jnp.zeros(1)), ())
    layers = [sj.dense(1, sj.lif(decay=0.5, threshold=1.0)) for _ in range(3)]
    xs = jnp.zeros((4, 1, 1)).at[1].set(1.0)
    _, outs = sj.apply(sj.serial(*layers), (one,) * 3, xs)
    np.testing.assert_array_equal(outs.ravel(), [0, 1, 0, 0])


def test_serial_draws_each_layer_by_its_own_key() -> None:
    params, _ = sj.serial(sj.dense(4), sj.dense(4), sj.dense(4)).init(a_key(), (4,))
    kernels = [p.synapse.kernel for p in params]
    assert (kernels[0] != kernels[1]).all()
    assert (kernels[1] != kernels[2]).all()


def test_serial_gives_each_dropout_its_own_mask() -> None:
    net = sj.serial(sj.dropout(0.5), sj.dropout(0.5))
    first, second = net.initial_state(((), ()), (2, 30), key=a_key())[0]
    assert (first != second).any()


@pytest.mark.parametrize("shape", [(), (3,), (0, 2, 6)])
def test_apply_needs_time_and_batch(shape: tuple[int, ...]) -> None:
    net = sj.dense(2)
    params, _ = net.init(a_key(), (6,))
    with pytest.raises(ValueError, match="time-major"):
        sj.apply(net, params, jnp.zeros(shape))
