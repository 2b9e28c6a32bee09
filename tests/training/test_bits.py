"""Same key, device and versions: the same bits, in float32, as users compile.

Across processes, across `jit` boundaries, and from `train_epochs` as from `make_train`.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj
from stbp_jax.training import init_state, make_epoch

KEY, RATE = jax.random.key(3), 3e-3
CONFIG = sj.TrainConfig(epochs=3, batch_size=20, eval_batch_size=16)
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 70).astype(np.int32)
IMAGES = RNG.integers(0, 256, (70, 8, 8)).astype(np.uint8)
SETS = (IMAGES, LABELS), (IMAGES[:37], LABELS[:37])
PROGRAM = "from tests.training import test_bits as t; print(t.digest(t.whole()))"


def perceptron(rate, num_updates):
    return sj.Pipeline(
        encode=lambda key, images: sj.bernoulli(key, images, num_steps=5),
        network=sj.serial(sj.flatten(), sj.dense(24, sj.lif()), sj.dense(4, sj.lif())),
        readout=sj.rate,
        loss=sj.half_squared_error,
        optimizer=optax.adam(optax.cosine_decay_schedule(rate, num_updates)),
    )


def convolutional(rate, num_updates):
    hidden = sj.conv(6, 3, sj.lif()), sj.avg_pool(2), sj.flatten(), sj.dropout(0.2)
    output = sj.dense(4, sj.leaky_integrator(decay=0.9))
    return perceptron(rate, num_updates)._replace(
        encode=lambda key, images: sj.bernoulli(key, images[..., None], num_steps=5),
        network=sj.serial(*hidden, sj.dense(16, sj.alif()), output),
        loss=sj.cross_entropy,
    )


def whole(build=perceptron):
    return jax.jit(sj.make_train(build, CONFIG))(KEY, RATE, *SETS)


def digest(run):
    """A hash of the bits of a state and a history.

    Without `operations`: programs sum this count in different orders, in the last bit of float32.
    """
    state, history = run
    history = history._replace(test=history.test._replace(operations=()))
    hashed = hashlib.sha256()
    for leaf in jax.tree.leaves((state, history)):
        typed = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if typed else leaf)
        hashed.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return hashed.hexdigest()


def stacked(pairs):
    """The last state, and the histories of all epochs as one."""
    states, histories = zip(*pairs, strict=True)
    return states[-1], jax.tree.map(lambda *leaves: np.stack(leaves), *histories)


@pytest.mark.heavy
@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("build", [perceptron, convolutional])
def test_epochs_and_jit_boundaries_change_no_bit(build):
    wanted = digest(whole(build))
    assert digest(stacked(sj.train_epochs(build, CONFIG, KEY, RATE, *SETS))) == wanted
    assert digest(sj.make_train(build, CONFIG)(KEY, RATE, *SETS)) == wanted  # no jit around it
    closed = jax.jit(lambda key: sj.make_train(build, CONFIG)(key, RATE, *SETS))
    assert digest(closed(KEY)) == wanted  # sets and learning rate are constants of the program
    epoch, state, pairs = jax.jit(make_epoch(build, CONFIG)), None, []
    state = init_state(build, CONFIG, KEY, RATE, SETS[0])
    for _ in range(CONFIG.epochs):
        state, history = epoch(KEY, RATE, state, *SETS)
        pairs.append((state, history))
    assert digest(stacked(pairs)) == wanted


@pytest.mark.heavy
def test_processes_have_the_same_bits():
    root = Path(sj.__file__).parents[1]
    # Each compiles by itself.
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"PYTHONPATH": str(root), "PYTHONHASHSEED": "random"}
    command = [sys.executable, "-c", PROGRAM]
    found = {
        subprocess.run(
            command, env=environment, cwd=root, check=True, capture_output=True, timeout=280
        ).stdout
        for _ in range(2)
    }
    assert len(found) == 1
    assert len(found.pop()) == 65
