"""Evolution strategies: 256 networks side by side, scored by their accuracy, without gradients."""

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

import stbp_jax as sj

STEPS, EXAMPLES, PAIRS, SIGMA = 12, 64, 128, 0.1

neuron = sj.lif(decay=0.5)
net = sj.serial(sj.dense(16, neuron), sj.dense(4, neuron))
unravel = ravel_pytree(net.init(jax.random.key(0), (8,))[0])[1]
optimizer = optax.adam(0.05)
patterns = jax.random.uniform(jax.random.key(1), (4, 8))


def draw(key):
    """Draw noisy patterns, and which pattern each is."""
    k_label, k_noise = jax.random.split(key)
    label = jax.random.randint(k_label, (EXAMPLES,), 0, 4)
    noise = 0.1 * jax.random.normal(k_noise, (EXAMPLES, 8))
    return sj.constant(jnp.clip(patterns[label] + noise, 0, 1), STEPS), label


def score(weights, xs, label):
    _, spikes = sj.apply(net, unravel(weights), xs)
    return sj.metrics.accuracy(sj.rate(spikes), label)


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


def start(key):
    weights, _ = ravel_pytree(net.init(key, (8,))[0])
    return weights, optimizer.init(weights), key


def main(num_updates=40):
    weights, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, num_updates):
        weights, opt_state, accuracy = update(weights, opt_state, k)
    print(f"mean accuracy of the 256 networks {accuracy:.0%}")
    assert accuracy > 0.8


if __name__ == "__main__":
    main()
