"""Sets that tensorflow-datasets (TFDS) has prepared, or can fetch and prepare.

Decides how its copies are read: with or without tensorflow from the random-access formats, and
with tensorflow alone from TFRecord files. Leaves out the preparing without tensorflow, which TFDS
cannot do. TFDS keeps records in a shuffled order of its own, not in that of the original files.
"""

import importlib.util
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import AbsentError, Dataset, Pair, make_dataset

_CHUNK = 1000  # records in one request: twice as fast as one by one


def cached(name: str) -> Pair:
    """Reads the prepared copy of `name`, or raises `AbsentError`. Opens no connection."""
    builder = _builder(name)
    if not builder.is_prepared():
        raise AbsentError(f"no prepared copy at {builder.data_dir}")
    return _read(builder)


def downloaded(name: str) -> Pair:
    """Lets TFDS download and prepare `name`, then reads it, or raises `AbsentError`."""
    builder = _builder(name)
    # Tested first: without tensorflow TFDS fails only after the download.
    if not _installed("tensorflow"):
        raise AbsentError("TFDS prepares a download only where tensorflow is installed")
    # This format can be read later without tensorflow too.
    file_format = "array_record" if _installed("array_record") else None
    try:
        builder.download_and_prepare(file_format=file_format)
    except Exception as error:  # network, disk, checksum, extraction: each with its own class
        raise AbsentError(f"failed with {_first_line(error)}") from error
    return _read(builder)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def _builder(name: str) -> Any:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise AbsentError(f"tensorflow-datasets cannot be imported ({error})") from error
    # TFDS reads the variable once, at import; given here, a later change of it counts as well.
    data_dir = os.environ.get("TFDS_DATA_DIR") or None
    try:
        return tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # say, a damaged description of a prepared copy
        raise AbsentError(f"TFDS cannot open it ({_first_line(error)})") from error


def _read(builder: Any) -> Pair:
    where = str(builder.data_dir)
    try:
        (x_train, y_train), (x_test, y_test) = (_columns(builder, s) for s in ("train", "test"))
    except ImportError as error:
        raise AbsentError(f"the copy at {where} needs a package to be read: {error}") from error
    except Exception as error:
        raise ValueError(
            f"{where}: TFDS cannot read its prepared copy ({_first_line(error)}); remove that "
            "folder and let TFDS prepare it again"
        ) from error
    train: Dataset = make_dataset(x_train, y_train, f"{where}, split train")
    return train, make_dataset(x_test, y_test, f"{where}, split test")


def _columns(builder: Any, split: str) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        source = builder.as_data_source(split=split)
    except NotImplementedError:  # TFRecord files have no random access: tensorflow reads them
        import tensorflow_datasets as tfds

        columns = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
        return columns["image"], columns["label"]
    images, labels = [], []
    for start in range(0, len(source), _CHUNK):
        rows = source.__getitems__(list(range(start, min(start + _CHUNK, len(source)))))
        images.append(np.stack([row["image"] for row in rows]))
        labels += [row["label"] for row in rows]
    if not labels or len(labels) != len(source):
        raise ValueError(f"split {split} has {len(labels)} records of {len(source)}")
    return np.concatenate(images), np.array(labels)
