"""The bytes of a file, as all readers take them: below a cap, and checked by SHA-256.

A data set may have a file `SHA256SUMS` beside it, as `sha256sum` writes it. Then each file that a
reader opens must be in that list, and its sum is checked before anything is parsed.
"""

import contextlib
import functools
import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

MAX_BYTES = 2**31
"""Default of `max_bytes`: 2 GiB for one file after unpacking, and for one array that is returned.

The arrays of the whole N-MNIST take 1.7 GB, the training images of EMNIST 0.5 GB.
"""

GZIP = b"\x1f\x8b"
"""The first bytes of a gzip file."""

LIST = "SHA256SUMS"
_LONGEST_LIST = 2**26  # bytes: half a million files
_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64}) [ *](.+)")
_ESCAPES = {r"\\": "\\", r"\n": "\n", r"\r": "\r"}
_BLOCK = 2**20


class Folder(NamedTuple):
    """A folder of a data set.

    Attributes:
      path: the folder.
      sums: SHA-256 by path within the folder; None without a list.
    """

    path: Path
    sums: Mapping[str, str] | None


def folder(path: Path) -> Folder:
    """A folder with its list of sums, if `SHA256SUMS` is there.

    Raises:
      ValueError: a line of the list is not one of `sha256sum`. The text names file and line.
    """
    place = path / LIST
    if not place.exists():
        return Folder(path, None)
    sums: dict[str, str] = {}
    text = _bytes(place, _LONGEST_LIST).decode("utf-8", "surrogateescape")
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise ValueError(
                f"{place}: line {number} is not of the form of sha256sum: 64 hexadecimal digits, "
                f"two spaces and a name, got {line[:80]!r}"
            )
        escaped, found, name = match.groups()
        if escaped:  # sha256sum marks a line whose name has these characters by a backslash
            name = re.sub(r"\\[\\nr]", lambda m: _ESCAPES[m[0]], name)
        name = str(PurePosixPath(name))  # without a leading ./
        if sums.setdefault(name, found.lower()) != found.lower():
            raise ValueError(f"{place}: line {number} has a second sum for {name}")
    return Folder(path, sums)


def read(path: Path, root: Folder, max_bytes: int) -> bytes:
    """The bytes of a file of `root`, checked.

    Raises:
      ValueError: the file is no regular file, has more than `max_bytes` bytes, or does not agree
        with the list of `root`.
      OSError: the file cannot be read.
    """
    content = _bytes(path, max_bytes)
    if root.sums is not None:
        _check(path, root, hashlib.sha256(content).hexdigest())
    return content


@contextlib.contextmanager
def opened(path: Path, root: Folder) -> Iterator[BinaryIO]:
    """A file of `root` that is not read whole: open at its first byte, checked as by `read`."""
    with _regular(path).open("rb") as stream:
        if root.sums is not None:
            _check(path, root, hashlib.file_digest(stream, "sha256").hexdigest())
            stream.seek(0)
        yield stream


def unpacked(raw: bytes, path: Path, max_bytes: int) -> bytes:
    """The content of a gzip file, or `raw` itself if it is not gzip by its first bytes.

    Raises:
      ValueError: the gzip file is damaged, or unpacks to more than `max_bytes` bytes.
    """
    if not raw.startswith(GZIP):
        return raw
    blocks: list[bytes] = []
    size = 0
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
        try:
            for block in iter(functools.partial(stream.read, _BLOCK), b""):
                blocks.append(block)
                size += len(block)
                if size > max_bytes:
                    break
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path}: the gzip file is truncated or damaged after {size} unpacked bytes "
                f"({error}); get it again"
            ) from error
    if size > max_bytes:
        raise too_large(f"{path}: unpacks to more", max_bytes)
    return b"".join(blocks)


def too_large(what: str, max_bytes: int) -> ValueError:
    """The error for a size above the cap; `what` says where and which."""
    return ValueError(f"{what} than max_bytes = {max_bytes}; raise it if you trust the file")


def _regular(path: Path) -> Path:
    """`path` itself; a pipe or a device, which may have no end, raises."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError(f"{path}: neither a file nor a folder")
    return path


def _bytes(path: Path, max_bytes: int) -> bytes:
    with _regular(path).open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > max_bytes:
            raise too_large(f"{path}: has {size} bytes, more", max_bytes)
        return stream.read()


def _check(path: Path, root: Folder, found: str) -> None:
    assert root.sums is not None
    name = path.relative_to(root.path).as_posix()
    if name not in root.sums:
        raise ValueError(
            f"{path}: not in {root.path / LIST}, which must list every file of the set"
        )
    if found != root.sums[name]:
        raise ValueError(
            f"{path}: its SHA-256 is {found}, expected {root.sums[name]} by {root.path / LIST}"
        )
