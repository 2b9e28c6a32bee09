"""Reader of the Spiking Heidelberg Digits (SHD) and Spiking Speech Commands (SSC), HDF5 files.

A recording that breaks a rule raises an error; a recording out of order in time is sorted.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import contents
from ..arguments import integer
from ..contents import MAX_BYTES
from . import hdf5
from .packed import Recordings, last_time, padded, place

SHD_SHAPE = (700,)
"""Shape of the cochlea of SHD and SSC: its units, in the order of the file."""

_KEYS = {
    "spikes/times": hdf5.Kind("f", True, "a row of floats for each recording"),
    "spikes/units": hdf5.Kind("iu", True, "a row of integers for each recording"),
    "labels": hdf5.Kind("iu", False, "an integer for each recording"),
    "extra/speaker": hdf5.Kind("iuU", False, "an integer or a text for each recording"),
    "extra/keys": hdf5.Kind("U", False, "the names of the classes as text"),
}
_TOGETHER = 100  # recordings decoded at once: enough for long vectors, little memory


class Utterances(NamedTuple):
    """Recordings of speech and their speakers.

    Attributes:
      recordings: events and labels, all that a run needs.
      speakers: `[N]`, int32, the speaker of each recording. To leave a speaker out, select the rows
        of the others.
      classes: the name of the class of each label.

    >>> recordings = Recordings(np.zeros((2, 5), np.uint32), np.array([0, 1]))
    >>> spoken = Utterances(recordings, np.array([4, 9]), ("null", "eins"))
    >>> spoken.recordings.labels[spoken.speakers != 4]
    array([1])
    """

    recordings: Recordings
    speakers: NDArray[np.int32]
    classes: tuple[str, ...]


def read_shd(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Utterances:
    """Read one file of the Spiking Heidelberg Digits or the Spiking Speech Commands.

    `spikes/times` (seconds) and `spikes/units` (0 to 699) hold a row for each recording, `labels`
    and `extra/speaker` a number for each, and `extra/keys` the names of the classes. Speakers that
    are text get numbers in the order of their sorted names, separately in each file.

    Times are rounded to the nearest microsecond. float16 times have a resolution of 0.5 ms from 0.5
    s on, and of 1 ms from 1 s on. The layout does not promise an order, so a recording out of order
    in time is sorted; events of equal time keep the order of the file. (For N-MNIST, whose times
    come from a clock, times that run backwards raise an error.)

    A damaged file can crash the HDF5 library or let it loop forever, so a process of its own reads
    the file. It ends after a minute and a second per MiB of the processor's time. HDF5 has no
    checksum of such data: a damaged file may be read with other values than were written. A file
    `SHA256SUMS` beside it, from `sha256sum`, detects that: the sum of the file is checked first.

    A row takes four bytes per event of the longest recording of the file: 80 kB for 20,000 events,
    650 MB for 8,156 recordings. A gzip file is unpacked in memory.

    Args:
      path: an HDF5 file, plain or gzip; the first bytes decide which, not the name.
      max_bytes: most bytes of the unpacked gzip file, of all columns, and of the returned array;
        the other process may take four times that. SSC needs 2³³.

    Returns:
      The recordings in the order of the file, with speakers and names of classes. Bin them with
      `shape=SHD_SHAPE`.

    Raises:
      ValueError: not an HDF5 file, or a truncated or damaged one; a key is missing; lengths do not
        agree; a recording is empty; times that are negative, not finite or past 6.135666 s; units
        or labels outside their range; sizes above `max_bytes`; a sum that differs from the one in
        `SHA256SUMS`. The text names file, recording and rule.
      FileNotFoundError: nothing is at `path`.
      ImportError: h5py is not installed.

    >>> import tempfile, h5py
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/a.h5"
    ...     with h5py.File(path, "w") as file:
    ...         for name, row in (("times", np.array([0.1])), ("units", np.array([42]))):
    ...             rows = file.create_dataset(f"spikes/{name}", (1,), h5py.vlen_dtype(row.dtype))
    ...             rows[0] = row
    ...         file["labels"], file["extra/speaker"] = [0], [4]
    ...         file["extra/keys"] = [b"null"]
    ...     spoken = read_shd(path)
    >>> spoken.classes, spoken.recordings.labels.tolist()
    (('null',), [0])

    Source: Cramer, Stradmann, Schemmel, Zenke 2020, The Heidelberg Spiking Data Sets for the
    Systematic Evaluation of Spiking Neural Networks, IEEE TNNLS 33:2744.
    """
    path = Path(path).expanduser()
    max_bytes = integer("max_bytes", max_bytes, least=1)
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {fault}, expected an HDF5 file, plain or gzip")
    root = contents.folder(path.parent)
    content = None
    with contents.opened(path, root) as stream:  # checks its sum
        if stream.read(len(contents.GZIP)) == contents.GZIP:
            content = contents.unpacked(contents.read(path, root, max_bytes), path, max_bytes)
    held = hdf5.read(path, content, _KEYS, max_bytes)
    lengths = {key: len(held[key]) for key in _KEYS if key != "extra/keys"}
    if len(set(lengths.values())) > 1 or not lengths["labels"]:
        raise ValueError(
            f"{path}: expected as many of each and at least one, got "
            + ", ".join(f"{count} {key}" for key, count in lengths.items())
        )
    labels, speakers, classes = (held[key] for key in ("labels", "extra/speaker", "extra/keys"))
    if not len(classes):
        raise ValueError(f"{path}: extra/keys is empty, expected the names of the classes")
    if speakers.dtype.kind == "U":
        speakers = np.unique(speakers, return_inverse=True)[1]
    _check_range(labels, len(classes), "label", path)
    _check_range(speakers, 2**31, "speaker", path)
    words: list[NDArray[np.uint32]] = []
    for first in range(0, len(labels), _TOGETHER):
        times, units = (
            held[key][first : first + _TOGETHER] for key in ("spikes/times", "spikes/units")
        )
        names = [f"{path}: recording {first + n}" for n in range(len(times))]
        words += _decode(times, units, names)
    recordings = Recordings(padded(words, path, max_bytes), labels.astype(np.int32))
    return Utterances(recordings, speakers.astype(np.int32), tuple(classes.tolist()))


def _check_range(values: NDArray[Any], stop: int, what: str, path: Path) -> None:
    if (wrong := (values < 0) | (values >= stop)).any():
        at = int(np.argmax(wrong))
        raise ValueError(f"{path}: recording {at} has {what} {values[at]}, expected 0..{stop - 1}")


# Contents of recordings --------------------------------------------------------------------------


def _decode(
    times: Sequence[NDArray[Any]], units: Sequence[NDArray[Any]], names: Sequence[str]
) -> list[NDArray[np.uint32]]:
    """Words of each recording; all recordings are decoded together."""
    counts = np.array([len(row) for row in times])
    for name, count, row in zip(names, counts, units, strict=True):
        if count != len(row):
            raise ValueError(f"{name}: {count} times, but {len(row)} units; expected as many")
        if not count:
            raise ValueError(f"{name}: an empty recording, expected at least one event")
    starts = np.cumsum(counts) - counts
    addresses = np.concatenate(units)
    if (outside := (addresses < 0) | (addresses >= SHD_SHAPE[0])).any():
        at, event, name = place(outside, starts, names)
        raise ValueError(
            f"{name}: event {event} is of unit {addresses[at]}, outside the cochlea; expected "
            f"units in 0..{SHD_SHAPE[0] - 1}"
        )
    with np.errstate(invalid="ignore"):  # a cast may warn of NaN
        seconds = np.concatenate(times).astype(np.float64)
    last = last_time(SHD_SHAPE[0])
    if (wrong := ~((seconds >= 0) & (seconds < (last + 0.5) / 1e6))).any():
        at, event, name = place(wrong, starts, names)
        raise ValueError(
            f"{name}: event {event} at {seconds[at]} s, expected finite times from 0 to "
            f"{last / 1e6} s"
        )
    microseconds = np.rint(seconds * 1e6).astype(np.uint32)
    words = microseconds * np.uint32(SHD_SHAPE[0]) + addresses.astype(np.uint32)
    rows = np.split(words, starts[1:])
    backwards = np.append(False, microseconds[1:] < microseconds[:-1])
    backwards[starts] = False
    for n in np.flatnonzero(np.add.reduceat(backwards, starts)):
        order = np.argsort(rows[n] // np.uint32(SHD_SHAPE[0]), kind="stable")
        rows[n] = rows[n][order]
    return rows
