"""`load`: the search of an image set by its name.

A place without the set is skipped and reported. A place with a damaged copy raises an error at
once, so that no run trains on data from another source unnoticed.
"""

import difflib
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import contents
from ..arguments import integer
from ..contents import MAX_BYTES
from . import tfds
from .dataset import AbsentError, Pair, check_pair, make_dataset
from .files import read_images, read_npz
from .idx import FILES, LOOKED_FOR, OFFICIAL, read_idx_folder

_VARIABLE = "STBP_DATA"


class _Facts(NamedTuple):
    shape: tuple[int, ...]
    classes: int


_KNOWN = {
    "digits": _Facts((8, 8), 10),
    "mnist": _Facts((28, 28), 10),
    "fashion_mnist": _Facts((28, 28), 10),
    "cifar10": _Facts((32, 32, 3), 10),
}

NAMES = tuple(_KNOWN)
"""The sets that `load` knows without a `path`."""


def load(
    name: str, *, path: str | os.PathLike[str] | None = None, max_bytes: int = MAX_BYTES
) -> Pair:
    """Load the training and the test set of `name`.

    `digits` comes with scikit-learn: 1,797 real 8x8 digits, values 0..16 scaled to 0..255, in a
    fixed shuffled order, the last fifth held out for testing. For every other set the first place
    that holds it is read:

      1. `path`, if given, and nowhere else;
      2. the folder `$STBP_DATA/<name>/`;
      3. the cache of tensorflow-datasets, under `$TFDS_DATA_DIR` if set;
      4. a download by tensorflow-datasets (needs tensorflow).

    A folder may hold:

      - the four IDX files of MNIST, gzip or plain, in any case, `.idx` for `-idx`;
      - the IDX files of EMNIST under their official names; `name` selects the part, for example
        `emnist_letters`. Images are returned as stored, rows and columns exchanged, and letters
        count from 1;
      - `<name>.npz` with `x_train, y_train, x_test, y_test`;
      - `<name>.zip`, or `<name>_train.zip` and `<name>_test.zip`, or image files, in the layout
        `train/<class>/<file>` and `test/<class>/<file>`. The index of a class is the position of
        its name in sorted order.

    With a file `SHA256SUMS`, from `sha256sum`, in the folder or beside the file, each file that is
    read is checked before it is parsed. Without it, damage is detected in gzip, `.npz` and zip
    files, which hold checksums; those of a zip do not cover names, and so not classes. A plain IDX
    file has none, nor have most image files in a folder: damaged pixels are read as other pixels.

    IDX files of `mnist` and `fashion_mnist` must have the official SHA-256. Other sets may be of
    any size. Images are in the order of the IDX or `.npz` file or of TFDS; image files are in a
    fixed mixed order.

    Args:
      name: one of `NAMES`, or any name for your own data.
      path: a folder, an `.npz` file or a `.zip` archive.
      max_bytes: most bytes of one file, packed and unpacked, and of one array. TFDS reads its own
        files without this limit.

    Returns:
      `(train, test)`, each with `images` `[N, H, W]` or `[N, H, W, C]` uint8 and `labels` `[N]`
      int32.

    Raises:
      ValueError: The name is unknown, or a place holds damaged, mislabeled or wrong data, a file
        above `max_bytes`, or one that is not as `SHA256SUMS` says.
      FileNotFoundError: No place holds the set; the text lists the places and the remedies.
      ImportError: A package that the source needs is not installed.

    Example:
      >>> train, test = load("digits")
      >>> train.images.shape, train.images.dtype, test.labels.shape
      ((1438, 8, 8), dtype('uint8'), (359,))

    Sources: MNIST, LeCun et al. 1998; Fashion-MNIST, Xiao et al. 2017; CIFAR-10, Krizhevsky 2009;
    digits, Alpaydin and Kaynak 1998, the test part of the UCI set.
    """
    if not isinstance(name, str):
        _own(name, MAX_BYTES)  # raises the error
    max_bytes = integer("max_bytes", max_bytes, least=1)
    if path is not None:
        return _check(name, _from_path(name, path, max_bytes), f"path={os.fspath(path)!r}")
    if name == "digits":
        return _check(name, _digits(), "scikit-learn's digits")
    if name not in _KNOWN:
        return _check(name, _own(name, max_bytes), f"${_VARIABLE}/{name}")
    places: dict[str, Callable[[str], Pair]] = {
        f"${_VARIABLE}/{name}/": functools.partial(_from_variable, max_bytes=max_bytes),
        "TFDS cache": tfds.cached,
        "TFDS download": tfds.downloaded,
    }
    tried: list[str] = []
    for place, read in places.items():
        try:
            sets = read(name)
        except AbsentError as reason:
            tried.append(f"  {len(tried) + 1}. {place}: {reason}")
        else:
            return _check(name, sets, place)
    raise FileNotFoundError(_nothing_found(name, tried))


def _check(name: str, sets: Pair, where: str) -> Pair:
    shape, classes = _KNOWN.get(name, (None, None))
    return check_pair(sets, f"data set {name!r} from {where}", shape=shape, classes=classes)


def _from_path(name: str, path: str | os.PathLike[str], max_bytes: int) -> Pair:
    try:
        return _read_place(name, Path(path).expanduser(), max_bytes)
    except AbsentError as reason:
        raise FileNotFoundError(
            f"data set {name!r} was not found: {reason}. No other place was looked into, because "
            "path was given"
        ) from None


def _from_variable(name: str, max_bytes: int) -> Pair:
    root = os.environ.get(_VARIABLE)
    if not root:
        raise AbsentError(f"the environment variable {_VARIABLE} is not set")
    return _read_place(name, Path(root).expanduser() / name, max_bytes)


def _own(name: str, max_bytes: int) -> Pair:
    """Read a user's set from the folder of the environment variable."""
    plain = str(name).strip().lower().replace("-", "_").replace(" ", "_")
    near = difflib.get_close_matches(plain, NAMES)
    unknown = (
        f"unknown data set {name!r}"
        + (f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ".")
        + f" Known are {', '.join(NAMES)}. Data of your own need path= (a folder, .npz or .zip) or "
        f"the folder {name} in ${_VARIABLE}"
    )
    # A name such as "../x" or "" would leave the folder or select all of it.
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(unknown)
    try:
        return _from_variable(name, max_bytes)
    except AbsentError as reason:
        raise ValueError(f"{unknown} ({reason})") from None


def _read_place(name: str, path: Path, max_bytes: int) -> Pair:
    if not path.exists():
        raise AbsentError(f"{path} does not exist")
    if path.is_dir():
        return _read_folder(name, path, max_bytes)
    if path.suffix.lower() == ".npz":
        return read_npz(path, contents.folder(path.parent), max_bytes)
    if path.suffix.lower() == ".zip":
        return read_images([path], max_bytes)
    raise ValueError(f"{path}: expected a folder, an .npz file or a .zip archive")


def _read_folder(name: str, folder: Path, max_bytes: int) -> Pair:
    root = contents.folder(folder)
    npz, whole = _member(folder, f"{name}.npz"), _member(folder, f"{name}.zip")
    halves = [_member(folder, f"{name}_{split}.zip") for split in ("train", "test")]
    try:
        return read_idx_folder(root, name, max_bytes, OFFICIAL.get(name))
    except AbsentError:
        pass
    if npz.is_file():
        return read_npz(npz, root, max_bytes)
    if whole.is_file():
        return read_images([whole], max_bytes)
    if any(half.is_file() for half in halves):
        for half in halves:
            if not half.is_file():
                raise FileNotFoundError(f"{half} is missing, though the other half is there")
        return read_images(halves, max_bytes)
    if any((folder / split).is_dir() for split in ("train", "test")):
        return read_images([folder], max_bytes)
    raise AbsentError(
        f"{folder} holds neither the four IDX files ({LOOKED_FOR}), nor {npz.name}, {whole.name}, "
        f"{halves[0].name} with {halves[1].name}, nor folders train/ and test/"
    )


def _member(folder: Path, name: str) -> Path:
    """The file of that name, or else the file whose name differs only in case."""
    path = folder / name
    if path.is_file():
        return path
    like = sorted(p for p in folder.iterdir() if p.name.lower() == name.lower() and p.is_file())
    return like[0] if len(like) == 1 else path


def _nothing_found(name: str, tried: list[str]) -> str:
    files = f"{name}_train.zip and {name}_test.zip"
    if name in OFFICIAL:
        files = ", ".join(f"{stem}.gz" for stem in FILES)
    return "\n".join(
        [
            f"data set {name!r} was not found. Looked into, in this order:",
            *tried,
            "What to do, one of these:",
            f"  - set {_VARIABLE} to a folder in which {name}/ holds {files}",
            f"    (or {name}.npz, or train/<class>/ and test/<class>/ with image files);",
            "  - give the place of the files as path=;",
            "  - let TFDS download it: pip install tensorflow-datasets tensorflow;",
            '  - take load("digits"), which needs no files.',
        ]
    )


def _digits() -> Pair:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "data set 'digits' needs scikit-learn, which is not installed: pip install scikit-learn"
        ) from error
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8).astype(np.int64) * 255 + 8) // 16  # 0..16 to 0..255
    # The set is ordered by writer. NumPy guarantees the stream of RandomState forever.
    order = np.random.RandomState(0).permutation(len(labels))
    cut = len(labels) - len(labels) // 5
    train, test = (
        make_dataset(images[part].astype(np.uint8), labels[part], "scikit-learn's digits")
        for part in (order[:cut], order[cut:])
    )
    return train, test
