"""REINFORCE by hand."""

import jax
import jax.numpy as jnp
import optax

STEPS, AGENTS = 40, 64
DECAY, THRESHOLD, FILTER = 0.9, 0.5, 0.9
optimizer = optax.adam(1e-2)


@jax.custom_vjp
def spike(v):
    return (v >= 0).astype(v.dtype)


spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g * (jnp.abs(v) < 0.5),))


def begin(key):
    """Draw the side of each cue, and the steps until the door."""
    k_side, k_left = jax.random.split(key)
    return jax.random.bits(k_side, (AGENTS,)) % 2, jax.random.randint(k_left, (AGENTS,), 2, 6)


def policy(params, state, x, is_first):
    (w1, b1), (w2, b2) = params
    u, z, y = (jnp.where(is_first[:, None], 0, s) for s in state)
    u = DECAY * u * (1 - z) + x @ w1 + b1
    z = spike(u - THRESHOLD)
    y = FILTER * y + z @ w2 + b2
    return (u, z, y), y


def rest(params):
    (_, b1), (_, b2) = params
    return tuple(jnp.zeros((AGENTS, len(b))) for b in (b1, b1, b2))


def rollout(params, key):
    def act(carried, key):
        (side, left), state, is_first = carried
        k_action, k_next = jax.random.split(key)
        done = left == 0
        seen = jnp.stack([is_first & (side == 0), is_first & (side == 1), done], axis=1)
        seen = seen.astype(jnp.float32)
        state, logits = policy(params, state, seen, is_first)
        action = jax.random.categorical(k_action, logits)
        new_side, new_left = begin(k_next)
        world = jnp.where(done, new_side, side), jnp.where(done, new_left, left - 1)
        return (world, state, done), (seen, is_first, action, done, done & (action == side))

    first = begin(key), rest(params), jnp.ones(AGENTS, bool)
    return jax.lax.scan(act, first, jax.random.split(key, STEPS))[1]


@jax.jit
def update(params, opt_state, key):
    seen, is_first, action, done, reward = rollout(params, key)
    success = reward.sum() / done.sum()

    def loss_of(params):
        _, logits = jax.lax.scan(
            lambda state, now: policy(params, state, *now), rest(params), (seen, is_first)
        )
        surprise = optax.softmax_cross_entropy_with_integer_labels(logits, action)
        return jnp.mean(surprise * done * (reward - success))

    updates, opt_state = optimizer.update(jax.grad(loss_of)(params), opt_state)
    return optax.apply_updates(params, updates), opt_state, success


def uniform(key, fan_in, fan_out):
    k_kernel, k_bias = jax.random.split(key)
    bound = fan_in**-0.5
    kernel = jax.random.uniform(k_kernel, (fan_in, fan_out), minval=-bound, maxval=bound)
    return kernel, jax.random.uniform(k_bias, (fan_out,), minval=-bound, maxval=bound)


def start(key):
    k_hidden, k_out = jax.random.split(key)
    params = [uniform(k_hidden, 3, 32), uniform(k_out, 32, 2)]
    return params, optimizer.init(params), key


def main(num_updates=60):
    params, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, num_updates):
        params, opt_state, success = update(params, opt_state, k)
    assert success > 0.9  # chance is 0.5
