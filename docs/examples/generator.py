"""Training on a generator of batches, which never fit into memory together."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import stbp_jax as sj

STEPS, EXAMPLES, CHANNELS, CLASSES = 20, 64, 100, 5
neuron = sj.lif(decay=0.5)
net = sj.serial(sj.dense(64, neuron), sj.dense(CLASSES, sj.leaky_integrator(decay=0.9)))
optimizer = optax.adam(2e-3)


def recordings(seed):
    """Yield batches without end, as a reader of many files does."""
    random = np.random.default_rng(seed)
    chances = 0.2 * np.random.default_rng(0).random((CLASSES, CHANNELS))
    while True:
        labels = random.integers(0, CLASSES, EXAMPLES)
        spikes = random.random((EXAMPLES, STEPS, CHANNELS)) < chances[labels][:, None]
        yield np.packbits(spikes, axis=-1), labels  # a bit for each step and channel


def ahead(batches):
    """Copy each batch to the device while the one before is in use."""
    batches = map(jax.device_put, batches)
    later = next(batches)
    for batch in batches:
        yield later
        later = batch


def loss_of(params, packed, labels):
    spikes = jnp.unpackbits(packed, axis=-1, count=CHANNELS).swapaxes(0, 1)
    scores = sj.rate(sj.apply(net, params, spikes)[1])
    return sj.cross_entropy(scores, labels).mean(), sj.metrics.accuracy(scores, labels)


@jax.jit
def update(params, opt_state, packed, labels):
    grads, accuracy = jax.grad(loss_of, has_aux=True)(params, packed, labels)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, accuracy


def start(key):
    params, _ = net.init(key, (CHANNELS,))
    return params, optimizer.init(params), *next(ahead(recordings(1)))


def main(num_updates=100):
    params, opt_state, *_ = start(jax.random.key(0))
    for _, (packed, labels) in zip(range(num_updates), ahead(recordings(2))):
        params, opt_state, accuracy = update(params, opt_state, packed, labels)
    assert accuracy > 0.9
