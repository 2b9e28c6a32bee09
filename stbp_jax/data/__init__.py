"""Images and recordings with their labels as NumPy arrays, whatever format they are stored in.

`load` looks for a named set in a fixed order of places and checks each file before it is used. All
image sets come in one form: uint8 images and int32 labels, a training and a test set. Events have
a form of their own, `Recordings`, and are read from a path that the caller gives; sound becomes
events by a model of the ear. Sources are read whole; nothing is streamed. JAX is not imported;
scikit-learn, SciPy, Pillow, h5py and tensorflow-datasets are imported when a set needs them.
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
