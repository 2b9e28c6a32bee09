"""Widths of the surrogate by hand."""

import jax
import jax.numpy as jnp
import optax

STEPS, EXAMPLES, UPDATES, DECAY, THRESHOLD = 10, 64, 100, 0.2, 0.5
WIDTHS = jnp.array([0.01, 0.3, 1.0, 30.0])
optimizer = optax.adam(3e-3)
patterns = jax.random.uniform(jax.random.key(1), (8, 20))


@jax.custom_vjp
def spike(v, width):
    return (v >= 0).astype(v.dtype)


def spike_backward(residuals, g):
    v, width = residuals
    return g * (jnp.abs(v) < width / 2) / width, jnp.zeros_like(width)


spike.defvjp(lambda v, width: (spike(v, width), (v, width)), spike_backward)


def run(params, width, xs):
    def step(state, x):
        after = []
        for (w, b), (u, z) in zip(params, state):
            u = DECAY * u * (1 - z) + x @ w + b
            x = spike(u - THRESHOLD, width)
            after.append((u, x))
        return after, x

    rest = [(jnp.zeros((xs.shape[1], len(b))),) * 2 for _, b in params]
    return jax.lax.scan(step, rest, xs)[1]


def loss_of(params, width, key):
    k_label, k_noise = jax.random.split(key)
    label = jax.random.randint(k_label, (EXAMPLES,), 0, 8)
    images = patterns[label] + 0.1 * jax.random.normal(k_noise, (EXAMPLES, 20))
    images = jnp.clip(images, 0, 1)
    spikes = run(params, width, jnp.broadcast_to(images, (STEPS, *images.shape)))
    error = jax.nn.one_hot(label, 8) - spikes.mean(0)
    return (0.5 * (error**2).sum(-1)).mean()


def step(params, opt_state, width, key):
    loss, grads = jax.value_and_grad(loss_of)(params, width, key)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss


update = jax.jit(jax.vmap(step, (0, 0, 0, None)))  # as many runs as there are widths


def uniform(key, fan_in, fan_out):
    k_kernel, k_bias = jax.random.split(key)
    bound = fan_in**-0.5
    kernel = jax.random.uniform(k_kernel, (fan_in, fan_out), minval=-bound, maxval=bound)
    return kernel, jax.random.uniform(k_bias, (fan_out,), minval=-bound, maxval=bound)


def start(key):
    sizes = (20, 40), (40, 40), (40, 8)
    params = [uniform(k, *size) for k, size in zip(jax.random.split(key, 3), sizes)]
    runs = jax.tree.map(lambda p: jnp.stack([p] * len(WIDTHS)), (params, optimizer.init(params)))
    return *runs, WIDTHS, key


def main():
    params, opt_state, widths, key = start(jax.random.key(0))
    keys = jax.random.split(key, UPDATES)
    for k in keys:  # swept
        params, opt_state, losses = update(params, opt_state, widths, k)

    by_hand, (params, opt_state) = jax.jit(step), jax.tree.map(lambda x: x[0], start(key)[:2])
    width_at = optax.exponential_decay(2.0, UPDATES, 0.1)  # annealed: from 2 to 0.2
    for i, k in enumerate(keys):
        params, opt_state, annealed = by_hand(params, opt_state, width_at(i), k)
    assert by_hand._cache_size() == 1  # a new width compiles nothing
    assert losses[0] > 0.4  # too narrow: no gradient
    assert losses[1:].min() < 0.05
    assert annealed < 0.05
