"""Readers of images, event recordings and sound, with labels, as NumPy arrays.

`load` searches a named image set in a fixed order of places and checks each file before use. Every
image set has one form: a training and a test set of uint8 images and int32 labels. Event readers
take a path and return `Recordings`; a model of the cochlea turns sound into events. Files are read
whole, below a cap, and are checked first if a list `SHA256SUMS` is beside them. The package does
not import JAX; it imports scikit-learn, SciPy, Pillow, h5py and tensorflow-datasets only when a set
needs them.
"""

from .audio import Cochlea, SpokenDigits, cochlea_events, cochleagram, read_fsdd, read_wav
from .events import (
    NMNIST_SHAPE,
    PAD,
    SHD_SHAPE,
    Events,
    Recordings,
    Utterances,
    from_tonic,
    pack_events,
    read_nmnist,
    read_nmnist_file,
    read_shd,
    unpack_events,
)
from .images import NAMES, Dataset, load, read_idx

__all__ = [
    "NAMES",
    "NMNIST_SHAPE",
    "PAD",
    "SHD_SHAPE",
    "Cochlea",
    "Dataset",
    "Events",
    "Recordings",
    "SpokenDigits",
    "Utterances",
    "cochlea_events",
    "cochleagram",
    "from_tonic",
    "load",
    "pack_events",
    "read_fsdd",
    "read_idx",
    "read_nmnist",
    "read_nmnist_file",
    "read_shd",
    "read_wav",
    "unpack_events",
]
