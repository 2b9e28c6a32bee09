"""Evolution strategies by hand."""

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

STEPS, EXAMPLES, PAIRS, SIGMA = 12, 64, 128, 0.1
DECAY, THRESHOLD = 0.5, 0.5
optimizer = optax.adam(0.05)
patterns = jax.random.uniform(jax.random.key(1), (4, 8))


def spike(v):  # without a gradient
    return (v >= 0).astype(v.dtype)


def draw(key):
    """Draw noisy patterns, and which pattern each is."""
    k_label, k_noise = jax.random.split(key)
    label = jax.random.randint(k_label, (EXAMPLES,), 0, 4)
    noise = 0.1 * jax.random.normal(k_noise, (EXAMPLES, 8))
    x = jnp.clip(patterns[label] + noise, 0, 1)
    return jnp.broadcast_to(x, (STEPS, *x.shape)), label


def run(params, xs):
    (w1, b1), (w2, b2) = params

    def step(state, x):
        u1, z1, u2, z2 = state
        u1 = DECAY * u1 * (1 - z1) + x @ w1 + b1
        z1 = spike(u1 - THRESHOLD)
        u2 = DECAY * u2 * (1 - z2) + z1 @ w2 + b2
        z2 = spike(u2 - THRESHOLD)
        return (u1, z1, u2, z2), z2

    rest = tuple(jnp.zeros((xs.shape[1], len(b))) for b in (b1, b1, b2, b2))
    return jax.lax.scan(step, rest, xs)[1]


def score(weights, xs, label):
    return jnp.mean(jnp.argmax(run(unravel(weights), xs).mean(0), axis=-1) == label)


@jax.jit
def update(weights, opt_state, key):
    k_noise, k_data = jax.random.split(key)
    noise = jax.random.normal(k_noise, (PAIRS, len(weights)))
    noise = jnp.concatenate([noise, -noise])
    xs, label = draw(k_data)
    scores = jax.vmap(score, (0, None, None))(weights[None] + SIGMA * noise, xs, label)
    slope = -(scores - scores.mean()) @ noise / (2 * PAIRS * SIGMA)
    updates, opt_state = optimizer.update(slope, opt_state)
    return optax.apply_updates(weights, updates), opt_state, scores.mean()


def uniform(key, fan_in, fan_out):
    k_kernel, k_bias = jax.random.split(key)
    bound = fan_in**-0.5
    kernel = jax.random.uniform(k_kernel, (fan_in, fan_out), minval=-bound, maxval=bound)
    return kernel, jax.random.uniform(k_bias, (fan_out,), minval=-bound, maxval=bound)


def parameters(key):
    k_hidden, k_out = jax.random.split(key)
    return [uniform(k_hidden, 8, 16), uniform(k_out, 16, 4)]


unravel = ravel_pytree(parameters(jax.random.key(0)))[1]


def start(key):
    weights, _ = ravel_pytree(parameters(key))
    return weights, optimizer.init(weights), key


def main(num_updates=40):
    weights, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, num_updates):
        weights, opt_state, accuracy = update(weights, opt_state, k)
    print(f"mean accuracy of the 256 networks {accuracy:.0%}")
    assert accuracy > 0.8


if __name__ == "__main__":
    main()
