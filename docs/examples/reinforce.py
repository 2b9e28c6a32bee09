"""REINFORCE: a spiking policy sees a cue, and must remember it at the door; episodes restart."""

import jax
import jax.numpy as jnp
import optax

import stbp_jax as sj

STEPS, AGENTS = 40, 64
net = sj.serial(sj.dense(32, sj.lif(decay=0.9)), sj.dense(2, sj.leaky_integrator(decay=0.9)))
optimizer = optax.adam(1e-2)


def begin(key):
    """Draw the side of each cue, and the steps until the door."""
    k_side, k_left = jax.random.split(key)
    return jax.random.bits(k_side, (AGENTS,)) % 2, jax.random.randint(k_left, (AGENTS,), 2, 6)


def rollout(params, key):
    def act(carried, key):
        (side, left), state, is_first = carried
        k_action, k_next = jax.random.split(key)
        done = left == 0
        seen = jnp.stack([is_first & (side == 0), is_first & (side == 1), done], axis=1)
        state, logits = net.step(params, state, seen, is_first)
        action = jax.random.categorical(k_action, logits)
        new_side, new_left = begin(k_next)
        world = jnp.where(done, new_side, side), jnp.where(done, new_left, left - 1)
        return (world, state, done), (seen, is_first, action, done, done & (action == side))

    state, _ = net.initial_state(params, (AGENTS, 3))
    first = begin(key), state, jnp.ones(AGENTS, bool)
    return jax.lax.scan(act, first, jax.random.split(key, STEPS))[1]


@jax.jit
def update(params, opt_state, key):
    seen, is_first, action, done, reward = rollout(params, key)
    success = reward.sum() / done.sum()

    def loss_of(params):
        _, logits = sj.apply(net, params, seen, is_first=is_first)  # all steps at once
        surprise = optax.softmax_cross_entropy_with_integer_labels(logits, action)
        return jnp.mean(surprise * done * (reward - success))

    updates, opt_state = optimizer.update(jax.grad(loss_of)(params), opt_state)
    return optax.apply_updates(params, updates), opt_state, success


def start(key):
    params, _ = net.init(key, (3,))
    return params, optimizer.init(params), key


def main(num_updates=60):
    params, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, num_updates):
        params, opt_state, success = update(params, opt_state, k)
    assert success > 0.9  # chance is 0.5
