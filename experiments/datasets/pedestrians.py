"""Daimler's pedestrian patches, which stand in for the paper's pedestrian set.

The paper's own set (1,509 and 631 gray patches of 28x28 pixels) was never published. This module
reads `$STBP_DATA/daimler_pedestrian/daimler_ped_18x36.npz`, which has five sets: 1 to 3, T1 and T2.

The 4,800 pedestrians of a set are 800 persons, each shifted and mirrored. With a random split, the
same persons would be in the training and the test set. Therefore test examples come from T1 and T2,
validation examples from one of the sets 1 to 3, and training examples from the other two. The seed
chooses the validation set, because the sets differ, for example in brightness. Without validation
examples, all three sets are used for training.
"""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jax import numpy as jnp

from experiments.datasets import named
from experiments.engine.config import Config, UsageError
from stbp_jax.data import Dataset
from stbp_jax.data.images import Pair

NAME = "daimler_pedestrian"
FILE = f"{NAME}/daimler_ped_18x36.npz"
PATCH = (36, 18)  # height, width
SIDE = 28


def load(config: Config, seed: int) -> Pair:
    """Draw the training and the test set, without replacement.

    Args:
      config: `num_train` and `num_test` are the sizes, and `limit` bounds both. The last
        `validation` training examples come from a set that the others do not use.
      seed: of the draw and the order; the validation set is number `1 + seed % 3`.

    Returns:
      `(train, test)`, images `[N, 28, 28]` uint8, labels `[N]`: 1 for a pedestrian.

    Raises:
      UsageError: the file cannot be read or lacks an array, or it has fewer examples than the
        config asks for.
    """
    named(config, NAME)
    settings = config.data
    rng = np.random.default_rng(seed)
    held, limit = settings.validation, settings.limit
    sets = _read(_path(), ("1", "2", "3", "T1", "T2"))
    learning, tests = sets[:3], sets[3:]
    if held < 0:
        raise UsageError(f"validation must be at least 0, got {held}")
    other = learning.pop(seed % 3) if held else learning[0]
    tail = _drawn(rng, [other], held, "validation")
    total = settings.num_train or held + sum(len(s.labels) for s in learning)
    total = min(total, limit) if limit else total
    if total <= held:
        raise UsageError(f"validation must be less than the {total} training examples, got {held}")
    rest = _drawn(rng, learning, total - held, "num_train without validation")
    num_test = settings.num_test or sum(len(s.labels) for s in tests)
    num_test = min(num_test, limit) if limit else num_test
    test = _drawn(rng, tests, num_test, "num_test")
    return _resized(_joined([rest, tail])), _resized(test)


def load_trials(config: Config, seed: int) -> Pair:
    """Draw the two sets of a trial of settings; the test sets T1 and T2 are not read.

    Args:
      config: `num_train` and `num_test` are the sizes; `limit` bounds both, and 0 takes all.
      seed: of the draw and the order. The second result comes from set `1 + seed % 3`, and the
        first from the other two of the sets 1 to 3.

    Returns:
      `(train, held_out)`, in place of the `(train, test)` of `load`.

    Raises:
      UsageError: the file cannot be read or lacks an array, or it has fewer examples than the
        config asks for.
    """
    named(config, NAME)
    settings = config.data
    rng = np.random.default_rng(seed)
    learning = list(_read(_path(), ("1", "2", "3")))
    held = learning.pop(seed % 3)

    def drawn(sets: list[Dataset], count: int, name: str) -> Dataset:
        size = count or sum(len(s.labels) for s in sets)
        return _resized(_drawn(rng, sets, min(size, settings.limit or size), name))

    train = drawn(learning, settings.num_train, "num_train")
    return train, drawn([held], settings.num_test, "num_test")


def _path() -> Path:
    root = os.environ.get("STBP_DATA")
    if not root:
        raise UsageError(f"set STBP_DATA to a folder that holds {FILE}")
    return Path(root).expanduser() / FILE


def _read(path: Path, names: Sequence[str]) -> list[Dataset]:
    """Read the sets with these names; the patches are 36x18 pixels."""
    try:
        with np.load(path) as file:
            return [_set(path, file, name) for name in names]
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; STBP_DATA must hold {FILE}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: not a readable .npz file ({error})") from error


def _set(path: Path, file: np.lib.npyio.NpzFile, name: str) -> Dataset:
    patches = []
    for key in (f"set{name}_nonped", f"set{name}_ped"):
        if key not in file:
            there = ", ".join(sorted(file)) or "none"
            raise UsageError(f"{path}: array {key} is missing; the file holds {there}")
        array = file[key]
        if array.dtype != np.uint8 or array.shape[1:] != PATCH:
            raise UsageError(
                f"{path}: array {key} must be uint8 [N, {PATCH[0]}, {PATCH[1]}], got "
                f"{array.dtype} {list(array.shape)}"
            )
        patches.append(array)
    labels = np.repeat(np.arange(2, dtype=np.int32), [len(p) for p in patches])
    return Dataset(np.concatenate(patches), labels)


def _joined(sets: Sequence[Dataset]) -> Dataset:
    return Dataset(*(np.concatenate(parts) for parts in zip(*sets, strict=True)))


def _drawn(rng: np.random.Generator, sets: Sequence[Dataset], count: int, name: str) -> Dataset:
    """Draw `count` examples of the sets, in random order."""
    whole = _joined(sets)
    if not 0 <= count <= len(whole.labels):
        raise UsageError(f"{name} must be from 0 to {len(whole.labels)}, got {count}")
    chosen = rng.permutation(len(whole.labels))[:count]
    return Dataset(whole.images[chosen], whole.labels[chosen])


def _resized(patches: Dataset) -> Dataset:
    """Resize patches to 28x28 pixels, and give each the same brightness and contrast.

    The resize is bilinear with antialiasing and does not keep the aspect ratio, so that shapes get
    wider. Then the range from two standard deviations below the mean to two above it becomes 0 to
    255, because the sets differ in exposure and in how much brightness says about the class.
    """
    height, width = (
        np.asarray(jax.image.resize(jnp.eye(length), (SIDE, length), "linear")) for length in PATCH
    )
    pixels = height @ patches.images.astype(np.float32) @ width.T
    mean = pixels.mean((1, 2), keepdims=True)
    deviation = np.maximum(pixels.std((1, 2), keepdims=True), 1)  # 0 for a blank patch
    scaled = 0.5 + (pixels - mean) / (4 * deviation)
    return Dataset(np.round(255 * scaled.clip(0, 1)).astype(np.uint8), patches.labels)
