"""Image sets: readers of IDX, `.npz` and image files, and `load`, which finds a set by name."""

from .dataset import Dataset, Pair
from .idx import read_idx
from .named_sets import NAMES, load

__all__ = [
    "NAMES",
    "Dataset",
    "Pair",
    "load",
    "read_idx",
]
