"""Dropout: one mask for each sequence, and its scale."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj


def a_key() -> jax.Array:
    return jax.random.key(7)


def test_dropout_draws_one_mask_for_each_sequence() -> None:
    layer, xs = sj.dropout(0.3), jnp.ones((3, 40, 50))
    _, ys = sj.apply(layer, (), xs, key=a_key())
    assert (ys == ys[:1]).all()  # the same at every step
    np.testing.assert_allclose(np.unique(ys), [0, 1 / 0.7], rtol=1e-6)
    silent = np.asarray(ys[0] == 0)
    assert abs(silent.mean() - 0.3) < 0.05
    assert (silent[0] != silent[1]).any()  # another for each example
    _, others = sj.apply(layer, (), xs, key=jax.random.key(8))
    assert (others != ys).any()


def test_dropout_without_a_key_is_the_identity() -> None:
    xs = jnp.arange(12.0).reshape(2, 2, 3)
    _, ys = sj.apply(sj.dropout(0.9), (), xs)
    np.testing.assert_array_equal(ys, xs)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.bool_])
def test_dropout_scales_integer_spikes_too(dtype: Any) -> None:
    """Events are uint8: a kept event becomes 1 / (1 - rate), not 1."""
    layer, xs = sj.dropout(0.3), jnp.ones((2, 2, 8))
    _, wanted = sj.apply(layer, (), xs, key=a_key())
    _, ys = sj.apply(layer, (), xs.astype(dtype), key=a_key())
    np.testing.assert_allclose(ys, wanted)


def test_dropout_rate_may_be_traced() -> None:
    def run(rate: Any) -> Any:
        return sj.apply(sj.dropout(rate), (), jnp.ones((1, 1, 400)), key=a_key())[1]

    outs = jax.jit(jax.vmap(run))(jnp.array([0.0, 0.25, 0.75]))
    np.testing.assert_allclose((outs == 0).mean((1, 2, 3)), [0, 0.25, 0.75], atol=0.08)
    np.testing.assert_allclose(outs.max((1, 2, 3)), [1, 4 / 3, 4])


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_dropout_rates_out_of_range(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        sj.dropout(rate)
