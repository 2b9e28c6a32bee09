"""Traces are shared: by equal layers, by the inner steps of MAML, by calls outside of `jit`."""

import jax
import jax.numpy as jnp
import pytest

import stbp_jax as sj

XS = jnp.ones((4, 2, 6))


def counted_network():
    """A network of two equal layers, and the list to which each trace of its reset is added."""
    calls = []

    def reset(constants, state):
        calls.append(None)
        return sj.hard_reset(constants, state)

    neuron = sj.lif(reset=reset, surrogate=sj.sigmoid(0.25))
    net = sj.serial(sj.dense(6, neuron), sj.dense(6, neuron))
    return net, net.init(jax.random.key(0), (6,))[0], calls


def loss(net, params):
    return sj.rate(sj.apply(net, params, XS)[1]).sum()


def after_steps(net, params, steps):
    for _ in range(steps):
        grads = jax.grad(lambda p: loss(net, p))(params)
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
    return loss(net, params)


def test_inner_steps_of_maml_share_a_trace():
    traced = []
    for steps in (1, 4):
        net, params, calls = counted_network()
        jax.jit(jax.grad(lambda p, n=net, s=steps: after_steps(n, p, s))).trace(params)
        traced.append(len(calls))
    # Each layer looks once at what the reset closes over, which costs little.
    assert traced[1] - traced[0] <= 3 * 2


@pytest.mark.parametrize("gradient", [False, True], ids=["values", "gradients"])
def test_calls_outside_of_jit_trace_once(gradient):
    net, params, calls = counted_network()

    def run():
        return jax.grad(lambda p: loss(net, p))(params) if gradient else loss(net, params)

    run()
    first = len(calls)
    run()
    assert len(calls) - first <= 2
