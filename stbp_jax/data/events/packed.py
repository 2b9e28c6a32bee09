"""The packed form of events: one 32-bit word per event, one row per recording.

A word is time · num_addresses + address, and the times of a row do not run backwards. The readers
of files (`nmnist`, `shd`, `tonic`) make rows; `stbp_jax.events` bins rows into sequences on the
device.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import MOST_ADDRESSES, integer, plain, sides
from ..contents import too_large

PAD = np.uint32(2**32 - 1)
"""The word that fills a row after the last event."""


class Recordings(NamedTuple):
    """Recordings and their classes; a pytree that a whole run takes as one argument.

    Attributes:
      events: `[N, M]` uint32, M the largest number of events in a recording. Each word is
        time · num_addresses + address: the time in microseconds, the number of the sensor's
        addresses, and the index of the address in C order. Words are in order of time; `PAD` fills
        a row after the last event.
      labels: `[N]`, int32, class indices from 0.

    >>> recordings = Recordings(np.zeros((2, 5), np.uint32), np.array([3, 7]))
    >>> len(recordings.labels)
    2
    """

    events: NDArray[np.uint32]
    labels: NDArray[np.int32]


class Events(NamedTuple):
    """One recording, event by event in order of time.

    Attributes:
      x: `[E]`, int32, column from the left.
      y: `[E]`, int32, row from the top.
      polarity: `[E]`, int32, 1 for brighter (on), 0 for darker (off).
      times: `[E]`, int64, microseconds.

    >>> zero = np.zeros(1, np.int32)
    >>> Events(zero, zero, zero, np.array([250])).times
    array([250])
    """

    x: NDArray[np.int32]
    y: NDArray[np.int32]
    polarity: NDArray[np.int32]
    times: NDArray[np.int64]


def pack_events(
    recordings: Sequence[tuple[NDArray[Any], NDArray[Any]]], num_addresses: int
) -> NDArray[np.uint32]:
    """Pack events of any sensor into rows, four bytes per event.

    No event is dropped: a time that does not fit a word raises an error, which also counts the late
    events. If the clock does not start near 0, subtract the time of the first event.

    Args:
      recordings: a pair `(times [E], addresses [E])` for each recording, integers of any width, E
        at least 1. Times are microseconds from 0 that do not run backwards; addresses are indices
        in `[0, num_addresses)`.
      num_addresses: number of addresses of the sensor, all polarities counted; at least 2.

    Returns:
      `[N, M]`, uint32, as `Recordings.events`.

    Raises:
      TypeError: `num_addresses` is not an integer; a recording is not a pair, or has a mask.
      ValueError: no recording; events that are not integers or break a rule; a time above
        (2³² - 1) // num_addresses - 1, the last that fits a word.

    Example:
      >>> pack_events([(np.array([0, 3]), np.array([7, 1])), (np.array([2]), np.array([9]))], 10)
      array([[         7,         31],
             [        29, 4294967295]], dtype=uint32)
    """
    num_addresses = integer("num_addresses", num_addresses, least=2, most=MOST_ADDRESSES)
    rows = []
    for n, pair in enumerate(recordings):
        where = f"recordings[{n}]"
        try:
            times, addresses = pair
        except (TypeError, ValueError):
            raise TypeError(
                f"{where} must be a pair of times and addresses, got {type(pair).__name__}"
            ) from None
        rows.append(pack_row(times, addresses, num_addresses, where))
    if not rows:
        raise ValueError("recordings is empty, expected at least one recording")
    return padded(rows)


def unpack_events(row: NDArray[np.uint32], shape: tuple[int, int, int] = (34, 34, 2)) -> Events:
    """Coordinates, polarities and times of one row of `Recordings.events`.

    Args:
      row: `[M]`, uint32.
      shape: rows, columns and polarities of the sensor.

    Returns:
      The events before the first `PAD`.

    Raises:
      TypeError: a row that is not uint32; a shape that does not hold integers.
      ValueError: a row of another rank, or with events after a `PAD`; a shape that does not have
        three sides.

    Example:
      >>> unpack_events(np.array([2312 * 50 + 2 * 35 + 1, PAD], np.uint32)).times
      array([50])
    """
    row = plain("row", row)  # NumPy, because a jax array without x64 wraps in the cast to int64
    if row.dtype != np.uint32:
        raise TypeError(f"row must be uint32, as pack_events makes it, got dtype {row.dtype}")
    if row.ndim != 1:
        raise ValueError(f"row must have shape [M], one recording, got {list(row.shape)}")
    shape = sides("shape", shape)  # type: ignore[assignment]
    if len(shape) != 3:
        raise ValueError(f"shape must be of rows, columns and polarities, got {shape!r}")
    events = row != PAD
    if (again := events[1:] & ~events[:-1]).any():
        raise ValueError(f"row has an event after a PAD, at {int(np.argmax(again)) + 1}")
    times, addresses = np.divmod(row[events].astype(np.int64), math.prod(shape))
    y, x, polarity = np.stack(np.unravel_index(addresses, shape)).astype(np.int32)
    return Events(x, y, polarity, times)


def pack_row(
    times: NDArray[Any], addresses: NDArray[Any], num_addresses: int, where: str
) -> NDArray[np.uint32]:
    """Words of one recording; errors name it `where`, and `num_addresses` is a Python integer."""
    times, addresses = plain(f"{where}: times", times), plain(f"{where}: addresses", addresses)
    if times.ndim != 1 or times.shape != addresses.shape or not len(times):
        raise ValueError(
            f"{where}: times and addresses must have one shape [E] with E >= 1, got "
            f"{list(times.shape)} and {list(addresses.shape)}"
        )
    if times.dtype.kind not in "iu" or addresses.dtype.kind not in "iu":
        raise ValueError(
            f"{where}: times and addresses must be integers, got {times.dtype} and "
            f"{addresses.dtype}"
        )
    if addresses.min() < 0 or addresses.max() >= num_addresses:
        raise ValueError(
            f"{where}: addresses must lie in [0, {num_addresses}), got {addresses.min()} to "
            f"{addresses.max()}"
        )
    # Before a cast could wrap the times.
    check_times(times, np.zeros(1, np.int64), [where], num_addresses)
    return (times.astype(np.int64) * num_addresses + addresses.astype(np.int64)).astype(np.uint32)


def padded(
    rows: Sequence[NDArray[np.uint32]], where: object = "", max_bytes: int | None = None
) -> NDArray[np.uint32]:
    """Rows of words as one array, filled with `PAD`; errors name its source `where`.

    Raises:
      ValueError: the array takes more than `max_bytes`. One long row makes all rows long.
    """
    longest = max(map(len, rows), default=0)
    if max_bytes is not None and 4 * len(rows) * longest > max_bytes:
        raise too_large(
            f"{where}: {len(rows)} recordings of up to {longest} events take more", max_bytes
        )
    events = np.full((len(rows), longest), PAD)
    for out, row in zip(events, rows, strict=True):
        out[: len(row)] = row
    return events


def last_time(num_addresses: int) -> int:
    """The last microsecond that fits a word and an int32, its type on the device."""
    return min(int(PAD) // num_addresses, 2**31) - 1


def check_times(
    times: NDArray[Any], starts: NDArray[Any], names: Sequence[str], num_addresses: int
) -> None:
    """Raise if times run backwards within a recording or do not fit a word."""
    backwards = np.zeros(len(times), bool)
    np.less(times[1:], times[:-1], out=backwards[1:])
    backwards[starts] = times[starts] < 0
    if backwards.any():
        at, event, name = place(backwards, starts, names)
        before = times[at - 1] if event else 0
        raise ValueError(
            f"{name}: event {event} at {times[at]} us comes after {before} us; times must not run "
            "backwards"
        )
    last = last_time(num_addresses)
    if (late := times > last).any():
        at, event, name = place(late, starts, names)
        which = int(np.searchsorted(starts, at, side="right")) - 1
        stop = starts[which + 1] if which + 1 < len(starts) else len(times)
        count, whole = int(late[starts[which] : stop].sum()), int(stop - starts[which])
        raise ValueError(
            f"{name}: event {event} at {times[at]} us, expected times of at most {last} us; "
            f"{count} of its {whole} events come later"
            + ("" if event else ", as its clock does not start near 0: subtract its first time")
        )


def place(
    wrong: NDArray[np.bool_], starts: NDArray[Any], names: Sequence[str]
) -> tuple[int, int, str]:
    """The first wrong event: its index among all, its index in its recording, the name of that."""
    at = int(np.argmax(wrong))
    which = int(np.searchsorted(starts, at, side="right")) - 1
    return at, at - int(starts[which]), names[which]
