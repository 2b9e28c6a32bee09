"""Sequence regression with adaptive neurons: masked weight decay, cosine schedule, clipping."""

import jax
import jax.numpy as jnp
import optax

import stbp_jax as sj

STEPS, EXAMPLES, UPDATES = 50, 32, 150
surrogate = sj.sigmoid(0.25)
hidden = sj.alif(decay=0.8, threshold=0.3, adaptation_strength=0.3, surrogate=surrogate)
net = sj.serial(sj.dense(64, hidden), sj.dense(1, sj.leaky_integrator(decay=0.8)))
kernels = sj.layers.by_name(lambda name: name.endswith("kernel"))  # biases do not decay
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
    _, outs = sj.apply(net, params, xs)
    return jnp.mean((outs - targets) ** 2)


@jax.jit
def update(params, opt_state, key):
    loss, grads = jax.value_and_grad(loss_of)(params, *draw(key))
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


def start(key):
    params, _ = net.init(key, (1,))
    return params, optimizer.init(params), key


def main():
    params, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, UPDATES):
        params, opt_state, loss = update(params, opt_state, k)
    assert loss < 0.015  # the variance of the averages is 0.05
