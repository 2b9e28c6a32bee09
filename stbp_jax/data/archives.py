"""The files of a data set in a folder or in zip archives, which are read in place.

An archive is checked before use: it must be readable, every name must stay inside it, and no file
may unpack to more than 16 MiB.
"""

import contextlib
import functools
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

_LARGEST = 2**24  # bytes of one file, unpacked


class File(NamedTuple):
    """A file that has not been read yet.

    Attributes:
      parts: parts of its path within the folder or archive.
      where: its name in messages.
      read: function that returns its bytes; a `ValueError` names a damaged or too large file.
    """

    parts: tuple[str, ...]
    where: str
    read: Callable[[], bytes]


def files(
    path: Path, stack: contextlib.ExitStack, layout: str, tops: tuple[str, ...]
) -> Iterator[File]:
    """The files of a set under its top folders, without hidden files.

    Args:
      path: a folder with the top folders, or with zip archives that hold them; or one archive.
      stack: closes the archives.
      layout: the expected layout, for messages.
      tops: names of the top folders.

    Raises:
      ValueError: an archive is damaged or has absolute or parent paths.
      FileNotFoundError: nothing is at `path`, or it holds neither top folders nor archives.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_dir() and any((path / top).is_dir() for top in tops):
        for top in tops:
            yield from _in_folder(path, top)
        return
    archives = [path] if path.is_file() else sorted(_archives(path))
    if not archives:
        named = " and ".join(f"{top}/" for top in tops)
        raise FileNotFoundError(
            f"{path} holds neither {named} nor a zip archive; expected {layout}"
        )
    for archive in archives:
        yield from (f for f in _in_zip(archive, stack, layout) if f.parts[0] in tops)


def _archives(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix.lower() == ".zip" and path.is_file())


def _in_zip(path: Path, stack: contextlib.ExitStack, layout: str) -> Iterator[File]:
    stream = stack.enter_context(path.open("rb"))
    try:
        archive = stack.enter_context(zipfile.ZipFile(stream))
    except Exception as error:  # zipfile raises many types for a damaged directory
        raise ValueError(
            f"{path}: not a readable zip archive, truncated or damaged ({error})"
        ) from error
    for info in archive.infolist():
        where = f"{path}: {info.filename}"
        parts = tuple(info.filename.split("/"))
        # Nothing is written to disk, but a path out of the archive is a sign of forgery.
        # `orig_filename` is the whole name: zipfile cuts `filename` at a NUL.
        name = info.orig_filename
        if parts[0] == "" or ".." in parts or "\\" in name or "\0" in name or ":" in parts[0]:
            raise ValueError(
                f"{path}: {name!r}: not a name but an absolute or parent path; expected {layout}"
            )
        if not info.is_dir() and not any(part.startswith(".") for part in parts):
            yield File(parts, where, functools.partial(_content, archive, info, where))


def _in_folder(folder: Path, below: str) -> Iterator[File]:
    """The files under `folder/below` without hidden ones; none if it does not exist."""
    for root, folders, files in os.walk(folder / below, onerror=_refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in (Path(root, name) for name in files if not name.startswith(".")):
            yield File(file.relative_to(folder).parts, str(file), file.read_bytes)


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> bytes:
    if info.file_size > _LARGEST:
        raise ValueError(f"{where}: unpacks to {info.file_size} bytes, expected at most {_LARGEST}")
    try:
        found = archive.read(info)
    except Exception as error:
        raise ValueError(f"{where}: truncated or damaged in its archive ({error})") from error
    if len(found) != info.file_size:  # zipfile does not check this
        raise ValueError(
            f"{where}: truncated or damaged in its archive: {len(found)} bytes, expected "
            f"{info.file_size}"
        )
    return found


def _refuse(error: OSError) -> None:
    """Raise at a folder that cannot be listed, which `os.walk` would skip."""
    if not isinstance(error, FileNotFoundError):  # a missing folder has its own message
        raise error
