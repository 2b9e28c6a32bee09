"""A model of the cochlea: filters, compression and neurons that turn sound into packed events.

A louder sound gives more spikes; scale sounds first if they should have one level. Sounds are not
resampled, mixed, cut or padded. SciPy is imported on first use.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import integer, plain
from ..events.packed import pack_row, padded

_FRAME = 1e-3  # seconds; rounded to whole samples
_LOUDEST = 1e30  # largest sample, because envelopes are float32
_FLOATS = ("low", "high", "smoothing", "floor", "leak", "refractory")
_TOGETHER = 100  # sounds filtered at once, of similar lengths: they are padded to the longest


class Cochlea(NamedTuple):
    """The constants of a cochlea.

    Attributes:
      rate: sampling rate of the sounds, Hz.
      channels: number of frequency channels, evenly spaced on the ERB scale from low to high.
      low: center frequency of the first channel, Hz.
      high: center frequency of the last channel, Hz; below rate / 2.
      smoothing: time constant of the envelope, seconds.
      floor: envelope above which the drive of a channel grows with the logarithm of the envelope;
        a sine of amplitude 1 has an envelope of 1 / π in its channel.
      thresholds: thresholds of the neurons of one channel, in units of the drive
        ln(1 + envelope / floor), in increasing order. Low thresholds respond to faint sounds too,
        high thresholds to loud ones alone.
      leak: membrane time constant of the neurons, seconds.
      refractory: time after a spike in which a neuron stays at rest, seconds.

    >>> Cochlea(channels=32).shape
    (32, 3)
    """

    rate: int = 8000
    channels: int = 64
    low: float = 100.0
    high: float = 3600.0
    smoothing: float = 3e-3
    floor: float = 3e-4
    thresholds: tuple[float, ...] = (1.0, 2.0, 3.0)
    leak: float = 10e-3
    refractory: float = 4e-3

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the addresses of the events: channels, thresholds."""
        return int(self.channels), len(self.thresholds)  # a narrow integer wraps in a product

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """Center frequencies `[channels]`, Hz (Glasberg and Moore 1990)."""
        low, high = (21.4 * np.log10(1 + 0.00437 * f) for f in (self.low, self.high))
        return (10 ** (np.linspace(low, high, self.channels) / 21.4) - 1) / 0.00437


def cochleagram(sounds: Sequence[NDArray[Any]], cochlea: Cochlea) -> list[NDArray[np.float32]]:
    """Envelopes of all channels, in frames of about a millisecond.

    A channel is a gammatone filter of order 4, a half-wave rectifier, the mean over a frame and two
    equal low-pass filters. All steps are causal: frame f depends only on the samples before its
    end.

    Args:
      sounds: floats `[E]` for each sound, at least one frame long.
      cochlea: constants of the cochlea.

    Returns:
      `[frames, channels]` for each sound, at least 0; frames = E // (rate / 1000, rounded).

    Raises:
      TypeError: samples that are not floats, or have a mask; constants that are not numbers.
      ValueError: no sound; constants outside their range; samples that are not finite, above 1e30
        or not `[E]`; fewer samples than a frame has.

    >>> tone = np.sin(0.5 * np.arange(800)).astype(np.float32)
    >>> (envelopes,) = cochleagram([tone], Cochlea())
    >>> len(envelopes)
    100

    Source: Slaney 1993, An Efficient Implementation of the Patterson-Holdsworth Auditory Filter
    Bank.
    """
    cochlea = _checked(cochlea)
    found: dict[int, NDArray[np.float32]] = {}
    for which, lengths, envelopes in _envelopes(sounds, cochlea):
        for n, length, envelope in zip(which, lengths, envelopes, strict=True):
            found[n] = envelope[:length]
    return [found[n] for n in range(len(sounds))]


def cochlea_events(sounds: Sequence[NDArray[Any]], cochlea: Cochlea) -> NDArray[np.uint32]:
    """Packed spikes of the auditory nerve for each sound.

    Each channel of `cochleagram` drives one leaky integrate-and-fire neuron for each threshold:

        drive = ln(1 + envelope / floor);  leak · du/dt = drive - u;  a spike at u ≥ threshold

    A spike sets u to 0 for the refractory time. The time of a spike is the end of its frame, so it
    depends only on earlier samples. Nothing is random: equal sounds give equal spikes, and a louder
    sound gives no fewer.

    Args:
      sounds: as for `cochleagram`.
      cochlea: constants of the cochlea.

    Returns:
      `[N, M]` uint32, as `Recordings.events`, for a sensor of shape `cochlea.shape`.

    Raises:
      TypeError, ValueError: as for `cochleagram`; a sound without a spike, for example silence; a
        spike too late for a word, as for `pack_events`.

    >>> tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(800) / 8000)
    >>> events = cochlea_events([tone], Cochlea(channels=16))
    >>> bool(events.min() // 48 > 0)
    True
    """
    cochlea = _checked(cochlea)
    rows: dict[int, NDArray[np.uint32]] = {}
    hop, num_addresses = _hop(cochlea), int(np.prod(cochlea.shape))
    for which, lengths, envelopes in _envelopes(sounds, cochlea):
        spikes = _spikes(envelopes, cochlea, hop / cochlea.rate)
        for n, length, own in zip(which, lengths, spikes, strict=True):
            frames, addresses = np.nonzero(own[:length])
            if not len(frames):
                raise ValueError(
                    f"sounds[{n}]: no spike, expected at least one; it is silent or too faint for "
                    f"a floor of {cochlea.floor:g} and a threshold of {cochlea.thresholds[0]:g}"
                )
            times = (frames + 1) * hop * 1_000_000 // cochlea.rate
            rows[n] = pack_row(times, addresses, num_addresses, f"sounds[{n}]")
    return padded([rows[n] for n in range(len(sounds))])


def _hop(cochlea: Cochlea) -> int:
    """Number of samples per frame."""
    return round(cochlea.rate * _FRAME)


def _envelopes(
    sounds: Sequence[NDArray[Any]], cochlea: Cochlea
) -> Iterator[tuple[list[int], list[int], NDArray[np.float32]]]:
    """Batches of sounds: indices, numbers of frames, envelopes `[batch, frames, channels]`."""
    from scipy.signal import lfilter, sosfilt

    hop = _hop(cochlea)
    sounds = [plain(f"sounds[{n}]", sound) for n, sound in enumerate(sounds)]
    if not sounds:
        raise ValueError("sounds is empty, expected at least one sound")
    for n, sound in enumerate(sounds):
        _check_sound(f"sounds[{n}]", sound, hop)
    filters = [_gammatone(f, cochlea.rate) for f in cochlea.frequencies]
    left = np.exp(-hop / cochlea.rate / cochlea.smoothing)
    smooth = [(1 - left) ** 2], [1, -2 * left, left**2]  # never negative, so no overshoot
    order = sorted(range(len(sounds)), key=lambda n: len(sounds[n]))
    for first in range(0, len(order), _TOGETHER):
        which = order[first : first + _TOGETHER]
        lengths = [len(sounds[n]) // hop for n in which]
        padded = np.zeros((len(which), lengths[-1] * hop))
        for row, n, length in zip(padded, which, lengths, strict=True):
            row[: length * hop] = sounds[n][: length * hop]
        envelopes = np.empty((len(which), lengths[-1], cochlea.channels), np.float32)
        for channel, sections in enumerate(filters):
            heard = sosfilt(sections, padded)
            np.maximum(heard, 0, out=heard)
            frames = heard.reshape(len(which), lengths[-1], hop) @ np.full(hop, 1 / hop)
            envelopes[..., channel] = lfilter(*smooth, frames)
        yield which, lengths, envelopes


def _gammatone(frequency: float, rate: int) -> NDArray[np.float64]:
    """Four second-order sections `[4, 6]` with gain 1 at `frequency`.

    `scipy.signal.gammatone` multiplies the sections to one filter of order 8, whose coefficients
    lose all precision if the rate is hundreds of times the frequency.
    """
    angle = 2 * np.pi * frequency / rate
    shrink = np.exp(-2 * np.pi * 1.019 * (frequency / 9.26449 + 24.7) / rate)
    roots = np.sqrt(3 + np.array([1, 1, -1, -1]) * 2**1.5) * np.array([1, -1, 1, -1])
    sections = np.zeros((4, 6))
    sections[:, 0] = 1
    sections[:, 1] = -shrink * (np.cos(angle) + roots * np.sin(angle))
    sections[:, 3:] = 1, -2 * shrink * np.cos(angle), shrink**2
    delays = np.exp(-1j * angle * np.arange(3))
    sections[:, :3] /= np.abs(sections[:, :3] @ delays / (sections[:, 3:] @ delays))[:, None]
    return sections


def _spikes(envelopes: NDArray[np.float32], cochlea: Cochlea, frame: float) -> NDArray[np.bool_]:
    """Spikes `[batch, frames, addresses]` of envelopes `[batch, frames, channels]`.

    `frame` is the length of a frame in seconds.
    """
    drives = np.log1p(envelopes / np.float32(cochlea.floor))
    thresholds = np.array(cochlea.thresholds, np.float32)
    pull = np.float32(1 - np.exp(-frame / cochlea.leak))
    some, frames, channels = drives.shape
    rests = round(min(cochlea.refractory / frame, frames))  # no longer, to fit 32 bits
    membrane = np.zeros((some, channels, len(thresholds)), np.float32)
    awake = np.zeros(membrane.shape, np.int32)  # the first frame after the rest
    spikes = np.zeros((some, frames, *membrane.shape[1:]), bool)
    for t in range(frames):
        membrane += pull * (drives[:, t, :, None] - membrane)
        membrane *= awake <= t
        fired = membrane >= thresholds
        membrane[fired] = 0
        awake[fired] = t + 1 + rests
        spikes[:, t] = fired
    return spikes.reshape(some, frames, -1)


def _checked(cochlea: Cochlea) -> Cochlea:
    """The cochlea, checked, with Python numbers, which do not wrap."""
    if not isinstance(cochlea, Cochlea):
        raise TypeError(f"cochlea must be a Cochlea, got {type(cochlea).__name__}")
    rate, channels = integer("rate", cochlea.rate, least=1000), cochlea.channels
    numbers: dict[str, Any] = {name: _float(name, getattr(cochlea, name)) for name in _FLOATS}
    cochlea = cochlea._replace(
        rate=rate, channels=integer("channels", channels, least=2), **numbers
    )
    if not 0 < cochlea.low < cochlea.high < cochlea.rate / 2:
        raise ValueError(
            f"low and high must be 0 < low < high < {cochlea.rate / 2:g} Hz, half the rate; got "
            f"{cochlea.low:g} and {cochlea.high:g}"
        )
    for name in ("smoothing", "floor", "leak"):
        if not 0 < getattr(cochlea, name) < np.inf:
            raise ValueError(f"{name} must be positive and finite, got {getattr(cochlea, name)}")
    if cochlea.floor < 1e-30:  # envelopes are divided by it in float32
        raise ValueError(f"floor must be at least 1e-30, got {cochlea.floor}")
    if not 0 <= cochlea.refractory < np.inf:
        raise ValueError(f"refractory must be 0 or more and finite, got {cochlea.refractory}")
    thresholds = plain("thresholds", cochlea.thresholds)
    if thresholds.size and thresholds.dtype.kind not in "iuf":
        raise TypeError(f"thresholds must be floats, got {cochlea.thresholds!r}")
    if (
        thresholds.ndim != 1
        or not len(thresholds)
        or not (np.diff(thresholds.astype(float), prepend=0) > 0).all()
        or not (thresholds[0] > 1e-30 and thresholds[-1] < 1e30)  # membranes are float32
    ):
        raise ValueError(
            "thresholds must be positive and increasing, at least one, from 1e-30 to 1e30, got "
            f"{cochlea.thresholds}"
        )
    return cochlea._replace(thresholds=tuple(thresholds.astype(float).tolist()))


def _float(name: str, x: Any) -> float:
    value = plain(name, x)
    if value.ndim or value.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be a number, got {x!r}")
    return float(value)


def _check_sound(name: str, sound: NDArray[Any], hop: int) -> None:
    if sound.dtype.kind != "f":
        raise TypeError(f"{name} must be floats, got dtype {sound.dtype}")
    if sound.ndim != 1:
        raise ValueError(f"{name} must have shape [E], got {list(sound.shape)}")
    if len(sound) < hop:
        raise ValueError(f"{name} has {len(sound)} samples, expected at least {hop}, one frame")
    if not np.isfinite(sound).all():
        raise ValueError(f"{name}: sample {int(np.argmin(np.isfinite(sound)))} is not finite")
    if (large := np.abs(sound.astype(float)) > _LOUDEST).any():
        at = int(np.argmax(large))
        raise ValueError(
            f"{name}: sample {at} of {sound[at]:g} is too large, expected at most {_LOUDEST:g}"
        )
