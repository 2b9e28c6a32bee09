"""Reader of the Spiking Heidelberg Digits (SHD) and Spiking Speech Commands (SSC), HDF5 files.

A recording that breaks a rule raises an error; a recording out of order in time is sorted.
"""

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .packed import Recordings, last_time, padded, place

SHD_SHAPE = (700,)
"""Shape of the cochlea of SHD and SSC: its units, in the order of the file."""

_KEYS = {  # data set of the file: kinds of dtype, and the same in words
    "spikes/times": ("f", "a row of floats for each recording"),
    "spikes/units": ("iu", "a row of integers for each recording"),
    "labels": ("iu", "an integer for each recording"),
    "extra/speaker": ("iuU", "an integer or a text for each recording"),
    "extra/keys": ("U", "the names of the classes as text"),
}
_GZIP = b"\x1f\x8b"
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


def read_shd(path: str | os.PathLike[str]) -> Utterances:
    """Read one file of the Spiking Heidelberg Digits or the Spiking Speech Commands.

    `spikes/times` (seconds) and `spikes/units` (0 to 699) hold a row for each recording, `labels`
    and `extra/speaker` a number for each, and `extra/keys` the names of the classes. Speakers that
    are text get numbers in the order of their sorted names, separately in each file.

    Times are rounded to the nearest microsecond. float16 times have a resolution of 0.5 ms from 0.5
    s on, and of 1 ms from 1 s on. The layout does not promise an order, so a recording out of order
    in time is sorted; events of equal time keep the order of the file. (For N-MNIST, whose times
    come from a clock, times that run backwards raise an error.)

    Damaged bytes inside a file can crash the HDF5 library itself: check the checksum of a download.

    A row takes four bytes per event of the longest recording of the file: 80 kB for 20,000 events,
    650 MB for 8,156 recordings. A gzip file is unpacked in memory.

    Args:
      path: an HDF5 file, plain or gzip; the first bytes decide which, not the name.

    Returns:
      The recordings in the order of the file, with speakers and names of classes. Bin them with
      `shape=SHD_SHAPE`.

    Raises:
      ValueError: not an HDF5 file, or a truncated or damaged one; a key is missing; lengths do not
        agree; a recording is empty; times that are negative, not finite or past 6.135666 s; units
        or labels outside their range. The text names file, recording and rule.
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
    with _opened(path) as file:
        held = _held(file, path)
        with _readable(path):
            lengths = {key: (held[key].shape or (0,))[0] for key in _KEYS if key != "extra/keys"}
        if len(set(lengths.values())) > 1 or not lengths["labels"]:
            raise ValueError(
                f"{path}: expected as many of each and at least one, got "
                + ", ".join(f"{count} {key}" for key, count in lengths.items())
            )
        labels, speakers, classes = (
            _column(held, key, path) for key in ("labels", "extra/speaker", "extra/keys")
        )
        if not len(classes):
            raise ValueError(f"{path}: extra/keys is empty, expected the names of the classes")
        if speakers.dtype.kind == "U":
            speakers = np.unique(speakers, return_inverse=True)[1]
        _check_range(labels, len(classes), "label", path)
        _check_range(speakers, 2**31, "speaker", path)
        words: list[NDArray[np.uint32]] = []
        for first in range(0, len(labels), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            times, units = (
                _rows(held, key, part, path) for key in ("spikes/times", "spikes/units")
            )
            words += _decode(
                times, units, [f"{path}: recording {first + n}" for n in range(len(times))]
            )
    recordings = Recordings(padded(words), labels.astype(np.int32))
    return Utterances(recordings, speakers.astype(np.int32), tuple(classes.tolist()))


# The HDF5 file -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "HDF5 files need h5py, which is not installed: pip install h5py"
        ) from error
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {fault}, expected an HDF5 file, plain or gzip")
    with path.open("rb") as stream:
        packed = stream.read(len(_GZIP)) == _GZIP
    try:
        source = io.BytesIO(gzip.decompress(path.read_bytes())) if packed else path
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: the gzip file is truncated or damaged ({error})") from error
    with _readable(path):
        file = h5py.File(source, "r")
    with file:
        yield file


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # HDF5 raises many types for a damaged file
        raise ValueError(
            f"{path}: not a readable HDF5 file, truncated or damaged ({error})"
        ) from error


def _held(file: Any, path: Path) -> dict[str, Any]:
    """The required data sets of the file; an error for a missing one lists the others."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if hasattr(item, "shape"):  # groups have none
            found[name] = item

    with _readable(path):
        file.visititems(visit)
    if missing := [key for key in _KEYS if key not in found]:
        raise ValueError(
            f"{path}: {', '.join(missing)} missing; expected {', '.join(_KEYS)}, got "
            f"{', '.join(sorted(map(str, found))) or 'no data at all'}"
        )
    return found


def _column(held: dict[str, Any], key: str, path: Path) -> NDArray[Any]:
    import h5py

    with _readable(path):
        data = held[key]
        text = h5py.check_string_dtype(data.dtype)
        values = np.asarray(data.asstr("utf-8", errors="replace")[()] if text else data[()])
        values = values.astype(str) if text else values
    _check_kind(values, held, key, path)
    return values


def _rows(held: dict[str, Any], key: str, part: slice, path: Path) -> list[NDArray[Any]]:
    with _readable(path):
        rows = list(held[key][part])
    for row in rows:  # recordings of equal length may form a table instead of ragged rows
        _check_kind(row, held, key, path)
    return rows


def _check_kind(values: Any, held: dict[str, Any], key: str, path: Path) -> None:
    kinds, wanted = _KEYS[key]
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in kinds:
        shape = list(held[key].shape or ())
        raise ValueError(f"{path}: {key} holds {held[key].dtype} {shape}, expected {wanted}")


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
