"""Reader of IDX files, the format of MNIST: a big-endian header, then the numbers in C order.

Each of the four files of a set is checked to the last byte, and against its official checksum if
there is one, so that a damaged, exchanged or mislabeled file raises an error.
"""

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import contents
from ..arguments import integer
from ..contents import MAX_BYTES, Folder
from .dataset import AbsentError, Dataset, Pair, describe, make_dataset

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_RANK = 64  # NumPy's own limit

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

LOOKED_FOR = (
    f"{', '.join(FILES)}; plain or .gz, in any case, .idx for -idx, or as EMNIST's "
    "emnist-<part>-train-... and emnist-<part>-test-..."
)
"""Names of the four files, for messages."""

_NAME = re.compile(
    r"(?:emnist-([a-z]+)-)?(train|t10k|test)-(images[-.]idx3|labels[-.]idx1)-ubyte(?:\.gz)?",
    re.IGNORECASE,
)


class Sums(NamedTuple):
    """SHA-256 of an official file as published (gzip) and of its unpacked content."""

    gz: str
    plain: str


OFFICIAL: Mapping[str, Mapping[str, Sums]] = {
    "mnist": {
        "train-images-idx3-ubyte": Sums(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        "train-labels-idx1-ubyte": Sums(
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        "t10k-images-idx3-ubyte": Sums(
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        "t10k-labels-idx1-ubyte": Sums(
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": Sums(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        "train-labels-idx1-ubyte": Sums(
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        "t10k-images-idx3-ubyte": Sums(
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        "t10k-labels-idx1-ubyte": Sums(
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    },
}


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> NDArray[Any]:
    """Read one IDX file, gzip or plain, of any of the six dtypes and any rank.

    gzip has a checksum, a plain file has none: damaged numbers are read as other numbers. A file
    `SHA256SUMS` beside it, from `sha256sum`, detects damage: then the sum is checked first.

    Args:
      path: The file. Its first bytes, not its name, decide whether it is gzip.
      max_bytes: Most bytes of the file, packed and unpacked.

    Returns:
      The array, writable and in native byte order: uint8, int8, int16, int32, float32 or float64.

    Raises:
      ValueError: The file is not an IDX file, is truncated, or has bytes after its data; it is
        above `max_bytes`, or its sum differs from the one in `SHA256SUMS`. The text names file and
        byte.
      OSError: The file cannot be opened.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "two-labels-idx1-ubyte")
      ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
      ...     read_idx(path)
      array([7, 9], dtype=uint8)

    Source: the format's description on the MNIST page of LeCun, Cortes and Burges.
    """
    path = Path(path).expanduser()
    max_bytes = integer("max_bytes", max_bytes, least=1)
    raw = contents.read(path, contents.folder(path.parent), max_bytes)
    return _parse(contents.unpacked(raw, path, max_bytes), path)


def read_idx_folder(
    root: Folder, name: str, max_bytes: int, sums: Mapping[str, Sums] | None = None
) -> Pair:
    """Read the four standard files of a folder, checked against `sums` if given.

    If the folder holds parts of EMNIST, `name` selects one: `emnist_letters`, `letters`.

    Raises `AbsentError` if all four files are missing, `FileNotFoundError` if only some are.
    """
    folder = root.path
    parts = _named(folder)
    if not parts:
        raise AbsentError(f"{folder} holds none of the four IDX files, {LOOKED_FOR}")
    found = parts[_part(parts, name, folder)]
    if missing := [stem for stem in FILES if stem not in found]:
        raise FileNotFoundError(
            f"{folder}: of the four IDX files these are missing: {', '.join(missing)} (looked for "
            f"{LOOKED_FOR})"
        )
    arrays = {}
    for stem in FILES:
        path, raw, content = _content(found[stem], root, max_bytes)
        if sums is not None:
            _check_sum(raw, content, sums[stem], path)
        arrays[stem] = _parse(content, path)
        _check_kind(arrays[stem], stem, path)
    train, test = (_dataset(folder, arrays, part) for part in ("train", "t10k"))
    return train, test


def _named(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Files by part of EMNIST ("" for other sets) and standard name, gzip ones first."""
    found: dict[str, dict[str, list[Path]]] = {}
    for path in sorted(folder.iterdir(), key=lambda p: (p.suffix.lower() != ".gz", p.name)):
        if (match := _NAME.fullmatch(path.name)) and path.is_file():
            part, split, kind = (group.lower() for group in match.groups(""))
            split = "train" if split == "train" else "t10k"
            stem = f"{split}-{kind.replace('.', '-')}-ubyte"
            found.setdefault(part, {}).setdefault(stem, []).append(path)
    return found


def _part(parts: Mapping[str, Any], name: str, folder: Path) -> str:
    plain = name.lower().replace("_", "-")
    wanted = plain.removeprefix("emnist").removeprefix("-")
    of_emnist = plain.startswith("emnist")
    if "" in parts and (len(parts) == 1 or not of_emnist):
        return ""
    if wanted in parts and wanted:
        return wanted
    if len(parts) == 1 and not (of_emnist and wanted):
        return next(iter(parts))
    held = ", ".join(f"emnist_{part}" for part in parts if part)
    raise ValueError(f"{folder} holds {held}; load one of them by that name, got {name!r}")


def _content(paths: Sequence[Path], root: Folder, max_bytes: int) -> tuple[Path, bytes, bytes]:
    """Path, raw bytes and unpacked bytes of one file; copies of it must hold the same data."""
    path, *others = paths
    raw = contents.read(path, root, max_bytes)
    content = contents.unpacked(raw, path, max_bytes)
    for other in others:
        copy = contents.unpacked(contents.read(other, root, max_bytes), other, max_bytes)
        if copy != content:
            raise ValueError(f"{path} and {other} have one name but hold different data")
    return path, raw, content


def _parse(content: bytes, path: Path) -> NDArray[Any]:
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        raise ValueError(
            f"{path}: not an IDX file: it starts with bytes [{content[:4].hex(' ')}], expected "
            f"00 00, a dtype among {', '.join(f'{code:02x}' for code in _DTYPES)}, and the rank"
        )
    dtype, rank = np.dtype(_DTYPES[content[2]]), content[3]
    if rank > _MAX_RANK:
        raise ValueError(
            f"{path}: rank {rank} at byte 3, more than the {_MAX_RANK} that NumPy can hold"
        )
    start = 4 + 4 * rank
    if len(content) < start:
        raise ValueError(
            f"{path}: truncated: a header of rank {rank} takes {start} bytes, got {len(content)}"
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", rank, offset=4))
    # In Python integers: the bytes of a damaged header may exceed 64 bits.
    wanted, got = dtype.itemsize * math.prod(shape), len(content) - start
    if wanted != got:
        name = dtype.newbyteorder("=").name
        sizes = (
            f"the header promises {name} {list(shape)}, {wanted} bytes of data, got {got}, from "
            f"byte {start} on"
        )
        fault = "truncated" if got < wanted else f"{got - wanted} bytes too many at the end"
        raise ValueError(f"{path}: {fault}: {sizes}")
    try:
        values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    except ValueError as error:  # an empty array with sides too long, as (0, 2**32 - 1, ...)
        raise ValueError(f"{path}: shape {list(shape)} is not possible ({error})") from error
    return values.astype(dtype.newbyteorder("="))  # a copy, because `frombuffer` is read-only


def _check_sum(raw: bytes, content: bytes, wanted: Sums, path: Path) -> None:
    found = hashlib.sha256(raw).hexdigest()
    # A file packed again has another sum, but its unpacked content has the official one.
    if found in wanted or hashlib.sha256(content).hexdigest() == wanted.plain:
        return
    named = next(
        (
            f"This is the official {name} file {stem}. "
            for name, files in OFFICIAL.items()
            for stem, sums in files.items()
            if found in sums
        ),
        "",
    )
    raise ValueError(
        f"{path}: not the official file. SHA-256 found {found}, wanted "
        f"{wanted.gz if raw.startswith(contents.GZIP) else wanted.plain}. {named}"
        "Get the file again; to read data of your own, load it under another name with path="
    )


def _check_kind(array: NDArray[Any], stem: str, path: Path) -> None:
    rank, kind = (3, "images, uint8 [N, H, W]") if "images" in stem else (1, "labels, uint8 [N]")
    if array.dtype != np.uint8 or array.ndim != rank:
        raise ValueError(
            f"{path}: mislabeled: the name promises {kind}, the file holds {describe(array)}"
        )


def _dataset(folder: Path, arrays: Mapping[str, NDArray[Any]], part: str) -> Dataset:
    images, labels = arrays[f"{part}-images-idx3-ubyte"], arrays[f"{part}-labels-idx1-ubyte"]
    return make_dataset(images, labels, f"{folder}, files {part}-*")
