"""Layers in sequence, side by side, around a layer; pooling by maximum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj

RNG = np.random.default_rng(0)
XS = jnp.asarray(RNG.normal(0, 2, (5, 3, 4)), jnp.float32)


def by_steps(network, params, xs):
    return sj.apply(sj.stepwise(network), params, xs)


def assert_equal(found, wanted):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, wanted)


@pytest.mark.parametrize(
    "network",
    [
        sj.residual(sj.dense(4, sj.lif())),
        sj.concatenate(sj.dense(4, sj.lif()), sj.dense(2, sj.alif()), sj.dense(3)),
        sj.serial(sj.residual(sj.dense(4, sj.lif())), sj.concatenate(sj.dense(2), sj.dense(2))),
    ],
    ids=repr,
)
def test_schedules_agree(network):
    params, _ = network.init(jax.random.key(0), (4,))
    wanted = sj.apply(network, params, XS)
    assert_equal(by_steps(network, params, XS), wanted)
    assert_equal(sj.apply_with_stats(network, params, XS)[:2], wanted)
    first = jnp.asarray(RNG.random((5, 3)) < 0.4)
    assert_equal(
        sj.apply(sj.stepwise(network), params, XS, is_first=first),
        sj.apply(network, params, XS, is_first=first),
    )


def test_residual_adds_its_input():
    inner = sj.dense(4, sj.lif())
    params, _ = inner.init(jax.random.key(0), (4,))
    outs = sj.apply(sj.residual(inner), params, XS)[1]
    np.testing.assert_array_equal(outs, XS + sj.apply(inner, params, XS)[1])
    with pytest.raises(ValueError, match=r"residual needs a layer that keeps the shape \[4\]"):
        sj.residual(sj.dense(3)).init(jax.random.key(0), (4,))


def test_concatenate_joins_and_reports_all():
    layers = sj.dense(4, sj.lif()), sj.dense(2, sj.lif())
    network = sj.concatenate(*layers)
    params, shape = network.init(jax.random.key(0), (4,))
    assert shape == (6,)
    outs = [sj.apply(layer, p, XS)[1] for layer, p in zip(layers, params, strict=True)]
    *_, stats = sj.apply_with_stats(network, params, XS)
    np.testing.assert_array_equal(sj.apply(network, params, XS)[1], jnp.concatenate(outs, -1))
    assert [len(one.firing_rate) for one in stats] == [4, 2]
    with pytest.raises(ValueError, match="at least one layer"):
        sj.concatenate()
    with pytest.raises(ValueError, match="differ in the last axis alone"):
        sj.concatenate(sj.flatten(), sj.avg_pool(2)).init(jax.random.key(0), (4, 4, 2))


def test_a_dropout_mask_is_drawn_for_each_part():
    network = sj.concatenate(sj.dropout(0.5), sj.dropout(0.5))
    params, _ = network.init(jax.random.key(0), (4,))
    state, _ = sj.apply(network, params, XS, key=jax.random.key(1))
    assert np.any(state[0] != state[1])


def test_max_pool():
    images = jnp.asarray(RNG.normal(size=(2, 1, 5, 4, 3)), jnp.float32)
    outs = sj.apply(sj.max_pool(2), sj.max_pool(2).init(jax.random.key(0), (5, 4, 3))[0], images)[1]
    tiles = np.asarray(images)[:, :, :4].reshape(2, 1, 2, 2, 2, 2, 3)
    np.testing.assert_array_equal(outs, tiles.max((3, 5)))
    assert "max_pool" in repr(sj.max_pool(2))
