"""Pooling and flattening against loops over tiles."""

import jax
import jax.numpy as jnp
import numpy as np

import stbp_jax as sj
from stbp_jax.layers import LayerParams


def test_avg_pool_is_a_mean_over_tiles() -> None:
    x = np.random.default_rng(0).integers(0, 2, (2, 1, 5, 7, 2)).astype(np.float32)
    _, ys = sj.avg_pool(2).unroll(LayerParams((), ()), (), jnp.asarray(x))
    assert ys.shape == (2, 1, 2, 3, 2)
    for r in range(2):
        for c in range(3):
            tile = x[:, :, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean((2, 3))
            np.testing.assert_array_equal(ys[:, :, r, c], tile)


def test_flatten_joins_rows_first() -> None:
    x = jnp.arange(24.0).reshape(1, 2, 2, 3, 2)
    _, ys = sj.flatten().unroll(LayerParams((), ()), (), x)
    np.testing.assert_array_equal(ys, np.arange(24.0).reshape(1, 2, 12))


def test_avg_pool_keeps_the_float_type() -> None:
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        out = jax.eval_shape(
            lambda x: sj.avg_pool(2).unroll(LayerParams((), ()), (), x)[1],
            jax.ShapeDtypeStruct((1, 1, 2, 2, 1), dtype),
        )
        assert out.dtype == dtype


def test_avg_pool_of_bytes_does_not_round() -> None:
    """A first layer on uint8 frames: bfloat16 cannot hold a mean of bytes."""
    x = jnp.array([254, 255, 255, 255], jnp.uint8).reshape(1, 1, 2, 2, 1)
    _, ys = sj.avg_pool(2).unroll(LayerParams((), ()), (), x)
    assert float(ys[0, 0, 0, 0, 0]) == 254.75
