"""Gauss-Newton by linearization, and export, by hand."""

import functools

import jax
import jax.numpy as jnp
from jax import export

STEPS, EXAMPLES, DAMPING, DECAY, THRESHOLD, FILTER = 40, 16, 0.1, 0.8, 0.3, 0.8


def spike(v):
    """A spike for forward mode: the step in value, the sigmoid in slope."""
    smooth = jax.nn.sigmoid(v / 0.25)
    return jax.lax.stop_gradient((v >= 0) - smooth) + smooth


def predict(params, xs):
    (w1, b1), (w2, b2) = params

    def step(state, x):
        u, z, y = state
        u = DECAY * u * (1 - z) + x @ w1 + b1
        z = spike(u - THRESHOLD)
        y = FILTER * y + z @ w2 + b2
        return (u, z, y), y

    rest = tuple(jnp.zeros((xs.shape[1], len(b))) for b in (b1, b1, b2))
    return jax.lax.scan(step, rest, xs)[1]


@jax.jit
def update(params, xs, targets):
    error, forward = jax.linearize(lambda p: predict(p, xs) - targets, params)
    backward = jax.linear_transpose(forward, params)

    def curvature(step):
        (product,) = backward(forward(step) / error.size)
        return jax.tree.map(lambda p, s: p + DAMPING * s, product, step)

    (gradient,) = backward(error / error.size)
    step, _ = jax.scipy.sparse.linalg.cg(curvature, gradient, maxiter=20)
    return jax.tree.map(jnp.subtract, params, step), jnp.mean(error**2)


def uniform(key, fan_in, fan_out):
    k_kernel, k_bias = jax.random.split(key)
    bound = fan_in**-0.5
    kernel = jax.random.uniform(k_kernel, (fan_in, fan_out), minval=-bound, maxval=bound)
    return kernel, jax.random.uniform(k_bias, (fan_out,), minval=-bound, maxval=bound)


def start(key):
    phase = 6 * jax.random.uniform(key, (1, EXAMPLES))
    angle = jnp.arange(STEPS)[:, None] / 6 + phase
    xs = 0.5 + 0.5 * jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
    k_hidden, k_out = jax.random.split(key)
    params = [uniform(k_hidden, 2, 40), uniform(k_out, 40, 1)]
    return params, xs, xs[..., :1] * xs[..., 1:]


def main(num_updates=30):
    params, xs, targets = start(jax.random.key(0))
    for _ in range(num_updates):
        params, loss = update(params, xs, targets)
    assert loss < 0.015  # the variance of the targets is 0.07
    run, sizes = jax.jit(functools.partial(predict, params)), export.symbolic_shape("T, B")
    program = export.export(run)(jax.ShapeDtypeStruct((*sizes, 2), xs.dtype)).serialize()
    outs = export.deserialize(program).call(xs[:7, :3])  # in another process, with JAX alone
    assert jnp.allclose(outs, run(xs[:7, :3]), atol=1e-6)
