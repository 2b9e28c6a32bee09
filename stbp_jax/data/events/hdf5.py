"""Columns of an HDF5 file, read by a process of its own with limits of time and memory.

The HDF5 library loops forever or crashes on some damaged files, and no caller can end that from
inside its process. This module is also the program of the other process, so it imports nothing of
the package.
"""

import importlib.util
import io
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_SECONDS = 60  # of the processor, and one more for each MiB of the file
_SLOWER = 10  # a busy machine may take so many times longer
_TOGETHER = 100  # rows read at once


class Kind(NamedTuple):
    """What a column must hold.

    Attributes:
      kinds: letters of NumPy's kinds of dtype.
      ragged: whether an entry is a row of numbers instead of one.
      words: the same in words, for messages.
    """

    kinds: str
    ragged: bool
    words: str


def read(
    path: Path, content: bytes | None, wanted: Mapping[str, Kind], max_bytes: int
) -> dict[str, Any]:
    """Columns of an HDF5 file by name: an array, or a list of arrays if the column is ragged.

    Args:
      path: the file, for messages too.
      content: bytes of the HDF5 file if `path` is packed; None to open `path`.
      wanted: the columns.
      max_bytes: most bytes of all columns together. The process may take four times that.

    Raises:
      ValueError: the file is damaged, lacks a column or holds another kind of it, refers to other
        files, is above the limit of memory, or takes longer than a minute and a second per MiB of
        the processor's time.
      ImportError: h5py is not installed.
    """
    if importlib.util.find_spec("h5py") is None:
        raise ImportError("HDF5 files need h5py, which is not installed: pip install h5py")
    places = os.pathsep.join(place or os.getcwd() for place in sys.path)
    size = path.stat().st_size if content is None else len(content)
    seconds = _SECONDS + size // 2**20
    place = None if content else str(path.absolute())
    task = json.dumps([place, wanted, max_bytes, seconds])
    try:
        done = subprocess.run(
            [sys.executable, "-P", __file__, task],
            input=content or b"",
            capture_output=True,
            timeout=_SLOWER * seconds,
            # No plugins of HDF5 are loaded, and a thread for each core would reserve memory.
            env=os.environ
            | {"PYTHONPATH": places, "HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise _unreadable(path, f"HDF5 did not end within {_SLOWER * seconds} s") from error
    if done.returncode == -getattr(signal, "SIGXCPU", 0) != 0:
        raise _unreadable(path, f"HDF5 did not end within {seconds} s of the processor")
    if done.returncode == _REFUSED:
        raise ValueError(f"{path}: {done.stderr.decode(errors='replace').strip()}")
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise _unreadable(path, f"HDF5 ended with status {done.returncode} {' '.join(last)}")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as file:
        columns: dict[str, Any] = {name: file[name] for name in file.files}
    return split(columns, wanted)


def split(columns: dict[str, Any], wanted: Mapping[str, Kind]) -> dict[str, Any]:
    """The columns with a list of rows for each that is ragged."""
    for name, kind in wanted.items():
        if kind.ragged:
            lengths = columns.pop(f"{name} lengths")
            columns[name] = np.split(columns[name], np.cumsum(lengths)[:-1]) if len(lengths) else []
    return columns


def _unreadable(path: Path, why: str) -> ValueError:
    return ValueError(f"{path}: not a readable HDF5 file, truncated or damaged ({why})")


# The other process -------------------------------------------------------------------------------

_REFUSED = 3  # its status after a message


class _RefusedError(Exception):
    pass


def columns_of(
    source: Any, wanted: Mapping[str, tuple[str, bool, str]], max_bytes: int
) -> dict[str, NDArray[Any]]:
    """Columns of a file by name; of a ragged one the joined rows, and their lengths."""
    import h5py

    held: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:  # is not called for links to other files
        if hasattr(item, "shape"):  # groups have none
            held[name] = item

    with h5py.File(source, "r") as file:
        file.visititems(visit)
        if missing := [name for name in wanted if name not in held]:
            raise _RefusedError(
                f"{', '.join(missing)} missing; expected {', '.join(wanted)}, got "
                f"{', '.join(sorted(map(str, held))) or 'no data at all'}"
            )
        out: dict[str, NDArray[Any]] = {}
        left = max_bytes
        for name, kind in wanted.items():
            out |= _column(name, held[name], Kind(*kind), left)
            left = max_bytes - sum(array.nbytes for array in out.values())
    return out


def _column(name: str, data: Any, kind: Kind, most: int) -> dict[str, NDArray[Any]]:
    import h5py

    large = _RefusedError(
        f"{name} takes more than the rest of max_bytes, {most} bytes; raise it if you trust the "
        "file"
    )
    wrong = _RefusedError(
        f"{name} holds {data.dtype} {list(data.shape or ())}, expected {kind.words}"
    )
    if data.is_virtual or data.external:
        raise _RefusedError(f"{name} lies in another file")
    # A declared shape takes no bytes in the file.
    for shape in (data.shape or (), data.chunks or ()):
        if math.prod(shape) * data.id.get_type().get_size() > most:
            raise large
    if h5py.check_string_dtype(data.dtype):
        values = np.asarray(data.asstr("utf-8", errors="replace")[()]).astype(str)
        rows = [values]
    elif not kind.ragged:
        rows = [np.asarray(data[()])]
    else:
        rows, size = [], 0
        if not data.shape:
            raise wrong
        for first in range(0, len(data), _TOGETHER):
            # Recordings of equal length may form a table instead of ragged rows.
            for row in data[first : first + _TOGETHER]:
                rows.append(row)
                size += getattr(row, "nbytes", 0)
            if size > most:
                raise large
    for row in rows:
        if not isinstance(row, np.ndarray) or row.ndim != 1 or row.dtype.kind not in kind.kinds:
            raise wrong
    if sum(row.nbytes for row in rows) > most:
        raise large
    if not kind.ragged:
        return {name: rows[0]}
    lengths = np.array([len(row) for row in rows], np.int64)
    return {name: np.concatenate(rows or [np.zeros(0)]), f"{name} lengths": lengths}


def _limit(size: int, seconds: int) -> None:
    """Limit the process to `size` bytes more than it has, and to seconds of the processor.

    Only Linux can do both, and Windows neither.
    """
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no file of a crash
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + size, now + size))
    except (ImportError, OSError, ValueError):  # or a lower limit holds already
        pass


def _main() -> int:
    import h5py  # noqa: F401  # before the limit

    path, wanted, max_bytes, seconds = json.loads(sys.argv[1])
    source = io.BytesIO(sys.stdin.buffer.read()) if path is None else path
    _limit(4 * max_bytes + 2**28, seconds)
    try:
        columns = columns_of(source, wanted, max_bytes)
    except _RefusedError as error:
        message = str(error)
    except Exception as error:  # HDF5 raises many types for a damaged file
        message = (
            f"not a readable HDF5 file, truncated or damaged ({type(error).__name__}: {error})"
        )
    else:
        np.savez(sys.stdout.buffer, **columns)  # type: ignore[arg-type]
        return 0
    sys.stderr.buffer.write(message.encode(errors="replace"))
    return _REFUSED


if __name__ == "__main__":
    sys.exit(_main())
