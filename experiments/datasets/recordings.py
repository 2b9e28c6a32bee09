"""Event-camera recordings of digits, real and simulated: loaders, splits and input coding.

There are three sources. `load_folds` splits the 1,100 recordings of N-MNIST in `$STBP_DATA` into
folds. `load_simulated` trains on simulated recordings of MNIST's training images and tests on all
1,100 real ones. `load_whole` reads all of N-MNIST from the folder in `$STBP_NMNIST`.
"""

import functools
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import stbp_jax as sj
from experiments.datasets import named
from experiments.datasets.saccades import Camera, record
from experiments.engine.config import Config, UsageError
from experiments.engine.models import Coding
from stbp_jax import data
from stbp_jax.data import NMNIST_SHAPE, PAD, Recordings

SUBSET, SIMULATED, WHOLE = "nmnist_subset", "nmnist_simulated", "nmnist"
FILE = f"nmnist/{SUBSET}.zip"
FOLDS = 11
DURATION = 300_000  # microseconds of all steps together; the mean recording lasts 308,000
SIZES = (60_000, 10_000)  # recordings of N-MNIST

Sets = tuple[Recordings, Recordings]


# Input coding ------------------------------------------------------------------------------------


def _spikes(key: jax.Array, events: jax.Array, num_steps: int) -> jax.Array:
    return sj.events.event_spikes(events, num_steps, steps=sj.events.by_time(DURATION // num_steps))


def _counts(key: jax.Array, events: jax.Array, num_steps: int) -> jax.Array:
    return sj.events.event_counts(events, num_steps, steps=sj.events.by_time(DURATION // num_steps))


def _frame(key: jax.Array, events: jax.Array, num_steps: int) -> jax.Array:
    return jnp.mean(_spikes(key, events, num_steps), 0, keepdims=True)


def _count_frame(key: jax.Array, events: jax.Array, num_steps: int) -> jax.Array:
    counts = jnp.sum(_counts(key, events, num_steps), 0, keepdims=True)
    return counts / jnp.maximum(1, jnp.max(counts, (2, 3, 4), keepdims=True))


SPIKES = Coding(_spikes)
COUNTS = Coding(_counts)
# One frame for a network without time, in [0, 1]: the mean of the binary frames; or the number of
# events, over the recording's largest.
FRAME = Coding(_frame)
COUNT_FRAME = Coding(_count_frame)


def moved(key: jax.Array, events: jax.Array, most: int) -> jax.Array:
    """Shift each recording by a random number of whole pixels in y and x.

    Args:
      key: of the random shifts, which are uniform.
      events: `[B, M]`, as in `data.Recordings.events`.
      most: largest shift in pixels, in each direction.

    Returns:
      `[B, M]`; events that leave the sensor become `PAD`, also between other events.
    """
    rows, columns, polarities = NMNIST_SHAPE
    draw = jax.random.randint(key, (2, events.shape[0], 1), -most, most + 1)
    pixel = (events // jnp.uint32(polarities) % jnp.uint32(rows * columns)).astype(jnp.int32)
    y, x = pixel // columns + draw[0], pixel % columns + draw[1]
    inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns) & (events != jnp.uint32(PAD))
    by = (draw[0] * columns + draw[1]) * polarities
    # Addition modulo 2^32, so that a shift to the left subtracts.
    return jnp.where(inside, events + by.astype(jnp.uint32), jnp.uint32(PAD))


# Loaders -----------------------------------------------------------------------------------------


def load_folds(config: Config, seed: int) -> Sets:
    """Split the subset's 1,100 recordings into 1,000 for training and 100 for the test.

    Args:
      config: `limit` bounds both sets.
      seed: selects fold `seed % 11` of the permutation drawn with `seed // 11`. The seeds 0 to 10
        test each recording once, and so do 11 to 21.

    Returns:
      `(train, test)`, in random order.

    Raises:
      UsageError: the subset cannot be read.
    """
    named(config, SUBSET)
    every = _joined(subset())
    tests, rest = fold(len(every.labels), seed)
    return _cut(_chosen(every, rest), config), _cut(_chosen(every, tests), config)


def fold(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the fold's test recordings and of the others, in random order."""
    order = np.random.default_rng(seed // FOLDS).permutation(count)
    parts = np.array_split(order, FOLDS)
    tests = parts.pop(seed % FOLDS)
    return tests, np.concatenate(parts)


def load_simulated(camera: Camera, config: Config, seed: int) -> Sets:
    """Simulate recordings of MNIST's training images; test on all 1,100 real recordings.

    Args:
      camera: parameters of the simulation.
      config: `num_train` is the number of simulated recordings; `limit` bounds both sets.
      seed: of the choice of images and of the simulation. Images with a real recording are never
        chosen.

    Returns:
      `(train, test)`.

    Raises:
      UsageError: MNIST or the subset cannot be read, or `num_train` exceeds the number of images.
    """
    named(config, SIMULATED)
    real = subset()
    train = mnist()
    first, total = len(real[0].labels), len(train.labels)
    count = min(config.data.num_train, config.data.limit or total)
    if not 1 <= count <= total - first:
        raise UsageError(
            f"data.num_train must be from 1 to {total - first}, got {config.data.num_train}"
        )
    chosen = first + np.random.default_rng(seed).permutation(total - first)[:count]
    events = record(train.images[chosen], seed, camera)
    return Recordings(events, train.labels[chosen]), _cut(_joined(real), config)


def load_whole(config: Config, seed: int) -> Sets:
    """Load all of N-MNIST, with its own split.

    Raises:
      UsageError: `$STBP_NMNIST` is not set, cannot be read, or does not hold all recordings and
        `limit` is 0.
    """
    named(config, WHOLE)
    path = os.environ.get("STBP_NMNIST")
    if not path:
        raise UsageError(
            "set STBP_NMNIST to N-MNIST's folder, with Train/ and Test/ or their zip archives "
            "(60,000 and 10,000 recordings, https://www.garrickorchard.com/datasets/n-mnist)"
        )
    sets = _read(Path(path).expanduser(), "STBP_NMNIST")
    sizes = tuple(len(s.labels) for s in sets)
    if sizes != SIZES and not config.data.limit:
        raise UsageError(
            f"STBP_NMNIST must hold {SIZES[0]} and {SIZES[1]} recordings, got {sizes[0]} and "
            f"{sizes[1]}; use --data.limit N to run with a part of them"
        )
    train, test = (_cut(s, config) for s in sets)
    return train, test


def subset() -> Sets:
    """Read the subset in `$STBP_DATA`: 1,000 and 100 recordings of MNIST's first images."""
    root = os.environ.get("STBP_DATA")
    if not root:
        raise UsageError(f"set STBP_DATA to a folder that holds {FILE}")
    return _read(Path(root).expanduser() / FILE, "STBP_DATA")


def mnist() -> data.Dataset:
    """Load MNIST's training images."""
    try:
        return data.load("mnist")[0]
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(f"this study needs MNIST: {error}") from None


@functools.lru_cache(maxsize=1)  # all folds use one file
def _read(path: Path, variable: str) -> Sets:
    try:
        return data.read_nmnist(path)
    except (ValueError, OSError) as error:
        raise UsageError(f"{variable}: {error}") from None


def _joined(sets: Sets) -> Recordings:
    longest = max(s.events.shape[1] for s in sets)
    events = [
        np.pad(s.events, ((0, 0), (0, longest - s.events.shape[1])), constant_values=PAD)
        for s in sets
    ]
    return Recordings(np.concatenate(events), np.concatenate([s.labels for s in sets]))


def _chosen(recordings: Recordings, indices: Any) -> Recordings:
    return Recordings(*(array[indices] for array in recordings))


def _cut(recordings: Recordings, config: Config) -> Recordings:
    return _chosen(recordings, slice(config.data.limit)) if config.data.limit else recordings
