"""`Dataset`, the form of every image set, and its checks."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import plain


class Dataset(NamedTuple):
    """Images and their classes; a pytree that a whole run takes as one argument.

    Attributes:
      images: `[N, H, W]` gray or `[N, H, W, C]` color, uint8 in 0..255.
      labels: `[N]`, int32, class indices from 0.

    >>> Dataset(np.zeros((2, 8, 8), np.uint8), np.array([0, 1], np.int32)).images.shape
    (2, 8, 8)
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]


Pair = tuple[Dataset, Dataset]


class AbsentError(Exception):
    """A place does not hold the set; the text says why, and `load` collects the texts."""


def describe(x: NDArray[Any]) -> str:
    """Dtype and shape of `x` for messages: `uint8 [10, 28, 28]`."""
    return f"{x.dtype} {list(x.shape)}"


def make_dataset(images: NDArray[Any], labels: NDArray[Any], where: str) -> Dataset:
    """A `Dataset` of two arrays, checked; errors name their source `where`."""
    images, labels = plain(f"{where}: images", images), plain(f"{where}: labels", labels)
    if images.dtype != np.uint8 or images.ndim < 2:
        raise ValueError(
            f"{where}: images must be uint8 [N, ...] with values 0..255, got {describe(images)}"
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise ValueError(f"{where}: labels must be integers [N], got {describe(labels)}")
    if len(images) != len(labels):
        raise ValueError(f"{where}: {len(images)} images but {len(labels)} labels")
    if len(images) == 0:
        raise ValueError(f"{where}: holds no images")
    if not images.size:
        raise ValueError(f"{where}: images have no pixels, got {describe(images)}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > np.iinfo(np.int32).max:
        raise ValueError(f"{where}: labels must be class indices from 0, got {low} to {high}")
    if images.ndim == 4 and images.shape[-1] == 1:  # TFDS writes gray images as [N, H, W, 1]
        images = images[..., 0]
    return Dataset(images, labels.astype(np.int32))


def check_pair(
    sets: Pair, where: str, *, shape: tuple[int, ...] | None = None, classes: int | None = None
) -> Pair:
    """Check that both sets have one shape of images, and `shape` and `classes` if given."""
    for split, (images, labels) in zip(("training", "test"), sets, strict=True):
        wanted = shape or sets[0].images.shape[1:]
        if images.shape[1:] != wanted:
            raise ValueError(
                f"{where}: images of the {split} set have shape {list(images.shape[1:])}, "
                f"expected {list(wanted)}"
            )
        if classes is not None and labels.max() >= classes:
            raise ValueError(
                f"{where}: labels of the {split} set must lie in 0..{classes - 1}, "
                f"got {labels.max()}"
            )
    return sets
