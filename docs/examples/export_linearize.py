"""Gauss-Newton by `jax.linearize`, and `jax.export` of the result for any T and B."""

import jax
import jax.numpy as jnp
from jax import export

import stbp_jax as sj

STEPS, EXAMPLES, DAMPING, DECAY, THRESHOLD = 40, 16, 0.1, 0.8, 0.3


def fire(params, membrane, current):
    """A step of `lif` whose spike has no custom rule, so that forward mode works too."""
    membrane = DECAY * membrane + current
    smooth = jax.nn.sigmoid((membrane - THRESHOLD) / 0.25)
    spikes = jax.lax.stop_gradient((membrane >= THRESHOLD) - smooth) + smooth
    return membrane * (1 - spikes), spikes


readout = sj.dense(1, sj.leaky_integrator(decay=0.8))
net = sj.serial(sj.dense(40, sj.make_neuron(fire, jnp.zeros)), readout)


def predict(params, xs):
    return sj.apply(net, params, xs)[1]


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


def start(key):
    phase = 6 * jax.random.uniform(key, (1, EXAMPLES))
    angle = jnp.arange(STEPS)[:, None] / 6 + phase
    xs = 0.5 + 0.5 * jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
    return net.init(key, (2,))[0], xs, xs[..., :1] * xs[..., 1:]


def main(num_updates=30):
    params, xs, targets = start(jax.random.key(0))
    for _ in range(num_updates):
        params, loss = update(params, xs, targets)
    assert loss < 0.015  # the variance of the targets is 0.07
    T, B = export.symbolic_shape("T, B")
    shapes = params, jax.ShapeDtypeStruct((T, B, 2), xs.dtype)
    program = export.export(jax.jit(predict))(*shapes).serialize()
    outs = export.deserialize(program).call(params, xs[:7, :3])  # in another process
    assert jnp.allclose(outs, predict(params, xs[:7, :3]), atol=1e-6)
