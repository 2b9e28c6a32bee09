"""The Free Spoken Digit Dataset, heard by a model of the ear: splits, loudness, spikes.

Events of the ear are made once in a process and binned on the device. Reads `$STBP_DATA/fsdd`.
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
EAR = Cochlea()  # 64 channels of 3 neurons: 192 cells
WINDOW = 700_000  # microseconds that are heard; 3.6 % of the recordings last longer
LEVEL = 0.1  # root of the mean square that every recording is brought to
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")

Pair = tuple[Recordings, Recordings]


# Which recordings --------------------------------------------------------------------------------


def official(config: Config, seed: int) -> Pair:
    """The official split: indices 0 to 4 of each digit of each speaker are tested.

    Args:
      config: `limit` bounds both sets.
      seed: not read.

    Returns:
      `(train, test)`; the last training examples are those of indices 5 to 9, for validation.

    Raises:
      UsageError: the recordings are not there or damaged.
    """
    named(config, NAME)
    return _split(config, _digits(_path()).indices < 5)


def one_speaker_out(config: Config, seed: int) -> Pair:
    """All recordings of one speaker are tested, those of the other five learned from.

    Args:
      config: as `official`.
      seed: the speaker is number `seed % 6` of `SPEAKERS`.

    Returns:
      As `official`.

    Raises:
      UsageError: as `official`.
    """
    named(config, NAME)
    return _split(config, _digits(_path()).speakers == SPEAKERS[seed % len(SPEAKERS)])


def recording(name: str) -> NDArray[np.float32]:
    """One recording as the networks hear it.

    Args:
      name: `<digit>_<speaker>_<index>`.

    Returns:
      Its samples `[E]`.

    Raises:
      UsageError: there is none of that name; as `official`.
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
    """The first 0.7 s, at the one level: speakers sat at different microphones."""
    loudness = np.sqrt(np.mean(sound**2))
    return (LEVEL / np.maximum(loudness, 1e-6) * sound)[: WINDOW * EAR.rate // 1_000_000]


# What the network gets ---------------------------------------------------------------------------


def _encode(key: jax.Array, events: jax.Array, num_steps: int) -> jax.Array:
    return sj.events.event_spikes(
        events, num_steps, steps=sj.events.by_time(WINDOW // num_steps), shape=EAR.shape
    )


def jittered(key: jax.Array, events: jax.Array) -> jax.Array:
    """The same words a little earlier or later, faster or slower, higher or lower.

    Args:
      key: of any kind.
      events: `[B, M]` packed words of `EAR`. Each recording moves by its own draws: by up to 30 ms,
        by a factor of up to e^0.1 in time, and by up to one channel.

    Returns:
      `[B, M]`; what would leave the ear or lie before 0 becomes `PAD`.
    """
    channels, fibres = EAR.shape
    cells, batch = channels * fibres, events.shape[0]
    key_shift, key_speed, key_channel = jax.random.split(key, 3)
    shift = jax.random.uniform(key_shift, (batch, 1), minval=-3e4, maxval=3e4)
    speed = jnp.exp(jax.random.uniform(key_speed, (batch, 1), minval=-0.1, maxval=0.1))
    higher = jax.random.randint(key_channel, (batch, 1), -1, 2)
    times = (events // cells).astype(jnp.float32) * speed + shift
    where = (events % cells).astype(jnp.int32) + higher * fibres
    stays = (events != PAD) & (times >= 0) & (where >= 0) & (where < cells)
    words = times.astype(jnp.uint32) * cells + where.astype(jnp.uint32)
    return jnp.where(stays, words, PAD)


HEARD = Coding(_encode)
