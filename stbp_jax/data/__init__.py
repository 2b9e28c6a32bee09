"""Images and recordings with their labels as NumPy arrays, whatever they are stored in.

Decides where a named set is looked for and in which order, that a file is what it claims to be
before it is used, and one form for all sources: uint8 images, int32 labels, a training and a test
set. Events have a form of their own, `Recordings`, and are read from where the caller says; sound
becomes events by a model of the ear. Leaves out what a network makes of them: spike trains stand in
`encoders` and `events`, batches and shuffles in `training`. Every source is read whole; nothing here
streams. NumPy out: no JAX is imported, and scikit-learn, SciPy, Pillow, h5py and
tensorflow-datasets only when a set needs them.
"""

from .audio import Cochlea, cochlea_events, cochleagram
from .dataset import Dataset
from .events import PAD, Events, Recordings, pack_events, unpack_events
from .fsdd import SpokenDigits, read_fsdd
from .idx import read_idx
from .nmnist import NMNIST_SHAPE, read_nmnist, read_nmnist_file
from .shd import SHD_SHAPE, Utterances, read_shd
from .sources import NAMES, load
from .tonic import from_tonic
from .wav import read_wav

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
