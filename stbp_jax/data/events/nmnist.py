"""Reader of N-MNIST in its original layout, from folders and zip archives.

No event is dropped, moved, sorted or stabilized; a recording that breaks a rule raises an error.
"""

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import archives, contents
from ..arguments import integer
from ..contents import MAX_BYTES, too_large
from .packed import Events, Recordings, check_times, padded, place, unpack_events

NMNIST_SHAPE = (34, 34, 2)
"""Shape of the N-MNIST sensor: rows y, columns x, polarities (1 is on)."""

_SPLITS = ("Train", "Test")
_LAYOUT = "Train/<0..9>/<number>.bin and Test/<0..9>/<number>.bin"
_OVERFLOW_ROW, _OVERFLOW = 240, 2**13  # a row below the sensor says that the clock has wrapped
_TOGETHER = 2**22  # bytes of recordings decoded at once: enough for long vectors, little memory


def read_nmnist_file(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Events:
    """Read one N-MNIST recording.

    An event takes five bytes: x, y, then one bit of polarity (1 is on) and 23 bits of time in
    microseconds, big-endian. An entry with y = 240 is not an event: it says that the clock has
    wrapped, and 2¹³ us are added to all later times.

    The format has no checksum: a damaged file whose events keep the rules is read with other events
    than were recorded, and so is a file that is cut between two events. A file `SHA256SUMS` beside
    it, from `sha256sum`, detects both: then the sum of the file is checked first.

    Args:
      path: a `.bin` file.
      max_bytes: most bytes of the file.

    Returns:
      The events of the file.

    Raises:
      ValueError: a length that is not a multiple of 5; no event; coordinates outside the 34x34
        sensor; times that run backwards or are above 1.857683 s; a file above `max_bytes`, or with
        a sum that differs from the one in `SHA256SUMS`.
      OSError: the file cannot be opened.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "1.bin")
    ...     size = path.write_bytes(bytes([3, 5, 0x80, 1, 0]))
    ...     read_nmnist_file(path).times
    array([256])

    Source: Orchard, Jayawant, Cohen, Thakor 2015, and the reader that its authors published.
    """
    path = Path(path).expanduser()
    max_bytes = integer("max_bytes", max_bytes, least=1)
    content = contents.read(path, contents.folder(path.parent), max_bytes)
    return unpack_events(_decode([content], [str(path)])[0])


def read_nmnist(
    path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES
) -> tuple[Recordings, Recordings]:
    """Read N-MNIST in its original layout, from a folder or from zip archives.

    Recordings are in order of their numbers, which count the images of MNIST from 1: in a whole
    split, or its first part, row i is the recording of image i. A row takes four bytes per event of
    the longest recording of its split: 28.6 kB for 7,152 events, 1.7 GB for 60,000 recordings.

    Archives have a checksum of each recording, folders have none: see `read_nmnist_file`. With a
    file `SHA256SUMS` in the folder, or beside the archive, each file is checked first.

    Args:
      path: A folder with `Train/` and `Test/`, or with archives that together hold both; or one
        archive.
      max_bytes: Most bytes of the events of a split.

    Returns:
      `(train, test)`.

    Raises:
      ValueError: A recording breaks a rule of `read_nmnist_file`; a label folder is not one of 0
        to 9; a file is not a `<number>.bin`; a number occurs twice in a split; a split is empty;
        an archive is damaged or has absolute or parent paths; sizes are above `max_bytes`; a file
        is not as `SHA256SUMS` says. The text names file and rule.
      FileNotFoundError: Nothing is at `path`, or the folder holds neither.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for part in ("Train", "Test"):
    ...         path = Path(folder, part, "7", "00001.bin")
    ...         path.parent.mkdir(parents=True)
    ...         size = path.write_bytes(bytes([3, 5, 0x80, 1, 0]))
    ...     train, test = read_nmnist(folder)
    >>> train.labels.tolist(), test.events.shape
    ([7], (1, 1))

    Source: Orchard, Jayawant, Cohen, Thakor 2015, Converting Static Image Datasets to Spiking
    Neuromorphic Datasets Using Saccades, Frontiers in Neuroscience 9:437.
    """
    path = Path(path).expanduser()
    max_bytes = integer("max_bytes", max_bytes, least=1)
    with contextlib.ExitStack() as stack:
        entries: dict[str, dict[int, _Entry]] = {split: {} for split in _SPLITS}
        for file in archives.files(path, stack, _LAYOUT, _SPLITS, max_bytes):
            split, entry = _entry(file)
            first = entries[split].setdefault(entry.number, entry)
            if first is not entry:
                raise ValueError(
                    f"{entry.where}: recording {entry.number} of {split} occurs twice, expected "
                    f"each number once; the other is {first.where}"
                )
        for split in _SPLITS:
            if not entries[split]:
                raise ValueError(f"{path}: no recording under {split}/; expected {_LAYOUT}")
        train, test = (
            _read([part[number] for number in sorted(part)], max_bytes) for part in entries.values()
        )
    return train, test


# Files of recordings -----------------------------------------------------------------------------


class _Entry(NamedTuple):
    number: int
    label: int
    where: str
    read: Callable[[], bytes]


def _entry(file: archives.File) -> tuple[str, _Entry]:
    where = file.where
    if len(file.parts) != 3:
        raise ValueError(f"{where}: expected {_LAYOUT}, one folder deep for each label")
    split, label, name = file.parts
    if not re.fullmatch("[0-9]", label):
        raise ValueError(f"{where}: unknown label folder {label!r}, expected 0 to 9")
    number = re.fullmatch(r"([0-9]{1,9})\.bin", name)
    if not number:
        raise ValueError(f"{where}: not a recording, expected a name like 00001.bin")
    return split, _Entry(int(number[1]), int(label), where, file.read)


# Contents of recordings --------------------------------------------------------------------------


def _read(entries: Sequence[_Entry], max_bytes: int) -> Recordings:
    rows: list[NDArray[np.uint32]] = []
    found: list[bytes] = []
    size = 0
    for n, entry in enumerate(entries, 1):
        found.append(entry.read())
        size, longest = size + len(found[-1]), len(found[-1]) // 5
        if 4 * longest * len(entries) > max_bytes:  # before many of them are in memory
            raise too_large(
                f"{entry.where}: {len(entries)} recordings of up to {longest} events take more",
                max_bytes,
            )
        if size >= _TOGETHER or n == len(entries):
            rows += _decode(found, [entry.where for entry in entries[n - len(found) : n]])
            found, size = [], 0
    return Recordings(padded(rows), np.array([entry.label for entry in entries], np.int32))


def _decode(contents: Sequence[bytes], names: Sequence[str]) -> list[NDArray[np.uint32]]:
    """Words of each file; all files are decoded together, because most are short."""
    for content, name in zip(contents, names, strict=True):
        if len(content) % 5:
            raise ValueError(
                f"{name}: {len(content)} bytes, expected a multiple of 5: five bytes an event; "
                f"{len(content) % 5} bytes remain from byte {len(content) // 5 * 5} on"
            )
    raw = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, 5)
    x, y, first, second, third = np.ascontiguousarray(raw.T)
    counts = np.array([len(content) // 5 for content in contents])
    times = np.left_shift(first & 127, 16, dtype=np.int32)
    times |= np.left_shift(second, 8, dtype=np.int32)
    times |= third
    polarity = first >> 7
    if (wraps := y == _OVERFLOW_ROW).any():
        owner = np.repeat(np.arange(len(counts)), counts)
        total = np.cumsum(wraps)
        before = np.concatenate([[0], total])[np.cumsum(counts) - counts]
        times = (times + _OVERFLOW * (total - before[owner]))[~wraps]
        x, y, polarity, owner = x[~wraps], y[~wraps], polarity[~wraps], owner[~wraps]
        counts = np.bincount(owner, minlength=len(counts))
    if not counts.all():
        raise ValueError(
            f"{names[int(np.argmin(counts))]}: an empty recording, expected at least one event"
        )
    starts = np.cumsum(counts) - counts
    rows, columns, _ = NMNIST_SHAPE
    if (outside := (x >= columns) | (y >= rows)).any():
        at, event, name = place(outside, starts, names)
        raise ValueError(
            f"{name}: event {event} lies at x = {x[at]}, y = {y[at]}, outside the sensor; expected "
            f"x in 0..{columns - 1}, y in 0..{rows - 1} (or y = {_OVERFLOW_ROW} where the clock "
            "wraps)"
        )
    num_addresses = int(np.prod(NMNIST_SHAPE))
    check_times(times, starts, names, num_addresses)
    addresses = y.astype(np.uint32) * (2 * columns) + np.left_shift(x, 1) + polarity
    addresses += times.astype(np.uint32) * np.uint32(num_addresses)
    return np.split(addresses, starts[1:])
