"""Image sets that tensorflow-datasets (TFDS) has prepared, or can download and prepare.

Random-access formats are read without tensorflow; TFRecord files and the preparation of a download
need it. TFDS stores records in a shuffled order, not in the order of the original files.
"""

import importlib.util
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import AbsentError, Dataset, Pair, make_dataset

_CHUNK = 1000  # records in one request: twice as fast as one by one


def cached(name: str) -> Pair:
    """Read the prepared copy of `name`, without a connection, or raise `AbsentError`."""
    builder = _builder(name)
    if not builder.is_prepared():
        raise AbsentError(f"no prepared copy at {builder.data_dir}")
    return _read(builder)


def downloaded(name: str) -> Pair:
    """Let TFDS download and prepare `name`, then read it, or raise `AbsentError`."""
    builder = _builder(name)
    # Checked first, because without tensorflow TFDS fails only after the download.
    if not _installed("tensorflow"):
        raise AbsentError("TFDS prepares a download only if tensorflow is installed")
    # This format can later be read without tensorflow.
    file_format = "array_record" if _installed("array_record") else None
    try:
        builder.download_and_prepare(file_format=file_format)
    except Exception as error:  # network, disk, checksum and extraction raise different types
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
    # TFDS reads the variable only at import; passing it here respects later changes.
    data_dir = os.environ.get("TFDS_DATA_DIR") or None
    try:
        return tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # for example, a damaged description of a prepared copy
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
