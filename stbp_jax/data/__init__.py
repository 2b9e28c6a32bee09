"""Images and labels as NumPy arrays, whatever they are stored in.

Decides where a named set is looked for and in which order, that a file is what it claims to be
before it is used, and one form for all sources: uint8 images, int32 labels, a training and a test
set. Leaves out what a network makes of them: spike trains stand in `coding`, batches and shuffles
in `training`. Every source is read whole; nothing here streams. NumPy out: no JAX is imported,
and scikit-learn, Pillow and tensorflow-datasets only when a set needs them.
"""

from .dataset import Dataset
from .idx import read_idx
from .sources import NAMES, load

__all__ = ["NAMES", "Dataset", "load", "read_idx"]
