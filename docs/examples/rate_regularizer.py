"""A classifier whose hidden units learn to fire at 5 % of the steps, by the records of a run."""

import jax
import jax.numpy as jnp
import optax

import stbp_jax as sj

STEPS, EXAMPLES, TARGET, STRENGTH = 20, 64, 0.05, 30.0

neuron = sj.lif(decay=0.5, threshold=0.3)
hidden = sj.dense(40, neuron), sj.dense(40, neuron)
net = sj.serial(*hidden, sj.dense(4, sj.leaky_integrator(decay=0.9)))
optimizer = optax.adam(3e-3)
patterns = jax.random.uniform(jax.random.key(1), (4, 30))


def draw(key):
    """Draw patterns as random spikes, and which pattern each is."""
    k_label, k_spikes = jax.random.split(key)
    label = jax.random.randint(k_label, (EXAMPLES,), 0, 4)
    chances = jnp.broadcast_to(patterns[label], (STEPS, EXAMPLES, 30))
    return jax.random.bernoulli(k_spikes, chances), label


def loss_of(params, xs, label):
    states, outs = sj.record(net, params, xs)
    scores = sj.rate(outs)
    spikes = [state.spikes for state in states[: len(hidden)]]
    penalty = sum(sj.losses.activity_penalty(s, target=TARGET).mean() for s in spikes)
    loss = sj.cross_entropy(scores, label).mean() + STRENGTH * penalty
    return loss, (sj.metrics.accuracy(scores, label), jnp.stack([s.mean() for s in spikes]))


@jax.jit
def update(params, opt_state, key):
    grads, report = jax.grad(loss_of, has_aux=True)(params, *draw(key))
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, report


def start(key):
    params, _ = net.init(key, (30,))
    return params, optimizer.init(params), key


def main(num_updates=150):
    params, opt_state, key = start(jax.random.key(0))
    _, _, (_, before) = update(params, opt_state, key)
    for k in jax.random.split(key, num_updates):
        params, opt_state, (accuracy, rates) = update(params, opt_state, k)
    assert accuracy > 0.9
    assert jnp.all(jnp.abs(rates - TARGET) < 0.02)
    assert jnp.all(jnp.abs(before - TARGET) > 0.1)
