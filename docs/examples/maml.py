"""MAML: a spiking network that fits a new sine after two gradient steps on ten points."""

import jax
import jax.numpy as jnp
import optax

import stbp_jax as sj

STEPS, TASKS, SHOTS, RATE, INNER_STEPS = 10, 16, 10, 0.1, 2
neuron = sj.lif(decay=0.8, threshold=0.5, surrogate=sj.sigmoid(0.25))
net = sj.serial(sj.dense(40, neuron), sj.dense(40, neuron), sj.dense(1))
optimizer = optax.adam(3e-3)


def draw(key):
    """Draw points of one sine: ten to adapt to, and ten to be judged by."""
    k_x, k_height, k_phase = jax.random.split(key, 3)
    x = jax.random.uniform(k_x, (2, SHOTS), minval=-5, maxval=5)
    height, phase = jax.random.uniform(k_height, minval=0.5, maxval=2), jax.random.uniform(k_phase)
    return zip(x, height * jnp.sin(x + jnp.pi * phase))


def loss_of(params, x, y):
    fields = jnp.exp(-((x[:, None] - jnp.linspace(-5, 5, 20)[None]) ** 2))  # receptive fields
    _, outs = sj.apply(net, params, sj.constant(fields, STEPS))
    return jnp.mean((sj.rate(outs)[:, 0] - y) ** 2)


def adapted_loss(params, key):
    adapt_to, judged_by = draw(key)
    for _ in range(INNER_STEPS):
        grads = jax.grad(loss_of)(params, *adapt_to)
        params = jax.tree.map(lambda p, g: p - RATE * g, params, grads)
    return loss_of(params, *judged_by)


def meta_loss(params, keys):
    return jax.vmap(adapted_loss, (None, 0))(params, keys).mean()


@jax.jit
def update(params, opt_state, key):
    loss, grads = jax.value_and_grad(meta_loss)(params, jax.random.split(key, TASKS))
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss


def start(key):
    params, _ = net.init(key, (20,))
    return params, optimizer.init(params), key


def main(num_updates=60):
    params, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, num_updates):
        params, opt_state, loss = update(params, opt_state, k)
    assert loss < 0.25  # the variance of the sines is 0.9
