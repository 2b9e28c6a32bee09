"""The surrogate's width as a number in the program: set by hand, annealed, swept."""

import jax
import jax.numpy as jnp
import optax

import stbp_jax as sj

STEPS, EXAMPLES, UPDATES = 10, 64, 100
WIDTHS = jnp.array([0.01, 0.3, 1.0, 30.0])
optimizer = optax.adam(3e-3)
patterns = jax.random.uniform(jax.random.key(1), (8, 20))


def network(width):
    neuron = sj.lif(surrogate=sj.rectangular(width))
    return sj.serial(sj.dense(40, neuron), sj.dense(40, neuron), sj.dense(8, neuron))


def loss_of(params, width, key):
    k_label, k_noise = jax.random.split(key)
    label = jax.random.randint(k_label, (EXAMPLES,), 0, 8)
    images = patterns[label] + 0.1 * jax.random.normal(k_noise, (EXAMPLES, 20))
    _, spikes = sj.apply(network(width), params, sj.constant(jnp.clip(images, 0, 1), STEPS))
    return sj.half_squared_error(sj.rate(spikes), label).mean()


def step(params, opt_state, width, key):
    loss, grads = jax.value_and_grad(loss_of)(params, width, key)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss


update = jax.jit(jax.vmap(step, (0, 0, 0, None)))  # as many runs as there are widths


def start(key):
    params, _ = network(1.0).init(key, (20,))
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
