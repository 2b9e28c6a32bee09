"""Recordings of event sensors: their packed form, and readers of N-MNIST, SHD and tonic."""

from .nmnist import NMNIST_SHAPE, read_nmnist, read_nmnist_file
from .packed import PAD, Events, Recordings, pack_events, unpack_events
from .shd import SHD_SHAPE, Utterances, read_shd
from .tonic import from_tonic

__all__ = [
    "NMNIST_SHAPE",
    "PAD",
    "SHD_SHAPE",
    "Events",
    "Recordings",
    "Utterances",
    "from_tonic",
    "pack_events",
    "read_nmnist",
    "read_nmnist_file",
    "read_shd",
    "unpack_events",
]
