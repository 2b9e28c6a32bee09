"""Training on a generator of batches, which never fit into memory together."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import stbp_jax as sj

STEPS, EXAMPLES, CHANNELS, CLASSES = 20, 64, 100, 5
neuron = sj.lif(decay=0.5)
net = sj.serial(sj.dense(64, neuron), sj.dense(CLASSES, sj.leaky_integrator(decay=0.9)))
hparams = {"learning_rate": 2e-3}


def batches(seed):
    """Yield batches without end, as a reader of many files does."""
    random = np.random.default_rng(seed)
    chances = 0.2 * np.random.default_rng(0).random((CLASSES, CHANNELS))
    while True:
        labels = random.integers(0, CLASSES, EXAMPLES)
        spikes = random.random((EXAMPLES, STEPS, CHANNELS)) < chances[labels][:, None]
        yield np.packbits(spikes, axis=-1), labels  # a bit for each step and channel


def encode(key, packed):
    return jnp.unpackbits(packed, axis=-1, count=CHANNELS).swapaxes(0, 1)


def build(hparams, num_updates):
    optimizer = optax.adam(hparams["learning_rate"])
    return sj.Pipeline(encode, net, sj.rate, sj.cross_entropy, optimizer)


def main():
    config = sj.TrainConfig(epochs=4, updates_per_epoch=25)
    key, test_set = jax.random.key(0), next(batches(1))
    # A batch is read while the device works on the one before.
    for _, history in sj.train_epochs(build, config, key, hparams, batches(2), test_set):
        print(f"accuracy {history.test.metrics['accuracy']:.2f}")
    assert history.test.metrics["accuracy"] > 0.9
