"""Packed sequences by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

STEPS, ROWS, SEQUENCES, CLASSES = 72, 24, 96, 4
DECAY, THRESHOLD, FILTER = 0.5, 0.5, 0.5
optimizer = optax.adam(5e-3)
generator = np.random.default_rng(0)
labels = generator.integers(0, CLASSES, SEQUENCES)
chances = generator.random((CLASSES, 10))[labels]
lengths = generator.integers(4, 25, SEQUENCES)
sequences = [generator.random((n, 10)) < p for n, p in zip(lengths, chances)]


@jax.custom_vjp
def spike(v):
    return (v >= 0).astype(v.dtype)


spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g * (jnp.abs(v) < 0.5),))


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


def run(params, xs, is_first=None):
    (w1, b1), (w2, b2) = params
    if is_first is None:
        is_first = jnp.zeros(xs.shape[:2], bool)

    def step(state, now):
        x, first = now
        u, z, y = (jnp.where(first[:, None], 0, s) for s in state)
        u = DECAY * u * (1 - z) + x @ w1 + b1
        z = spike(u - THRESHOLD)
        y = FILTER * y + z @ w2 + b2
        return (u, z, y), y

    rest = tuple(jnp.zeros((xs.shape[1], len(b))) for b in (b1, b1, b2))
    return jax.lax.scan(step, rest, (jnp.asarray(xs, jnp.float32), is_first))[1]


def masked_rate(outs, mask):
    return jnp.where(mask[..., None], outs, 0).sum(0) / mask.sum(0)[:, None]


def scores_of(params, xs, is_first, owner):
    outs = run(params, xs, is_first).reshape(-1, CLASSES)
    return jax.ops.segment_sum(outs, owner.ravel(), SEQUENCES + 1)[:-1] / lengths[:, None]


@jax.jit
def update(params, opt_state, *rows):
    def loss_of(params):
        scores = scores_of(params, *rows)
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()

    loss, grads = jax.value_and_grad(loss_of)(params)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss


def uniform(key, fan_in, fan_out):
    k_kernel, k_bias = jax.random.split(key)
    bound = fan_in**-0.5
    kernel = jax.random.uniform(k_kernel, (fan_in, fan_out), minval=-bound, maxval=bound)
    return kernel, jax.random.uniform(k_bias, (fan_out,), minval=-bound, maxval=bound)


def start(key):
    k_hidden, k_out = jax.random.split(key)
    params = [uniform(k_hidden, 10, 32), uniform(k_out, 32, CLASSES)]
    return params, optimizer.init(params), *pack()


def main(num_updates=60):
    params, opt_state, *rows = start(jax.random.key(0))
    for _ in range(num_updates):
        params, opt_state, _ = update(params, opt_state, *rows)
    mask, padded = np.arange(24)[:, None] < lengths[None], np.zeros((24, SEQUENCES, 10), bool)
    padded.swapaxes(0, 1)[mask.T] = np.concatenate(sequences)
    scores = masked_rate(run(params, padded), mask)
    np.testing.assert_allclose(scores, scores_of(params, *rows), atol=1e-5)
    assert jnp.mean(jnp.argmax(scores, axis=-1) == labels) > 0.95
