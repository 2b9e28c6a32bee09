"""Gradients forward in time against reverse mode and against OTTT's formula in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from experiments.engine import models
from experiments.studies.online_learning import online, study

CONFIG = study.FULL.but(layers="6-10", gain=2.0, width=2.0)
HPARAMS = models.hparams(CONFIG)
BATCH, INPUTS = 4, 5
LABELS = jnp.arange(BATCH)


def data(steps):
    params, _ = study.plain(CONFIG, HPARAMS).init(jax.random.key(0), (INPUTS,))
    return params, jax.random.uniform(jax.random.key(1), (steps, BATCH, INPUTS))


def forward(network, steps, params, xs):
    def loss(outs):
        return jnp.sum(study.loss(outs, LABELS)) / (len(xs) * BATCH)

    return jax.jit(lambda p: online.accumulated(network, steps, loss, p, xs))(params)


def reverse(network, params, xs):
    def loss(params):
        return jnp.mean(study.loss(sj.apply(network, params, xs)[1], LABELS))

    return jax.jit(jax.value_and_grad(loss))(params)


def assert_close(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 5, 7])
def test_segments_are_those_of_truncated(steps):
    network = study.plain(CONFIG, HPARAMS)
    params, xs = data(steps=7)
    value, scores, grads = forward(network, steps, params, xs)
    wanted, exact = reverse(sj.truncated(network, steps), params, xs)
    assert float(value) == pytest.approx(float(wanted), rel=1e-6)
    np.testing.assert_allclose(scores, sj.apply(network, params, xs)[1].sum(0), rtol=1e-5)
    assert np.abs(exact[0].neuron.weights.kernel).max() > 0
    assert_close(grads, exact)


def test_ottt_is_exact_at_one_step():
    params, xs = data(steps=1)
    found = forward(study.traced(CONFIG, HPARAMS), 1, params, xs)[2]
    assert_close(found, reverse(study.plain(CONFIG, HPARAMS), params, xs)[1])


def test_ottt_is_exact_for_the_readout():
    params, xs = data(steps=4)
    value, _, found = forward(study.traced(CONFIG, HPARAMS), 1, params, xs)
    wanted, exact = reverse(study.plain(CONFIG, HPARAMS), params, xs)
    assert float(value) == pytest.approx(float(wanted), rel=1e-6)
    assert_close(found[1], exact[1])
    cut = forward(study.plain(CONFIG, HPARAMS), 1, params, xs)[2]
    assert np.abs(cut[1].synapse.kernel - exact[1].synapse.kernel).max() > 1e-3


def by_hand(params, xs):
    """OTTT's formula in float64: traces of inputs and spikes times errors through space."""
    decay, threshold, width = (HPARAMS[name] for name in ("decay", "threshold", "width"))
    (w, b), (r, c) = (tuple(np.asarray(leaf, float) for leaf in weights)
                      for weights in (params[0].synapse, params[0].neuron.weights))  # fmt: skip
    v, d = (np.asarray(leaf, float) for leaf in params[1].synapse)
    xs, target = np.asarray(xs, float), np.eye(10)[np.asarray(LABELS)]
    u = o = trace_o = np.zeros((BATCH, len(c)))
    trace_x, trace_s, out = 0, 0, 0
    ones = ones_out = 0  # traces of the biases
    w_, b_, r_, c_, v_, d_ = (np.zeros_like(a) for a in (w, b, r, c, v, d))
    for x in xs:
        trace_x, trace_o, ones = decay * trace_x + x, decay * trace_o + o, decay * ones + 1
        u = decay * (u - threshold * o) + x @ w + b + o @ r + c
        o = (u >= threshold).astype(float)
        trace_s, ones_out = study.READOUT * trace_s + o, study.READOUT * ones_out + 1
        out = study.READOUT * out + o @ v + d
        chances = np.exp(out) / np.exp(out).sum(1, keepdims=True)
        error = (chances - target) / (len(xs) * BATCH)
        back = error @ v.T * (np.abs(u - threshold) < width / 2) / width
        v_ += trace_s.T @ error
        d_ += ones_out * error.sum(0)
        w_ += trace_x.T @ back
        r_ += trace_o.T @ back
        b_ += ones * back.sum(0)
        c_ += ones * back.sum(0)
    return [w_, b_, r_, c_, v_, d_]


def test_ottt_is_its_formula():
    params, xs = data(steps=4)
    found = forward(study.traced(CONFIG, HPARAMS), 1, params, xs)[2]
    wanted = by_hand(params, xs)
    assert np.abs(wanted[2]).max() > 1e-4  # recurrent weights
    assert_close(found, wanted)


def test_training_uses_the_gradient_forward_in_time():
    build = study.build(study.SMOKE, network=study.traced, steps=1)
    pipeline = build(models.hparams(study.SMOKE), 1)
    params, _ = pipeline.network.init(jax.random.key(0), (28,))
    images = jax.random.uniform(jax.random.key(1), (3, 28, 28))
    batch = images, jnp.arange(3)
    plain = sj.training.loss_of(pipeline._replace(objective=None))
    ours = pipeline.objective(plain)
    (value, report), grads = jax.jit(jax.value_and_grad(ours, has_aux=True))(
        params, jax.random.key(2), batch
    )
    wanted, others = jax.jit(plain)(params, jax.random.key(2), batch)
    assert float(value) == pytest.approx(float(wanted), rel=1e-6)
    assert float(report["accuracy"]) == pytest.approx(float(others["accuracy"]))
    network = study.traced(study.SMOKE, models.hparams(study.SMOKE))
    exact = jax.jit(
        lambda p: online.accumulated(
            network,
            1,
            lambda o: jnp.sum(study.loss(o, batch[1])) / 84,
            p,
            study.encode(None, images),
        )
    )(params)[2]
    assert_close(grads, exact)


@pytest.mark.heavy
def test_memory_does_not_grow_with_time():
    def memory(network, steps, length):
        return study.cost(CONFIG.but(batch_size=100), network, steps, length)["temp_bytes"]

    assert memory(study.traced, 1, 100) < 1.01 * memory(study.traced, 1, 10)
    assert memory(study.plain, 100, 100) > 3 * memory(study.plain, 10, 10)
