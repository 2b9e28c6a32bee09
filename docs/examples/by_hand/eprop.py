"""e-prop by hand."""

import jax
import jax.numpy as jnp
import optax

STEPS, CURVES, INPUTS, HIDDEN, DECAY, FILTER = 60, 4, 20, 64, 0.9, 0.8
THRESHOLD = 0.5
optimizer = optax.adam(3e-3)
xs = jax.random.bernoulli(jax.random.key(1), 0.2, (STEPS, CURVES, INPUTS)).astype(jnp.float32)
angle = 2 * jnp.pi * (jnp.arange(STEPS)[:, None] / STEPS + jnp.arange(CURVES)[None] / CURVES)
target = jnp.sin(angle)[..., None]


def curve(v):
    s = jax.nn.sigmoid(v / 0.25)
    return s * (1 - s) / 0.25


def eprop(params):
    w_in, w_recurrent, w_out = params

    def step(carried, now):
        u, before, y, traces, filtered, smooth, grads = carried
        x, wanted = now
        u = DECAY * u * (1 - before) + (x @ w_in + before @ w_recurrent)
        spikes = (u >= THRESHOLD).astype(u.dtype)
        y = FILTER * y + spikes @ w_out
        error = y - wanted
        pre = jnp.concatenate([x, before], axis=-1)
        traces = DECAY * (1 - before)[:, None] * traces + pre[:, :, None]  # [B, pre, N]
        filtered = FILTER * filtered + curve(u - THRESHOLD)[:, None] * traces
        smooth = FILTER * smooth + spikes
        new = jnp.einsum("bn,bin->in", error @ w_out.T, filtered), smooth.T @ error
        grads = jax.tree.map(jnp.add, grads, new)
        return (u, spikes, y, traces, filtered, smooth, grads), error**2

    unit, trace = jnp.zeros((CURVES, HIDDEN)), jnp.zeros((CURVES, INPUTS + HIDDEN, HIDDEN))
    grads = trace[0], jnp.zeros((HIDDEN, 1))
    first = unit, unit, jnp.zeros((CURVES, 1)), trace, trace, unit, grads
    last, squares = jax.lax.scan(step, first, (xs, target))
    inner, outer = last[-1]
    return squares.mean(), (inner[:INPUTS], inner[INPUTS:], outer)


@jax.jit
def update(params, opt_state):
    loss, grads = eprop(params)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss


def start(key):
    draw = jax.nn.initializers.variance_scaling(0.5, "fan_in", "normal")
    sizes = (INPUTS, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1)
    params = tuple(draw(k, size) for k, size in zip(jax.random.split(key, 3), sizes))
    return params, optimizer.init(params)


def main(num_updates=100):
    params, opt_state = start(jax.random.key(0))
    for _ in range(num_updates):
        params, opt_state, loss = update(params, opt_state)
    assert loss < 0.1  # the variance of the curves is 0.5
