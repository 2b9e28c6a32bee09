"""MAML by hand."""

import jax
import jax.numpy as jnp
import optax

STEPS, TASKS, SHOTS, RATE, INNER_STEPS = 10, 16, 10, 0.1, 2
DECAY, THRESHOLD = 0.8, 0.5
optimizer = optax.adam(3e-3)


@jax.custom_vjp
def spike(v):
    return (v >= 0).astype(v.dtype)


def spike_backward(v, g):
    s = jax.nn.sigmoid(v / 0.25)
    return (g * s * (1 - s) / 0.25,)


spike.defvjp(lambda v: (spike(v), v), spike_backward)


def draw(key):
    """Draw points of one sine: ten to adapt to, and ten to be judged by."""
    k_x, k_height, k_phase = jax.random.split(key, 3)
    x = jax.random.uniform(k_x, (2, SHOTS), minval=-5, maxval=5)
    height, phase = jax.random.uniform(k_height, minval=0.5, maxval=2), jax.random.uniform(k_phase)
    return zip(x, height * jnp.sin(x + jnp.pi * phase))


def run(params, xs):
    (w1, b1), (w2, b2), (w3, b3) = params

    def step(state, x):
        u1, z1, u2, z2 = state
        u1 = DECAY * u1 * (1 - z1) + x @ w1 + b1
        z1 = spike(u1 - THRESHOLD)
        u2 = DECAY * u2 * (1 - z2) + z1 @ w2 + b2
        z2 = spike(u2 - THRESHOLD)
        return (u1, z1, u2, z2), z2 @ w3 + b3

    rest = tuple(jnp.zeros((xs.shape[1], len(b))) for b in (b1, b1, b2, b2))
    return jax.lax.scan(step, rest, xs)[1]


def loss_of(params, x, y):
    fields = jnp.exp(-((x[:, None] - jnp.linspace(-5, 5, 20)[None]) ** 2))  # receptive fields
    outs = run(params, jnp.broadcast_to(fields, (STEPS, *fields.shape)))
    return jnp.mean((outs.mean(0)[:, 0] - y) ** 2)


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


def uniform(key, fan_in, fan_out):
    k_kernel, k_bias = jax.random.split(key)
    bound = fan_in**-0.5
    kernel = jax.random.uniform(k_kernel, (fan_in, fan_out), minval=-bound, maxval=bound)
    return kernel, jax.random.uniform(k_bias, (fan_out,), minval=-bound, maxval=bound)


def start(key):
    sizes = (20, 40), (40, 40), (40, 1)
    params = [uniform(k, *size) for k, size in zip(jax.random.split(key, 3), sizes)]
    return params, optimizer.init(params), key


def main(num_updates=60):
    params, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, num_updates):
        params, opt_state, loss = update(params, opt_state, k)
    assert loss < 0.25  # the variance of the sines is 0.9
