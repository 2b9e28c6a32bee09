"""Truncated gradients: where they are cut, and what stays."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from tests.contracts import quick_jit


@functools.cache
def params_and_spikes() -> Any:
    net = sj.serial(sj.dense(8, hidden()), sj.dense(5, hidden()))
    spikes = np.random.default_rng(1).random((7, 2, 6)) < 0.6
    return net.init(jax.random.key(0), (6,))[0], jnp.asarray(spikes, jnp.float32)


def gradients_of(*nets: sj.Layer, run: Any = sj.apply) -> list[Any]:
    """Of one loss of networks with the same parameters, in one program."""

    def loss(params: Any, net: sj.Layer, xs: Any) -> Any:
        return jnp.sum(run(net, params, xs)[1] ** 2 @ jnp.arange(5.0))

    gradients = quick_jit(lambda params, xs: [jax.grad(loss)(params, net, xs) for net in nets])
    return gradients(*params_and_spikes())


def hidden(reset: Any = sj.hard_reset, threshold: float = 0.3) -> sj.Neuron:
    return sj.lif(decay=0.8, threshold=threshold, reset=reset, surrogate=sj.gaussian(0.3))


@pytest.mark.heavy
def test_truncated_between_its_ends() -> None:
    """At 1 it is SDBP, from T on STBP; in between neither."""
    net = sj.serial(sj.dense(8, hidden()), sj.dense(5, hidden()))
    cut = sj.detach_time(sj.hard_reset)
    by_space = sj.serial(sj.dense(8, hidden(cut)), sj.dense(5, hidden(cut)))
    space, whole, one, three, seven, hundred = gradients_of(
        by_space, net, *(sj.truncated(net, steps) for steps in (1, 3, 7, 100))
    )
    near = lambda a, b: jax.tree.all(jax.tree.map(lambda x, y: np.allclose(x, y, atol=1e-5), a, b))  # noqa: E731
    assert near(one, space)
    assert near(seven, whole)
    assert near(hundred, whole)
    assert not near(three, space)
    assert not near(three, whole)


def test_truncated_gradients_stay_in_their_stretch() -> None:
    """Recurrent weights too: inputs of one stretch have no gradient from outputs of the next."""
    net = sj.truncated(sj.dense(5, sj.recurrent(hidden())), 3)
    params, _ = net.init(jax.random.key(0), (6,))
    xs = jnp.ones((8, 1, 6))
    slopes_at = quick_jit(jax.grad(lambda xs, t: sj.apply(net, params, xs)[1][t].sum()))
    for t in (3, 5, 7):
        slopes = slopes_at(xs, t)
        seen = np.flatnonzero(np.abs(slopes).sum((1, 2)))
        assert seen[0] == t // 3 * 3
        assert seen[-1] == t


def test_truncated_tells_what_the_network_does() -> None:
    """Statistics cover the whole sequence; their gradients are cut as those of `apply`."""
    net = sj.serial(sj.dense(8, hidden()), sj.dense(5, hidden()))
    both = [net, sj.truncated(net, 3)]
    (_, wanted_outs, wanted), (_, outs, stats) = quick_jit(
        lambda params, xs: [sj.apply_with_stats(n, params, xs) for n in both]
    )(*params_and_spikes())
    np.testing.assert_array_equal(outs, wanted_outs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), stats, wanted)

    near = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(near, *(gradients_of(both[1], run=run) for run in (sj.apply_with_stats, sj.apply)))


def test_truncated_needs_a_step() -> None:
    with pytest.raises(ValueError, match="steps"):
        sj.truncated(sj.dense(3), 0)
