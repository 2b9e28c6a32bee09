"""Readers of `.npz` files, and of image files sorted by class in a folder or in zip archives.

The layout of image files is `train/<class>/<file>` and `test/<class>/<file>`. Pixels are never
changed: a file of another size or color mode raises an error. Archives are read in place, never
unpacked to disk.
"""

import contextlib
import functools
import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset, Pair, make_dataset

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_SPLITS = ("train", "test")
_LAYOUT = "train/<class>/<file> and test/<class>/<file>"


def read_npz(path: Path) -> Pair:
    """Read `x_train, y_train, x_test, y_test` from an `.npz` file."""
    with path.open("rb") as stream:  # NumPy does not close a damaged file
        try:
            with np.load(stream, allow_pickle=False) as file:
                names = sorted(file.files)
                arrays = {key: file[key] for key in _KEYS if key in names}
        except Exception as error:  # zipfile, zlib and NumPy raise different types
            raise ValueError(f"{path}: not a readable .npz file ({error})") from error
    if missing := [key for key in _KEYS if key not in arrays]:
        raise ValueError(
            f"{path}: arrays {', '.join(missing)} are missing; the file must hold "
            f"{', '.join(_KEYS)}, got {', '.join(names) or 'none'}"
        )
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):  # NumPy returns bytes for a member that is not .npy
            raise ValueError(f"{path}: {key} is not an array but {type(array).__name__}")
    train, test = (
        make_dataset(arrays[f"x_{split}"], arrays[f"y_{split}"], f"{path}, arrays *_{split}")
        for split in _SPLITS
    )
    return train, test


def read_images(places: Sequence[Path]) -> Pair:
    """Read the image files of one folder, or of zip archives that together hold one set.

    The index of a class is its position in the sorted names of the training classes; names that are
    all whole numbers are sorted by value, so "10" follows "9". Images are in the order of the
    SHA-256 of their file names. This fixed order mixes the classes, and a folder gives the same
    arrays as its zip archive.
    """
    where = " and ".join(str(place) for place in places)
    with contextlib.ExitStack() as stack:
        entries: list[_Entry] = []
        for place in places:
            if place.is_dir():
                entries += _in_folder(place)
            else:
                entries += _in_zip(stack.enter_context(_open_zip(place)))
        parts = {split: [e for e in entries if e.split == split] for split in _SPLITS}
        for split, part in parts.items():
            if not part:
                raise ValueError(f"{where}: no image under {split}/; expected {_LAYOUT}")
        classes = _order_classes({e.category for e in parts["train"]})
        for entry in parts["test"]:
            if entry.category not in classes:
                raise ValueError(
                    f"{entry.where}: class {entry.category!r} has no training images; "
                    f"expected one of {', '.join(classes)}"
                )
        first = _decode(min(parts["train"], key=_mixed))
        train, test = (_stack(parts[split], classes, first, where) for split in _SPLITS)
    return train, test


class _Entry(NamedTuple):
    split: str
    category: str
    file: str
    where: str
    read: Callable[[], bytes]


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ValueError(f"{path}: not a readable zip archive ({error})") from error


def _in_zip(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    seen = set()
    for info in archive.infolist():
        where = f"{archive.filename}: {info.filename}"
        parts = info.filename.split("/")
        # Nothing is written to disk, but a path out of the archive is a sign of forgery.
        if parts[0] == "" or ".." in parts or "\\" in info.filename or ":" in parts[0]:
            raise ValueError(f"{where!r}: points outside the archive; expected {_LAYOUT}")
        hidden = any(part.startswith(".") for part in parts)
        if info.is_dir() or hidden or parts[0] not in _SPLITS:
            continue
        if info.filename in seen:
            raise ValueError(f"{where}: occurs twice in the archive, expected each name once")
        seen.add(info.filename)
        yield _entry(parts, where, functools.partial(archive.read, info))


def _refuse(error: OSError) -> None:
    """Raise at a folder that cannot be listed, which `os.walk` would skip."""
    if not isinstance(error, FileNotFoundError):  # a missing split has its own message
        raise error


def _in_folder(folder: Path) -> Iterator[_Entry]:
    for split in _SPLITS:
        walk = os.walk(folder / split, onerror=_refuse, followlinks=True)
        for root, folders, files in walk:
            folders[:] = [name for name in folders if not name.startswith(".")]
            for path in (Path(root, name) for name in files if not name.startswith(".")):
                yield _entry(path.relative_to(folder).parts, str(path), path.read_bytes)


def _entry(parts: Sequence[str], where: str, read: Callable[[], bytes]) -> _Entry:
    if len(parts) != 3:
        raise ValueError(f"{where}: expected {_LAYOUT}, one folder deep for each class")
    split, category, file = parts
    return _Entry(split, category, file, where, read)


def _order_classes(names: set[str]) -> dict[str, int]:
    numbers = all(name.isascii() and name.isdigit() for name in names)
    order = sorted(names, key=lambda name: (int(name), name)) if numbers else sorted(names)
    return {name: index for index, name in enumerate(order)}


def _mixed(entry: _Entry) -> tuple[bytes, str]:
    return hashlib.sha256(entry.file.encode("utf-8", "surrogateescape")).digest(), entry.category


def _stack(
    entries: Sequence[_Entry], classes: dict[str, int], first: NDArray[Any], where: str
) -> Dataset:
    entries = sorted(entries, key=_mixed)
    images = np.empty((len(entries), *first.shape), np.uint8)
    for image, entry in zip(images, entries, strict=True):
        pixels = _decode(entry)
        if pixels.shape != first.shape:
            raise ValueError(
                f"{entry.where}: image of shape {list(pixels.shape)}, expected "
                f"{list(first.shape)} like the first; all images must have one size and mode"
            )
        image[...] = pixels
    labels = np.array([classes[entry.category] for entry in entries])
    return make_dataset(images, labels, where)


def _decode(entry: _Entry) -> NDArray[Any]:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "image files need Pillow, which is not installed: pip install pillow"
        ) from error
    try:
        with Image.open(io.BytesIO(entry.read())) as image:
            mode, pixels = image.mode, np.asarray(image)
    except Exception as error:  # Pillow and zipfile raise many types for a damaged file
        raise ValueError(
            f"{entry.where}: not a readable image ({type(error).__name__}: {error}); "
            "class folders may hold image files only"
        ) from error
    if mode not in ("L", "RGB"):
        raise ValueError(
            f"{entry.where}: color mode {mode}, expected L (8-bit gray) or RGB; convert it first"
        )
    return pixels
