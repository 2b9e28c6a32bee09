"""Daimler's pedestrian patches, which stand in for the paper's pedestrian set.

The paper's set (1,509 and 631 gray patches of 28x28) was never published. This module reads
`$STBP_DATA/daimler_pedestrian/daimler_ped_18x36.npz`, splits its five sets, draws examples, resizes
18x36 pixels to 28x28, and gives all patches the same exposure. It writes nothing to disk.

The 4,800 pedestrians of a set are 800 persons, each shifted and mirrored. A random split within a
set would show the same persons to both sides, so the split goes by sets: test examples come from
T1 and T2, validation examples from one of the sets 1 to 3, training examples from the other two.
The seed chooses the validation set, because the sets differ, for example in brightness. Without
validation examples, training uses all three sets.
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
PATCH = (36, 18)  # high, wide
SIDE = 28


def load(config: Config, seed: int) -> Pair:
    """The two sets, drawn without replacement.

    Args:
      config: `num_train`, `num_test` and `limit`, which bounds both, say how many; the last
        `validation` training examples are of a set that no other is of.
      seed: of the draw and of the order; the set that validates is number `1 + seed % 3`.

    Returns:
      `(train, test)`, images `[N, 28, 28]` uint8, labels `[N]`: 1 for a pedestrian.

    Raises:
      UsageError: the file is not there, is not readable or lacks an array; other numbers of
        examples than it holds.
    """
    named(config, NAME)
    settings = config.data
    rng = np.random.default_rng(seed)
    held, limit = settings.validation, settings.limit
    sets = _read(_path(), ("1", "2", "3", "T1", "T2"))
    learned, tests = sets[:3], sets[3:]
    if held < 0:
        raise UsageError(f"validation must be at least 0, got {held}")
    other = learned.pop(seed % 3) if held else learned[0]
    tail = _drawn(rng, [other], held, "validation")
    total = settings.num_train or held + sum(len(s.labels) for s in learned)
    total = min(total, limit) if limit else total
    if total <= held:
        raise UsageError(f"validation must be fewer than the {total} training examples, got {held}")
    rest = _drawn(rng, learned, total - held, "num_train without validation")
    num_test = settings.num_test or sum(len(s.labels) for s in tests)
    num_test = min(num_test, limit) if limit else num_test
    test = _drawn(rng, tests, num_test, "num_test")
    return _resized(_joined([rest, tail])), _resized(test)


def _path() -> Path:
    root = os.environ.get("STBP_DATA")
    if not root:
        raise UsageError(f"set STBP_DATA to a folder that holds {FILE}")
    return Path(root).expanduser() / FILE


def _read(path: Path, names: Sequence[str]) -> list[Dataset]:
    """The sets of these names; patches as they are stored."""
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
    """So many of the sets' examples, in mixed order."""
    whole = _joined(sets)
    if not 0 <= count <= len(whole.labels):
        raise UsageError(f"{name} must be from 0 to {len(whole.labels)}, got {count}")
    chosen = rng.permutation(len(whole.labels))[:count]
    return Dataset(whole.images[chosen], whole.labels[chosen])


def _resized(patches: Dataset) -> Dataset:
    """28x28 pixels, each patch at the same brightness and contrast.

    Bilinear, with antialiasing: 36 pixels become 28, 18 become 28, so that shapes widen. Then the
    mean less and plus two standard deviations of a patch become 0 and 255: the sets are exposed
    differently, and brightness predicts the class better in one set than in another.
    """
    high, wide = (
        np.asarray(jax.image.resize(jnp.eye(length), (SIDE, length), "linear")) for length in PATCH
    )
    pixels = high @ patches.images.astype(np.float32) @ wide.T
    mean = pixels.mean((1, 2), keepdims=True)
    deviation = np.maximum(pixels.std((1, 2), keepdims=True), 1)  # of a blank patch it is 0
    scaled = 0.5 + (pixels - mean) / (4 * deviation)
    return Dataset(np.round(255 * scaled.clip(0, 1)).astype(np.uint8), patches.labels)
