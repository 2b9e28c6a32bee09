"""The printed gradient against its equations in NumPy, and against the exact one at T = 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from experiments.studies.printed_gradient import printed

SIZES, INPUTS, BATCH, THRESHOLD, WIDTH = [6, 3], 5, 4, 0.5, 1.0


def networks(decay):
    hparams = {"decay": decay, "threshold": THRESHOLD, "width": WIDTH}
    init = sj.initializers.fan_in_uniform(2.0)
    neuron = sj.lif(decay=decay, threshold=THRESHOLD, surrogate=sj.rectangular(WIDTH))
    exact = sj.serial(sj.flatten(), *(sj.dense(n, neuron, init=init) for n in SIZES))
    return exact, printed.network(SIZES, hparams, init)


def gradient(network, params, xs, labels):
    def loss(params):
        return jnp.mean(sj.half_squared_error(sj.rate(sj.apply(network, params, xs)[1]), labels))

    return jax.value_and_grad(loss)(params)


def data(steps):
    xs = jax.random.bernoulli(jax.random.key(1), 0.5, (steps, BATCH, INPUTS)).astype(jnp.float32)
    return xs, jnp.arange(BATCH) % SIZES[-1]


def by_hand(params, xs, labels, decay):
    """Equations (11) to (22), step by step in float64."""
    layers = [(np.asarray(p.synapse.kernel, float), np.asarray(p.synapse.bias, float))
              for p in params[1:]]  # fmt: skip
    below, seen = np.asarray(xs, float), []
    steps, batch = below.shape[:2]
    for kernel, bias in layers:
        us, os = [], []
        u = o = np.zeros((batch, kernel.shape[1]))
        for t in range(steps):
            u = decay * u * (1 - o) + below[t] @ kernel + bias
            o = (u >= THRESHOLD).astype(float)
            us.append(u)
            os.append(o)
        seen.append((below, us, os))
        below = np.stack(os)

    def h(u):
        return (np.abs(u - THRESHOLD) < WIDTH / 2) / WIDTH

    target = np.eye(SIZES[-1])[np.asarray(labels)]
    direct = [-(target - below.mean(0)) / (steps * batch)] * steps  # (11), at every step
    grads = []
    for n in reversed(range(len(layers))):
        inputs, us, os = seen[n]
        is_output = n == len(layers) - 1
        delta, membrane = [None] * steps, [None] * steps
        for t in reversed(range(steps)):
            if t == steps - 1:
                delta[t] = direct[t]  # (11), (13)
                membrane[t] = delta[t] * h(us[t])  # (12), (14)
                continue
            later = delta[t + 1] * h(us[t + 1])
            delta[t] = direct[t] + later * us[t] * -decay  # (15), (18), with f'(o) = -decay
            carried = later * decay * (1 - os[t])
            membrane[t] = carried if is_output else delta[t] * h(us[t]) + carried  # (16), (20)
        weights = sum(x.T @ m for x, m in zip(inputs, membrane, strict=True))  # (22)
        grads.append((weights, sum(m.sum(0) for m in membrane)))  # (21)
        direct = [(d * h(u)) @ layers[n][0].T for d, u in zip(delta, us, strict=True)]  # (13)
    return grads[::-1]


@pytest.mark.parametrize("decay", [0.2, 0.9])
@pytest.mark.heavy
def test_the_gradient_is_the_printed_one(decay):
    exact, network = networks(decay)
    params, _ = network.init(jax.random.key(0), (INPUTS,))
    xs, labels = data(steps=5)
    loss, grads = jax.jit(lambda params: gradient(network, params, xs, labels))(params)
    assert loss == pytest.approx(gradient(exact, params, xs, labels)[0])
    wanted = by_hand(params, xs, labels, decay)
    assert any(np.abs(kernel).max() > 0 for kernel, _ in wanted)
    for (kernel, bias), got in zip(wanted, grads[1:], strict=True):
        np.testing.assert_allclose(got.synapse.kernel, kernel, atol=1e-6)
        np.testing.assert_allclose(got.synapse.bias, bias, atol=1e-6)


@pytest.mark.heavy
def test_one_step_is_exact():
    exact, network = networks(0.9)
    params, _ = network.init(jax.random.key(0), (INPUTS,))
    xs, labels = data(steps=1)
    pairs = [jax.tree.leaves(gradient(net, params, xs, labels)) for net in (exact, network)]
    for a, b in zip(*pairs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)
