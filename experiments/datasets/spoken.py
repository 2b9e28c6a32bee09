"""The Free Spoken Digit Dataset as spikes of a cochlea model: loaders, splits and input coding.

The recordings come from `$STBP_DATA/fsdd`. The cochlea model runs once in each process, and its
events are binned on the device.
"""

import functools
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import stbp_jax as sj
from experiments.datasets import named
from experiments.engine.config import Config, UsageError
from experiments.engine.models import Coding
from stbp_jax.data import PAD, Cochlea, Recordings, SpokenDigits, cochlea_events, read_fsdd

NAME = "fsdd"
EAR = Cochlea()  # 64 channels of 3 neurons: 192 addresses
WINDOW = 700_000  # microseconds of a recording that are used; 3.6 % of them last longer
LEVEL = 0.1  # root mean square of every recording after scaling
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")

Pair = tuple[Recordings, Recordings]


# Loaders -----------------------------------------------------------------------------------------


def official(config: Config, seed: int) -> Pair:
    """Load the official split: indices 0 to 4 of each digit and speaker are the test set.

    Args:
      config: `limit` bounds both sets.
      seed: not used.

    Returns:
      `(train, test)`; indices 5 to 9 are the last training examples, for validation.

    Raises:
      UsageError: the recordings cannot be read.
    """
    named(config, NAME)
    return _split(config, _digits(_path()).indices < 5)


def one_speaker_out(config: Config, seed: int) -> Pair:
    """Load the recordings of one speaker as the test set, and those of the other five to train on.

    Args:
      config: as in `official`.
      seed: the speaker is `SPEAKERS[seed % 6]`.

    Returns:
      As in `official`.

    Raises:
      UsageError: as in `official`.
    """
    named(config, NAME)
    return _split(config, _digits(_path()).speakers == SPEAKERS[seed % len(SPEAKERS)])


def recording(name: str) -> NDArray[np.float32]:
    """Return one recording as the cochlea model receives it.

    Args:
      name: `<digit>_<speaker>_<index>`.

    Returns:
      Samples `[E]`.

    Raises:
      UsageError: no recording has that name, or the recordings cannot be read.
    """
    digits = _digits(_path())
    names = zip(digits.labels, digits.speakers, digits.indices, strict=True)
    for sound, (label, speaker, index) in zip(digits.sounds, names, strict=True):
        if f"{label}_{speaker}_{index}" == name:
            return _heard(sound)
    raise UsageError(f"no recording is called {name}; expected <digit>_<speaker>_<index>")


def _split(config: Config, tested: NDArray[np.bool_]) -> Pair:
    path, limit = _path(), config.data.limit
    digits = _digits(path)
    mixed = np.random.default_rng(0).permutation(len(tested))
    late = (digits.indices >= 5) & (digits.indices < 10)
    parts = [
        np.concatenate([mixed[(~tested & ~late)[mixed]], mixed[(~tested & late)[mixed]]]),
        mixed[tested[mixed]],
    ]
    if limit:
        parts = [part[-limit:] for part in parts]
    train, test = (
        Recordings(_few(path, part) if limit else _all(path)[part], digits.labels[part])
        for part in parts
    )
    return train, test


def _path() -> Path:
    root = os.environ.get("STBP_DATA")
    if not root:
        raise UsageError(f"set STBP_DATA to a folder that holds {NAME}/ with the recordings")
    return Path(root).expanduser() / NAME


@functools.cache
def _digits(path: Path) -> SpokenDigits:
    try:
        return read_fsdd(path)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from None


@functools.cache
def _all(path: Path) -> NDArray[np.uint32]:
    return _few(path, np.arange(len(_digits(path).labels)))


def _few(path: Path, chosen: NDArray[np.int64]) -> NDArray[np.uint32]:
    sounds = _digits(path).sounds
    try:
        return cochlea_events([_heard(sounds[n]) for n in chosen], EAR)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def _heard(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale a recording by its loudness, which differs among speakers, and cut it to 0.7 s."""
    loudness = np.sqrt(np.mean(sound**2))
    return (LEVEL / np.maximum(loudness, 1e-6) * sound)[: WINDOW * EAR.rate // 1_000_000]


# Input coding ------------------------------------------------------------------------------------


def _encode(key: jax.Array, events: jax.Array, num_steps: int) -> jax.Array:
    return sj.events.event_spikes(
        events, num_steps, steps=sj.events.by_time(WINDOW // num_steps), shape=EAR.shape
    )


def jittered(key: jax.Array, events: jax.Array) -> jax.Array:
    """Move events in time and frequency, with new random values for each recording.

    The shift in time is up to 30 ms, the change of speed is up to a factor of e^0.1, and the shift
    in frequency is up to one channel, each in both directions.

    Args:
      key: of the random values.
      events: `[B, M]`, packed events of `EAR`.

    Returns:
      `[B, M]`; events that leave the channels or precede time 0 become `PAD`.
    """
    channels, fibers = EAR.shape
    addresses, batch = channels * fibers, events.shape[0]
    key_shift, key_speed, key_channel = jax.random.split(key, 3)
    shift = jax.random.uniform(key_shift, (batch, 1), minval=-3e4, maxval=3e4)
    speed = jnp.exp(jax.random.uniform(key_speed, (batch, 1), minval=-0.1, maxval=0.1))
    higher = jax.random.randint(key_channel, (batch, 1), -1, 2)
    times = (events // addresses).astype(jnp.float32) * speed + shift
    where = (events % addresses).astype(jnp.int32) + higher * fibers
    stays = (events != PAD) & (times >= 0) & (where >= 0) & (where < addresses)
    words = times.astype(jnp.uint32) * addresses + where.astype(jnp.uint32)
    return jnp.where(stays, words, PAD)


HEARD = Coding(_encode)
