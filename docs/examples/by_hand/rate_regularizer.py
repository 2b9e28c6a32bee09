"""The rate regularizer by hand."""

import jax
import jax.numpy as jnp
import optax

STEPS, EXAMPLES, TARGET, STRENGTH = 20, 64, 0.05, 30.0
DECAY, THRESHOLD, FILTER = 0.5, 0.3, 0.9
optimizer = optax.adam(3e-3)
patterns = jax.random.uniform(jax.random.key(1), (4, 30))


@jax.custom_vjp
def spike(v):
    return (v >= 0).astype(v.dtype)


spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g * (jnp.abs(v) < 0.5),))


def draw(key):
    """Draw patterns as random spikes, and which pattern each is."""
    k_label, k_spikes = jax.random.split(key)
    label = jax.random.randint(k_label, (EXAMPLES,), 0, 4)
    chances = jnp.broadcast_to(patterns[label], (STEPS, EXAMPLES, 30))
    return jax.random.bernoulli(k_spikes, chances).astype(jnp.float32), label


def run(params, xs):
    (w1, b1), (w2, b2), (w3, b3) = params

    def step(state, x):
        u1, z1, u2, z2, y = state
        u1 = DECAY * u1 * (1 - z1) + x @ w1 + b1
        z1 = spike(u1 - THRESHOLD)
        u2 = DECAY * u2 * (1 - z2) + z1 @ w2 + b2
        z2 = spike(u2 - THRESHOLD)
        y = FILTER * y + z2 @ w3 + b3
        return (u1, z1, u2, z2, y), (z1, z2, y)

    rest = tuple(jnp.zeros((xs.shape[1], len(b))) for b in (b1, b1, b2, b2, b3))
    return jax.lax.scan(step, rest, xs)[1]


def loss_of(params, xs, label):
    *spikes, outs = run(params, xs)
    scores = outs.mean(0)
    penalty = sum(((s.mean(0) - TARGET) ** 2).mean() for s in spikes)
    loss = optax.softmax_cross_entropy_with_integer_labels(scores, label).mean()
    accuracy = jnp.mean(jnp.argmax(scores, axis=-1) == label)
    return loss + STRENGTH * penalty, (accuracy, jnp.stack([s.mean() for s in spikes]))


@jax.jit
def update(params, opt_state, key):
    grads, report = jax.grad(loss_of, has_aux=True)(params, *draw(key))
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, report


def uniform(key, fan_in, fan_out):
    k_kernel, k_bias = jax.random.split(key)
    bound = fan_in**-0.5
    kernel = jax.random.uniform(k_kernel, (fan_in, fan_out), minval=-bound, maxval=bound)
    return kernel, jax.random.uniform(k_bias, (fan_out,), minval=-bound, maxval=bound)


def start(key):
    sizes = (30, 40), (40, 40), (40, 4)
    params = [uniform(k, *size) for k, size in zip(jax.random.split(key, 3), sizes)]
    return params, optimizer.init(params), key


def main(num_updates=150):
    params, opt_state, key = start(jax.random.key(0))
    _, _, (_, before) = update(params, opt_state, key)
    for k in jax.random.split(key, num_updates):
        params, opt_state, (accuracy, rates) = update(params, opt_state, k)
    assert accuracy > 0.9
    assert jnp.all(jnp.abs(rates - TARGET) < 0.02)
    assert jnp.all(jnp.abs(before - TARGET) > 0.1)
