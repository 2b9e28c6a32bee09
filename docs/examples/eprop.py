"""e-prop: a recurrent network learns to draw curves by traces that run forward in time."""

import jax
import jax.numpy as jnp
import optax

import stbp_jax as sj

STEPS, CURVES, INPUTS, HIDDEN, DECAY, FILTER = 60, 4, 20, 64, 0.9, 0.8
init = sj.initializers.initializer(jax.nn.initializers.variance_scaling(0.5, "fan_in", "normal"))
neuron = sj.recurrent(sj.lif(decay=DECAY, surrogate=sj.sigmoid(0.25)), init=init)
readout = sj.dense(1, sj.leaky_integrator(decay=FILTER), init=init)
net = sj.serial(sj.dense(HIDDEN, neuron, init=init), readout)
optimizer = optax.adam(3e-3)
xs = jax.random.bernoulli(jax.random.key(1), 0.2, (STEPS, CURVES, INPUTS)).astype(jnp.float32)
angle = 2 * jnp.pi * (jnp.arange(STEPS)[:, None] / STEPS + jnp.arange(CURVES)[None] / CURVES)
target = jnp.sin(angle)[..., None]


def eprop(params):
    (hidden, _), outs = sj.record(net, params, xs)
    slope = jax.vmap(neuron.probe, (None, 0))(params[0].neuron, hidden).slope  # [T, B, N]
    error = outs - target
    signal = error @ params[1].synapse.kernel.T  # what each unit should have done, [T, B, N]

    def step(carried, now):
        traces, filtered, smooth, before, grads = carried
        x, spikes, slope, error, signal = now
        pre = jnp.concatenate([x, before], axis=-1)
        traces = DECAY * (1 - before)[:, None] * traces + pre[:, :, None]  # [B, pre, N]
        filtered = FILTER * filtered + slope[:, None] * traces
        smooth = FILTER * smooth + spikes
        new = jnp.einsum("bn,bin->in", signal, filtered), smooth.T @ error
        return (traces, filtered, smooth, spikes, jax.tree.map(jnp.add, grads, new)), None

    trace, unit = jnp.zeros((CURVES, INPUTS + HIDDEN, HIDDEN)), jnp.zeros((CURVES, HIDDEN))
    first = trace, trace, unit, unit, (trace[0], jnp.zeros((HIDDEN, 1)))
    last, _ = jax.lax.scan(step, first, (xs, hidden.out, slope, error, signal))
    inner, outer = last[-1]
    grads = inner[:INPUTS], inner[INPUTS:], outer
    return jnp.mean(error**2), jax.tree.unflatten(jax.tree.structure(params), grads)


@jax.jit
def update(params, opt_state):
    loss, grads = eprop(params)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss


def start(key):
    params, _ = net.init(key, (INPUTS,))
    return params, optimizer.init(params)


def main(num_updates=100):
    params, opt_state = start(jax.random.key(0))
    for _ in range(num_updates):
        params, opt_state, loss = update(params, opt_state)
    assert loss < 0.1  # the variance of the curves is 0.5
