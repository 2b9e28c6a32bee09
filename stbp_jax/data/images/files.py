"""Readers of `.npz` files, and of image files sorted by class in a folder or in zip archives.

The layout of image files is `train/<class>/<file>` and `test/<class>/<file>`. Pixels are never
changed: a file of another size or color mode raises an error. Archives are read in place, never
unpacked to disk.
"""

import contextlib
import hashlib
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import archives
from ..contents import Folder
from .dataset import Dataset, Pair, make_dataset

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_SPLITS = ("train", "test")
_LAYOUT = "train/<class>/<file> and test/<class>/<file>"
_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP")
_MODES = ("L", "RGB")


def read_npz(path: Path, root: Folder, max_bytes: int) -> Pair:
    """Read `x_train, y_train, x_test, y_test` from an `.npz` file."""
    with contextlib.ExitStack() as stack:
        held = archives.arrays(path, root, stack)
        if missing := [key for key in _KEYS if key not in held]:
            raise ValueError(
                f"{path}: arrays {', '.join(missing)} are missing; the file must hold "
                f"{', '.join(_KEYS)}, got {', '.join(sorted(held)) or 'none'}"
            )
        arrays = {key: held[key](max_bytes) for key in _KEYS}
    train, test = (
        make_dataset(arrays[f"x_{split}"], arrays[f"y_{split}"], f"{path}, arrays *_{split}")
        for split in _SPLITS
    )
    return train, test


def read_images(places: Sequence[Path], max_bytes: int) -> Pair:
    """Read the image files of one folder, or of zip archives that together hold one set.

    The index of a class is its position in the sorted names of the training classes; names that are
    all whole numbers are sorted by value, so "10" follows "9". Images are in the order of the
    SHA-256 of their file names. This fixed order mixes the classes, and a folder gives the same
    arrays as its zip archive.
    """
    where = " and ".join(str(place) for place in places)
    with contextlib.ExitStack() as stack:
        entries = [
            _entry(file)
            for place in places
            for file in archives.files(place, stack, _LAYOUT, _SPLITS, max_bytes)
        ]
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
        train, test = (_stack(parts[split], classes, where, max_bytes) for split in _SPLITS)
    return train, test


class _Entry(NamedTuple):
    split: str
    category: str
    file: str
    where: str
    read: Callable[[], bytes]


def _entry(file: archives.File) -> _Entry:
    if len(file.parts) != 3:
        raise ValueError(f"{file.where}: expected {_LAYOUT}, one folder deep for each class")
    return _Entry(*file.parts, file.where, file.read)


def _order_classes(names: set[str]) -> dict[str, int]:
    numbers = all(name.isascii() and name.isdigit() for name in names)
    order = sorted(names, key=lambda name: (int(name), name)) if numbers else sorted(names)
    return {name: index for index, name in enumerate(order)}


def _mixed(entry: _Entry) -> tuple[bytes, str]:
    return hashlib.sha256(entry.file.encode("utf-8", "surrogateescape")).digest(), entry.category


def _stack(
    entries: Sequence[_Entry], classes: dict[str, int], where: str, max_bytes: int
) -> Dataset:
    entries = sorted(entries, key=_mixed)
    first = _decode(entries[0], None, max_bytes // len(entries))
    images = np.empty((len(entries), *first.shape), np.uint8)
    for image, entry in zip(images, entries, strict=True):
        image[...] = _decode(entry, first.shape, max_bytes)
    labels = np.array([classes[entry.category] for entry in entries])
    return make_dataset(images, labels, where)


def _decode(entry: _Entry, shape: tuple[int, ...] | None, most: int) -> NDArray[Any]:
    """Pixels of an image, of `shape` if given; its header is checked before they are unpacked."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "image files need Pillow, which is not installed: pip install pillow"
        ) from error
    content = entry.read()
    try:
        # Pillow knows formats that start other programs.
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            mode, (width, height) = image.mode, image.size
            found = (height, width) if mode == "L" else (height, width, 3)
            fits = mode in _MODES and shape in (None, found) and math.prod(found) <= most
            pixels = np.asarray(image) if fits else np.empty(0)
    except Exception as error:  # Pillow raises many types for a damaged file
        raise ValueError(
            f"{entry.where}: not a readable image ({type(error).__name__}: {error}); "
            f"class folders may hold image files only: {', '.join(_FORMATS)}"
        ) from error
    if mode not in _MODES:
        raise ValueError(
            f"{entry.where}: color mode {mode}, expected L (8-bit gray) or RGB; convert it first"
        )
    if shape not in (None, found):
        raise ValueError(
            f"{entry.where}: image of shape {list(found)}, expected {list(shape or ())} like the "
            "first; all images must have one size and mode"
        )
    if not fits:
        raise ValueError(
            f"{entry.where}: image of shape {list(found)}; all images of its split would take more "
            "than max_bytes; raise it if you trust the files"
        )
    return pixels
