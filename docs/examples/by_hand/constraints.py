"""The constrained autoencoder by hand."""

import jax
import jax.numpy as jnp
import optax

STEPS, INPUTS, HIDDEN, DECAY, THRESHOLD = 12, 16, 48, 0.5, 0.5
SIGNS = jnp.where(jnp.arange(HIDDEN) < 0.8 * HIDDEN, 1.0, -1.0)  # 80 % of the units excite
PLACES = jnp.arange(HIDDEN) * INPUTS / HIDDEN
MASK = jnp.abs(jnp.arange(INPUTS)[:, None] - PLACES[None]) < 3  # a unit sees its neighborhood
BASIS = 2 * jax.random.normal(jax.random.key(1), (4, INPUTS))
optimizer = optax.adam(3e-3)


@jax.custom_vjp
def spike(v):
    return (v >= 0).astype(v.dtype)


def spike_backward(v, g):
    s = jax.nn.sigmoid(v / 0.25)
    return (g * s * (1 - s) / 0.25,)


spike.defvjp(lambda v: (spike(v), v), spike_backward)


def run(params, xs):
    (w1, b1), (w2, b2), (_, b3) = params
    w1, w2 = w1 * MASK, jnp.abs(w2) * SIGNS[:, None]

    def step(state, x):
        u1, z1, u2, z2 = state
        u1 = DECAY * u1 * (1 - z1) + x @ w1 + b1
        z1 = spike(u1 - THRESHOLD)
        u2 = DECAY * u2 * (1 - z2) + z1 @ w2 + b2
        z2 = spike(u2 - THRESHOLD)
        return (u1, z1, u2, z2), z2 @ w1.T + b3

    rest = tuple(jnp.zeros((xs.shape[1], len(b))) for b in (b1, b1, b2, b2))
    return jax.lax.scan(step, rest, xs)[1]


def loss_of(params, images):
    outs = run(params, jnp.broadcast_to(images, (STEPS, *images.shape)))
    return jnp.mean((outs.mean(0) - images) ** 2)


@jax.jit
def update(params, opt_state, key):
    images = jax.nn.sigmoid(jax.random.normal(key, (64, 4)) @ BASIS)
    loss, grads = jax.value_and_grad(loss_of)(params, images)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss


def uniform(key, fan_in, fan_out):
    k_kernel, k_bias = jax.random.split(key)
    bound = fan_in**-0.5
    kernel = jax.random.uniform(k_kernel, (fan_in, fan_out), minval=-bound, maxval=bound)
    return kernel, jax.random.uniform(k_bias, (fan_out,), minval=-bound, maxval=bound)


def start(key):
    sizes = (INPUTS, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, INPUTS)
    params = [uniform(k, *size) for k, size in zip(jax.random.split(key, 3), sizes)]
    return params, optimizer.init(params), key


def main(num_updates=150):
    params, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, num_updates):
        params, opt_state, loss = update(params, opt_state, k)
    assert loss < 0.03  # the variance of the images is 0.1
