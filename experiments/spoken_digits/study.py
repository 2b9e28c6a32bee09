"""Spoken digits, heard by a model of the ear: what time is worth to a spiking network.

Decides which recordings are learnt from, how loud they are and how much of them is heard. Events of
the ear are made once in a process and binned on the device.
"""

import functools
import os
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import stbp_jax as sj
from experiments import images
from experiments.classification import Load, variant
from experiments.settings import UsageError, setting
from experiments.study import Plan, Study, Variant
from stbp_jax.data import PAD, Cochlea, Recordings, SpokenDigits, cochlea_events, read_fsdd
from stbp_jax.neurons import Reset

NAME = "fsdd"
EAR = Cochlea()  # 64 channels of 3 neurons: 192 cells
WINDOW = 700_000  # microseconds that are heard; 3.6 % of the recordings last longer
LEVEL = 0.1  # root of the mean square that every recording is brought to
READOUT = 0.98  # of an output unit's membrane is left after a step
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")

Pair = tuple[Recordings, Recordings]


@dataclass(frozen=True)
class Settings(images.Settings):
    """Those of `images`, with numbers for seventy steps of ten milliseconds."""

    data: str = setting(NAME, "data set: fsdd, the Free Spoken Digit Dataset")
    hidden: str = setting("256", "all layers but the last, such as 256-128")
    num_steps: int = setting(70, "T, steps that the 0.7 s are cut into")
    epochs: int = setting(40, "passes over the training set")
    batch_size: int = setting(50, "examples in an update")
    learning_rate: float = setting(2e-3, "of Adam, at its start")
    decay: float = setting(0.95, "membrane left after a step, in hidden layers")
    dropout: float = setting(0.4, "share of each hidden layer silenced while training")


# Which recordings --------------------------------------------------------------------------------


def official(settings: Settings, seed: int) -> Pair:
    """The official split: indices 0 to 4 of each digit of each speaker are tested.

    Args:
      settings: `limit` bounds both sets.
      seed: not read.

    Returns:
      `(train, test)`; the last training examples are those of indices 5 to 9, for validation.

    Raises:
      UsageError: the recordings are not there or damaged.
    """
    return _split(settings, _digits(_path(settings)).indices < 5)


def one_speaker_out(settings: Settings, seed: int) -> Pair:
    """All recordings of one speaker are tested, those of the other five learnt from.

    Args:
      settings: as `official`.
      seed: the speaker is number `seed % 6` of `SPEAKERS`.

    Returns:
      As `official`.

    Raises:
      UsageError: as `official`.
    """
    return _split(settings, _digits(_path(settings)).speakers == SPEAKERS[seed % len(SPEAKERS)])


def recording(name: str) -> NDArray[np.float32]:
    """One recording as the networks hear it.

    Args:
      name: `<digit>_<speaker>_<index>`.

    Returns:
      Its samples `[E]`.

    Raises:
      UsageError: there is none of that name; as `official`.
    """
    digits = _digits(_path(PERCEPTRON))
    names = zip(digits.labels, digits.speakers, digits.indices, strict=True)
    for sound, (label, speaker, index) in zip(digits.sounds, names, strict=True):
        if f"{label}_{speaker}_{index}" == name:
            return _heard(sound)
    raise UsageError(f"no recording is called {name}; expected <digit>_<speaker>_<index>")


def _split(settings: Settings, tested: NDArray[np.bool_]) -> Pair:
    path = _path(settings)
    digits = _digits(path)
    mixed = np.random.default_rng(0).permutation(len(tested))
    late = (digits.indices >= 5) & (digits.indices < 10)
    parts = [
        np.concatenate([mixed[(~tested & ~late)[mixed]], mixed[(~tested & late)[mixed]]]),
        mixed[tested[mixed]],
    ]
    if settings.limit:
        parts = [part[-settings.limit :] for part in parts]
    train, test = (
        Recordings(_few(path, part) if settings.limit else _all(path)[part], digits.labels[part])
        for part in parts
    )
    return train, test


def _path(settings: Settings) -> Path:
    if settings.data != NAME:
        raise UsageError(f"data must be {NAME}, got {settings.data}")
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


def spoken_anew(key: jax.Array, events: jax.Array) -> jax.Array:
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


HEARD = images.Coding(_encode, sj.layers.varying_input)


# Networks ----------------------------------------------------------------------------------------


def _readout(hparams: images.HParams) -> sj.Neuron:
    return sj.leaky_integrator(decay=READOUT)


def _units(reset: Reset = sj.hard_reset, *, among: bool = False) -> images.Dynamics:
    """LIF with a leaky readout; `among` the units of a layer are connections too."""
    hidden = images.lif_units(reset).hidden
    return images.Dynamics((lambda h: sj.recurrent(hidden(h))) if among else hidden, _readout)


FORWARD, RECURRENT = _units(), _units(among=True)
SPACE = _units(sj.detach_time(sj.hard_reset))
RESET_DETACHED = _units(sj.detach_reset(sj.hard_reset))
PERCEPTRON = Settings()
CONNECTED = replace(PERCEPTRON, hidden="192", dropout=0.3)


def _variant(
    tells: str,
    settings: Settings,
    units: images.Dynamics,
    *,
    load: Load = official,
    seeds: int = 5,
    augment: images.Augment | None = None,
) -> Variant:
    return variant(
        tells,
        settings,
        cpu=Plan(seeds),
        full=Plan(seeds),
        load=load,
        coding=HEARD,
        units=units,
        loss=sj.cross_entropy,
        augment=augment,
    )


_fold = functools.partial(_variant, load=one_speaker_out, seeds=len(SPEAKERS))

STUDY = Study(
    name="spoken_digits",
    claim="A spiking perceptron tells the digits of the Free Spoken Digit Dataset from the spikes "
    "of a model of the ear, 97 % of the official test set.",
    variants={
        "stbp": _variant("LIF, leaky readout", PERCEPTRON, FORWARD),
        "sdbp": _variant(
            "no gradient from step to step in the hidden layer",
            PERCEPTRON,
            SPACE,
        ),
        "reset_detached": _variant("no gradient through the reset", PERCEPTRON, RESET_DETACHED),
        "recurrent": _variant("connections among the hidden units", CONNECTED, RECURRENT),
        "augmented": _variant(
            "events moved in time and frequency", PERCEPTRON, FORWARD, augment=spoken_anew
        ),
        "speaker_out": _fold(
            "learns from five speakers, tested on the sixth; the seed says which",
            PERCEPTRON,
            FORWARD,
        ),
        "speaker_out_augmented": _fold(
            "the same, events moved in time and frequency",
            PERCEPTRON,
            FORWARD,
            augment=spoken_anew,
        ),
        "speaker_out_recurrent": _fold(
            "the same, events moved, connections among the hidden units",
            CONNECTED,
            RECURRENT,
            augment=spoken_anew,
        ),
    },
)
