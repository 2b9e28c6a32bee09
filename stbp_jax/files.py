"""Writing of files: the whole file, or nothing."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for writing, which replaces the file at `path` once it is complete.

    Args:
      path: path of the file.

    Yields:
      The file, open for bytes.

    Raises:
      OSError: the file cannot be written.
    """
    path = Path(path)
    # A killed process can leave its partial file, and a later one can have the same number.
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _flush_names(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _flush_names(folder: Path) -> None:
    """Flush the names of a folder's files, so that a rename outlasts a loss of power."""
    if hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
