"""Sequence regression by hand."""

import jax
import jax.numpy as jnp
import optax

STEPS, EXAMPLES, UPDATES, HIDDEN = 50, 32, 150, 64
DECAY, THRESHOLD, ADAPTATION_DECAY, ADAPTATION, FILTER = 0.8, 0.3, 0.95, 0.3, 0.8


@jax.custom_vjp
def spike(v):
    return (v >= 0).astype(v.dtype)


def spike_backward(v, g):
    s = jax.nn.sigmoid(v / 0.25)
    return (g * s * (1 - s) / 0.25,)


spike.defvjp(lambda v: (spike(v), v), spike_backward)


def kernels(params):
    """Say which parameters decay: the kernels, and not the biases."""
    return jax.tree.map(lambda p: jnp.ndim(p) > 1, params)


schedule = optax.cosine_decay_schedule(1e-2, UPDATES)
optimizer = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-3, mask=kernels)
)


def draw(key):
    """Draw signals that jump at random, and their slow averages, each `[T, B, 1]`."""
    k_level, k_jump = jax.random.split(key)
    levels = jax.random.uniform(k_level, (STEPS, EXAMPLES, 1))
    jumps = jax.random.bernoulli(k_jump, 0.2, levels.shape).at[0].set(True)
    last = jax.lax.cummax(jnp.where(jumps, jnp.arange(STEPS)[:, None, None], 0))
    xs = jnp.take_along_axis(levels, last, axis=0)
    _, average = jax.lax.scan(lambda y, x: (0.8 * y + 0.2 * x,) * 2, xs[0], xs)
    return xs, average


def loss_of(params, xs, targets):
    (w1, b1), (w2, b2) = params

    def step(state, x):
        u, z, a, y = state
        a = ADAPTATION_DECAY * a + z
        u = DECAY * u * (1 - z) + x @ w1 + b1
        z = spike(u - THRESHOLD - ADAPTATION * a)
        y = FILTER * y + z @ w2 + b2
        return (u, z, a, y), y

    rest = tuple(jnp.zeros((xs.shape[1], len(b))) for b in (b1, b1, b1, b2))
    return jnp.mean((jax.lax.scan(step, rest, xs)[1] - targets) ** 2)


@jax.jit
def update(params, opt_state, key):
    loss, grads = jax.value_and_grad(loss_of)(params, *draw(key))
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


def uniform(key, fan_in, fan_out):
    k_kernel, k_bias = jax.random.split(key)
    bound = fan_in**-0.5
    kernel = jax.random.uniform(k_kernel, (fan_in, fan_out), minval=-bound, maxval=bound)
    return kernel, jax.random.uniform(k_bias, (fan_out,), minval=-bound, maxval=bound)


def start(key):
    k_hidden, k_out = jax.random.split(key)
    params = [uniform(k_hidden, 1, HIDDEN), uniform(k_out, HIDDEN, 1)]
    return params, optimizer.init(params), key


def main():
    params, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, UPDATES):
        params, opt_state, loss = update(params, opt_state, k)
    assert loss < 0.015  # the variance of the averages is 0.05
