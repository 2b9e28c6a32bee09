"""Recordings of event sensors, packed as one word an event.

Decides the packed form: time · cells + cell in 32 bits, one row a recording, and that times do not
run backwards. Leaves out the layouts of sets (`nmnist`) and time steps: `stbp_jax.events` makes
sequences of what stands here, on the device.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import MOST_CELLS, integer, plain, sides

PAD = np.uint32(2**32 - 1)
"""The word that fills a row after its last event."""


class Recordings(NamedTuple):
    """Recordings and their classes; a pytree that a whole run takes as one argument.

    Attributes:
      events: `[N, M]` uint32, M the most events of any recording. Each word is
        time · cells + cell: time in microseconds, cells the number of the sensor's cells, cell the
        index in C order. In order of time; `PAD` after the last event.
      labels: `[N]`, int32, class indices from 0.
    """

    events: NDArray[np.uint32]
    labels: NDArray[np.int32]


class Events(NamedTuple):
    """One recording, event by event in order of time.

    Attributes:
      x: `[E]`, int32, column from the left.
      y: `[E]`, int32, row from the top.
      polarity: `[E]`, int32, 1 where it grew brighter (on), 0 where darker.
      times: `[E]`, int64, microseconds.
    """

    x: NDArray[np.int32]
    y: NDArray[np.int32]
    polarity: NDArray[np.int32]
    times: NDArray[np.int64]


def pack_events(
    recordings: Sequence[tuple[NDArray[Any], NDArray[Any]]], num_cells: int
) -> NDArray[np.uint32]:
    """Packs events of any sensor into rows, four bytes an event.

    No event is left out: a time that does not fit a word is refused, and how many such there are
    is in the text. Where a clock does not start near 0, subtract the time of the first event.

    Args:
      recordings: `(times [E], cells [E])` of each: integers of any width, microseconds from 0 that
        do not run backwards, and indices in `[0, num_cells)`; E at least 1.
      num_cells: of the sensor, polarities counted; at least 2.

    Returns:
      `[N, M]`, uint32, as `Recordings.events`.

    Raises:
      TypeError: `num_cells` is no integer; a recording is no pair, or has a mask.
      ValueError: no recording; events that are no integers or break a rule, or a time too long for
        a word: the last that fits is (2³² - 1) // num_cells - 1.

    Example:
      >>> pack_events([(np.array([0, 3]), np.array([7, 1])), (np.array([2]), np.array([9]))], 10)
      array([[         7,         31],
             [        29, 4294967295]], dtype=uint32)
    """
    num_cells = integer("num_cells", num_cells, least=2, most=MOST_CELLS)
    rows = []
    for n, pair in enumerate(recordings):
        where = f"recordings[{n}]"
        try:
            times, cells = pair
        except (TypeError, ValueError):
            raise TypeError(
                f"{where} must be a pair of times and cells, got {type(pair).__name__}"
            ) from None
        rows.append(pack_row(times, cells, num_cells, where))
    if not rows:
        raise ValueError("recordings is empty, expected at least one recording")
    return padded(rows)


def unpack_events(row: NDArray[np.uint32], shape: tuple[int, int, int] = (34, 34, 2)) -> Events:
    """One row of `Recordings.events` as coordinates, polarities and times.

    Args:
      row: `[M]`.
      shape: of the sensor: rows, columns, polarities.

    Returns:
      The events before the first `PAD`.

    Raises:
      TypeError: a row that is not uint32, or a shape that is no integers.
      ValueError: a row of another rank, or one with events after a `PAD`; a shape that is not of
        three sides.

    Example:
      >>> unpack_events(np.array([2312 * 50 + 2 * 35 + 1, PAD], np.uint32)).times
      array([50])
    """
    row = plain("row", row)  # of a jax array too: without x64 its own cast to int64 wraps
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
    times, cells = np.divmod(row[events].astype(np.int64), math.prod(shape))
    y, x, polarity = np.stack(np.unravel_index(cells, shape)).astype(np.int32)
    return Events(x, y, polarity, times)


def pack_row(
    times: NDArray[Any], cells: NDArray[Any], num_cells: int, where: str
) -> NDArray[np.uint32]:
    """Words of one recording, which errors call `where`; `num_cells` is a Python integer."""
    times, cells = plain(f"{where}: times", times), plain(f"{where}: cells", cells)
    if times.ndim != 1 or times.shape != cells.shape or not len(times):
        raise ValueError(
            f"{where}: times and cells must have one shape [E] with E >= 1, got "
            f"{list(times.shape)} and {list(cells.shape)}"
        )
    if times.dtype.kind not in "iu" or cells.dtype.kind not in "iu":
        raise ValueError(
            f"{where}: times and cells must be integers, got {times.dtype} and {cells.dtype}"
        )
    if cells.min() < 0 or cells.max() >= num_cells:
        raise ValueError(
            f"{where}: cells must lie in [0, {num_cells}), got {cells.min()} to {cells.max()}"
        )
    check_times(times, np.zeros(1, np.int64), [where], num_cells)  # before a cast could wrap them
    return (times.astype(np.int64) * num_cells + cells.astype(np.int64)).astype(np.uint32)


def padded(rows: Sequence[NDArray[np.uint32]]) -> NDArray[np.uint32]:
    """Rows of words as one array, `PAD` after the last of each."""
    events = np.full((len(rows), max(map(len, rows), default=0)), PAD)
    for out, row in zip(events, rows, strict=True):
        out[: len(row)] = row
    return events


def last_time(num_cells: int) -> int:
    """The last microsecond that fits a word and, on the device, an int32."""
    return min(int(PAD) // num_cells, 2**31) - 1


def check_times(
    times: NDArray[Any], starts: NDArray[Any], names: Sequence[str], num_cells: int
) -> None:
    """Refuses times that run backwards within a recording, or do not fit a word."""
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
    last = last_time(num_cells)
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
    """The first wrong event: where it stands, its index within its recording, whose it is."""
    at = int(np.argmax(wrong))
    which = int(np.searchsorted(starts, at, side="right")) - 1
    return at, at - int(starts[which]), names[which]
