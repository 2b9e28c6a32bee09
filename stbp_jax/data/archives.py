"""The files of a data set in a folder or in zip archives, which are read in place.

An archive is checked before use: it must be readable, and every name must stay inside it. No file
unpacks to more than a cap, whatever sizes its archive declares.
"""

import contextlib
import functools
import io
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import contents
from .contents import Folder, too_large


class File(NamedTuple):
    """A file that has not been read yet.

    Attributes:
      parts: parts of its path within the folder or archive.
      where: its name in messages.
      read: function that returns its bytes; a `ValueError` names a file that is damaged, too
        large, or not as the list of sums says.
    """

    parts: tuple[str, ...]
    where: str
    read: Callable[[], bytes]


def files(
    path: Path,
    stack: contextlib.ExitStack,
    layout: str,
    tops: tuple[str, ...],
    max_bytes: int,
) -> Iterator[File]:
    """The files of a set under its top folders, without hidden files.

    A list `SHA256SUMS` in the folder, or beside the archive, is followed.

    Args:
      path: a folder with the top folders, or with zip archives that hold them; or one archive.
      stack: closes the archives.
      layout: the expected layout, for messages.
      tops: names of the top folders.
      max_bytes: most bytes of a file, unpacked.

    Raises:
      ValueError: an archive is damaged, has absolute or parent paths or a name twice, or is not as
        the list of sums says.
      FileNotFoundError: nothing is at `path`, or it holds neither top folders nor archives.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    root = contents.folder(path if path.is_dir() else path.parent)
    if path.is_dir() and any((path / top).is_dir() for top in tops):
        for top in tops:
            yield from _in_folder(root, top, max_bytes)
        return
    archives = [path] if path.is_file() else sorted(_archives(path))
    if not archives:
        named = " and ".join(f"{top}/" for top in tops)
        raise FileNotFoundError(
            f"{path} holds neither {named} nor a zip archive; expected {layout}"
        )
    for archive in archives:
        inside = _in_zip(archive, root, stack, layout, max_bytes)
        yield from (file for file in inside if file.parts[0] in tops)


def arrays(
    path: Path, root: Folder, stack: contextlib.ExitStack
) -> dict[str, Callable[[int], NDArray[Any]]]:
    """The arrays of an `.npz` file by name.

    Each is a function that reads it, from the most bytes that it may take to the array. It raises a
    `ValueError` that names file and array if that is damaged, above those bytes, or holds objects.

    Raises:
      ValueError: the file is not a readable archive, or has a name twice.
      OSError: the file cannot be opened.
    """
    archive = _opened(path, root, stack)
    found: dict[str, Callable[[int], NDArray[Any]]] = {}
    for info in archive.infolist():
        if info.filename.endswith(".npy"):
            name, where = info.filename[:-4], f"{path}: {info.filename}"
            if name in found:
                raise ValueError(f"{where}: occurs twice, expected each name once")
            found[name] = functools.partial(_array, archive, info, where)
    return found


def _archives(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix.lower() == ".zip" and path.is_file())


def _opened(path: Path, root: Folder, stack: contextlib.ExitStack) -> zipfile.ZipFile:
    stream = stack.enter_context(contents.opened(path, root))
    try:
        return stack.enter_context(zipfile.ZipFile(stream))
    except Exception as error:  # zipfile raises many types for a damaged directory
        raise ValueError(
            f"{path}: not a readable zip archive, truncated or damaged ({error})"
        ) from error


def _in_zip(
    path: Path, root: Folder, stack: contextlib.ExitStack, layout: str, max_bytes: int
) -> Iterator[File]:
    archive = _opened(path, root, stack)
    seen = set()
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
            if parts in seen:
                raise ValueError(f"{where}: occurs twice in the archive, expected each name once")
            seen.add(parts)
            yield File(parts, where, functools.partial(_content, archive, info, where, max_bytes))


def _in_folder(root: Folder, below: str, max_bytes: int) -> Iterator[File]:
    """The files under `root/below` without hidden ones; none if it does not exist."""
    for place, folders, names in os.walk(root.path / below, onerror=_refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in (Path(place, name) for name in names if not name.startswith(".")):
            read = functools.partial(contents.read, file, root, max_bytes)
            yield File(file.relative_to(root.path).parts, str(file), read)


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str, max_bytes: int) -> bytes:
    if info.file_size > max_bytes:
        raise too_large(f"{where}: unpacks to {info.file_size} bytes, more", max_bytes)
    at = f"at byte {info.header_offset} of the archive"
    # Other methods reserve what the file declares.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
            f"{where}: compressed by method {info.compress_type} {at}, expected 0, stored, or "
            f"{zipfile.ZIP_DEFLATED}, deflated"
        )
    try:
        with archive.open(info) as stream:
            # Without a size, a file that declares one byte is unpacked to 2 GiB and then cut.
            found = stream.read(info.file_size + 1)
    except Exception as error:
        raise ValueError(f"{where}: truncated or damaged in its archive, {at} ({error})") from error
    if len(found) != info.file_size:  # zipfile does not check this
        raise ValueError(
            f"{where}: truncated or damaged in its archive, {at}: {len(found)} bytes, expected "
            f"{info.file_size}"
        )
    return found


def _array(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str, max_bytes: int
) -> NDArray[Any]:
    header = 2**16  # NumPy reads longer ones only on request
    content = _content(archive, info, where, max_bytes + header)
    stream = io.BytesIO(content)
    try:
        if np.lib.format.read_magic(stream) == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    except Exception as error:  # the header is text that NumPy parses
        raise ValueError(f"{where}: not an array that NumPy wrote ({error})") from error
    if dtype.hasobject:
        raise ValueError(f"{where}: holds Python objects, which only a pickle can; not read")
    start = stream.tell()
    wanted, got = dtype.itemsize * math.prod(shape), len(content) - start
    if wanted != got or min(shape, default=0) < 0 or not dtype.itemsize:
        raise ValueError(
            f"{where}: the header promises {dtype} {list(shape)}, {wanted} bytes from byte {start} "
            f"on, got {got}"
        )
    try:
        flat = np.frombuffer(content, dtype, offset=start)
        return flat.reshape(shape, order="F" if fortran else "C").copy(order="K")
    except ValueError as error:  # an empty array with sides too long
        raise ValueError(f"{where}: shape {list(shape)} is not possible ({error})") from error


def _refuse(error: OSError) -> None:
    """Raise at a folder that cannot be listed, which `os.walk` would skip."""
    if not isinstance(error, FileNotFoundError):  # a missing folder has its own message
        raise error
