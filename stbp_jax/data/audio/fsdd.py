"""Reader of the Free Spoken Digit Dataset: sounds, digits and speakers.

The reader does not split the set; speakers and indices select training and test recordings.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..archives import File, files
from ..arguments import integer
from ..contents import MAX_BYTES, too_large
from .wav import decode_wav

_LAYOUT = "recordings/<digit>_<speaker>_<index>.wav"


class SpokenDigits(NamedTuple):
    """Recordings of single digits, in order of digit, speaker and index.

    Attributes:
      sounds: float32 `[E]` in [-1, 1] for each recording, 8000 samples per second.
      labels: `[N]`, int32, the digits.
      speakers: `[N]`, the names of the speakers.
      indices: `[N]`, int32, counted from 0 for each digit of each speaker. The official test set
        holds 0 to 4, the training set all others.

    >>> sound, numbers = np.zeros(8, np.float32), np.array([3])
    >>> digits = SpokenDigits([sound], numbers, np.array(["ann"]), np.array([0]))
    >>> digits.labels[digits.indices < 5]
    array([3])
    """

    sounds: list[NDArray[np.float32]]
    labels: NDArray[np.int32]
    speakers: NDArray[np.str_]
    indices: NDArray[np.int32]


def read_fsdd(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> SpokenDigits:
    """Read the Free Spoken Digit Dataset from a folder or from zip archives.

    The official split:

        digits = read_fsdd(path)
        test = digits.indices < 5

    An archive has a checksum of each recording, a folder has none: see `read_wav`. With a file
    `SHA256SUMS` in the folder, or beside the archive, each file is checked first.

    Args:
      path: A folder with `recordings/`, or with archives that hold `recordings/`; or one archive.
        The archive of GitHub has one more folder on top: unpack it first.
      max_bytes: Most bytes of all sounds together.

    Returns:
      All recordings.

    Raises:
      ValueError: A file is not called `<digit>_<speaker>_<index>.wav`, breaks a rule of `read_wav`
        at 8000 samples per second, or occurs twice; an archive is damaged or has absolute or parent
        paths; there is no recording; sizes are above `max_bytes`; a file is not as `SHA256SUMS`
        says. The text names file and rule.
      FileNotFoundError: Nothing is at `path`, or the folder holds neither.

    >>> import tempfile, wave
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "recordings", "3_ann_0.wav")
    ...     path.parent.mkdir()
    ...     with wave.open(str(path), "wb") as file:
    ...         file.setparams((1, 2, 8000, 2, "NONE", ""))
    ...         file.writeframes(np.array([0, 16384], np.int16).tobytes())
    ...     digits = read_fsdd(folder)
    >>> digits.labels.tolist(), digits.speakers.tolist()
    ([3], ['ann'])

    Source: Jackson et al. 2018, Jakobovski/free-spoken-digit-dataset.
    """
    path = Path(path).expanduser()
    max_bytes = integer("max_bytes", max_bytes, least=1)
    found: dict[tuple[int, str, int], File] = {}
    with contextlib.ExitStack() as stack:
        for file in files(path, stack, _LAYOUT, ("recordings",), max_bytes):
            name = _named(file)
            first = found.setdefault(name, file)
            if first is not file:
                raise ValueError(f"{file.where}: occurs twice; the other is {first.where}")
        if not found:
            raise ValueError(f"{path}: no recording; expected {_LAYOUT}")
        ordered = [found[name] for name in sorted(found)]
        sounds, left = [], max_bytes
        for file in ordered:
            sounds.append(decode_wav(file.read(), file.where, 8000))
            left -= sounds[-1].nbytes
            if left < 0:
                raise too_large(f"{file.where}: the sounds up to this one take more", max_bytes)
    labels, speakers, indices = zip(*sorted(found), strict=True)
    return SpokenDigits(
        sounds, np.array(labels, np.int32), np.array(speakers), np.array(indices, np.int32)
    )


def _named(file: File) -> tuple[int, str, int]:
    """Digit, speaker and index from the name of a file."""
    match = re.fullmatch(r"([0-9])_([A-Za-z]+)_([0-9]{1,9})\.wav", file.parts[-1])
    if len(file.parts) != 2 or not match:
        raise ValueError(f"{file.where}: not a recording; expected {_LAYOUT}")
    return int(match[1]), match[2], int(match[3])
