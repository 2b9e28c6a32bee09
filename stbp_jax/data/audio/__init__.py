"""Sound: WAV files, the Free Spoken Digit Dataset, and a cochlea that turns sound into events."""

from .cochlea import Cochlea, cochlea_events, cochleagram
from .fsdd import SpokenDigits, read_fsdd
from .wav import read_wav

__all__ = [
    "Cochlea",
    "SpokenDigits",
    "cochlea_events",
    "cochleagram",
    "read_fsdd",
    "read_wav",
]
