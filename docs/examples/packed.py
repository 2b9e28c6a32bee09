"""Sequences of different lengths: packed into rows for training, padded for evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import stbp_jax as sj

STEPS, ROWS, SEQUENCES, CLASSES = 72, 24, 96, 4
net = sj.serial(sj.dense(32, sj.lif(decay=0.5)), sj.dense(CLASSES, sj.leaky_integrator(decay=0.5)))
optimizer = optax.adam(5e-3)
generator = np.random.default_rng(0)
labels = generator.integers(0, CLASSES, SEQUENCES)
chances = generator.random((CLASSES, 10))[labels]
lengths = generator.integers(4, 25, SEQUENCES)
sequences = [generator.random((n, 10)) < p for n, p in zip(lengths, chances)]


def pack():
    """Lay sequences end to end in rows; padding is owned by no sequence."""
    xs, is_first = np.zeros((STEPS, ROWS, 10), bool), np.zeros((STEPS, ROWS), bool)
    owner, used = np.full((STEPS, ROWS), SEQUENCES), np.zeros(ROWS, int)
    for i, sequence in enumerate(sequences):
        row = np.argmin(used)
        steps = slice(used[row], used[row] + len(sequence))
        xs[steps, row], is_first[used[row], row], owner[steps, row] = sequence, True, i
        used[row] += len(sequence)
    return jnp.array(xs), jnp.array(is_first), jnp.array(owner)


def scores_of(params, xs, is_first, owner):
    outs = sj.apply(net, params, xs, is_first=is_first)[1].reshape(-1, CLASSES)
    return jax.ops.segment_sum(outs, owner.ravel(), SEQUENCES + 1)[:-1] / lengths[:, None]


@jax.jit
def update(params, opt_state, *rows):
    def loss_of(params):
        return sj.cross_entropy(scores_of(params, *rows), labels).mean()

    loss, grads = jax.value_and_grad(loss_of)(params)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss


def start(key):
    params, _ = net.init(key, (10,))
    return params, optimizer.init(params), *pack()


def main(num_updates=60):
    params, opt_state, *rows = start(jax.random.key(0))
    for _ in range(num_updates):
        params, opt_state, _ = update(params, opt_state, *rows)
    mask, padded = np.arange(24)[:, None] < lengths[None], np.zeros((24, SEQUENCES, 10), bool)
    padded.swapaxes(0, 1)[mask.T] = np.concatenate(sequences)
    scores = sj.rate(sj.apply(net, params, padded)[1], mask=mask)
    np.testing.assert_allclose(scores, scores_of(params, *rows), atol=1e-5)
    assert sj.metrics.accuracy(scores, labels) > 0.95
