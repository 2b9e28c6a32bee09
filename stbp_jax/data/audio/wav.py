"""Reader of WAV files: RIFF chunks with plain PCM samples.

The standard library's `wave` reads extensible headers only from Python 3.12 on, and trusts the
wrong sizes that a program writes to a pipe. So this module parses the file itself.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import contents
from ..arguments import integer
from ..contents import MAX_BYTES

_PCM, _EXTENSIBLE = 1, 0xFFFE
_FORMATS = {2: "ADPCM", 3: "floats", 6: "A-law", 7: "mu-law", 0x11: "ADPCM", 0x55: "MP3"}
_GUID = bytes.fromhex("000000001000800000aa00389b71")  # follows the two bytes of the format
_PLACEHOLDER = 0x7FFFF000  # smallest size that writers such as SoX use for an unknown size


class _Format(NamedTuple):
    channels: int
    rate: int
    width: int  # bytes of a sample


def read_wav(
    path: str | os.PathLike[str], *, rate: int, max_bytes: int = MAX_BYTES
) -> NDArray[np.float32]:
    """Read a WAV file of one channel.

    The samples are PCM of 8 (unsigned), 16, 24 or 32 bits, with a plain or an extensible header.
    Sounds are not resampled or mixed: another rate or several channels raise an error.

    A program that writes to a pipe does not know the sizes in the header. It writes 0, or 2 GiB or
    more, as the size of the samples. Then the samples extend to the end of the file, and a
    truncated file cannot be detected.

    The format has no checksum: damaged samples are read as other samples. A file `SHA256SUMS`
    beside it, from `sha256sum`, detects damage: then the sum of the file is checked first.

    Args:
      path: path of the file.
      rate: required sampling rate, Hz.
      max_bytes: most bytes of the file; the array takes up to four times as many.

    Returns:
      `[E]`, float32 in [-1, 1].

    Raises:
      TypeError: a rate that is not an integer.
      ValueError: a file that is not PCM WAV, is damaged, is shorter than its header says or has no
        samples; another rate; several channels; a file above `max_bytes`, or with a sum that
        differs from the one in `SHA256SUMS`. The text names file, byte and rule.
      OSError: the file cannot be opened.

    >>> import tempfile, wave
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/a.wav"
    ...     with wave.open(path, "wb") as file:
    ...         file.setparams((1, 2, 8000, 2, "NONE", ""))
    ...         file.writeframes(np.array([0, 16384], np.int16).tobytes())
    ...     read_wav(path, rate=8000)
    array([0. , 0.5], dtype=float32)

    Source: Microsoft, Multiple Channel Audio Data and WAVE Files.
    """
    rate = integer("rate", rate, least=1)
    max_bytes = integer("max_bytes", max_bytes, least=1)
    path = Path(path).expanduser()
    content = contents.read(path, contents.folder(path.parent), max_bytes)
    return decode_wav(content, str(path), rate)


def decode_wav(content: bytes, where: str, rate: int) -> NDArray[np.float32]:
    """As `read_wav`, from bytes; errors name them `where`."""
    if len(content) < 12 or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise _unreadable(where, f"it starts with {content[:12]!r}, expected RIFF, a size and WAVE")
    form = None
    for name, start, size in _chunks(content):
        if name == b"fmt ":
            form = _format(content[start : start + size], f"{where}: byte {start}")
        elif name == b"data":
            if form is None:
                raise _unreadable(where, "its samples come before their format")
            _check_form(form, where, rate)
            return _samples(content, start, size, form.width, f"{where}: byte {start}")
    raise _unreadable(where, f"truncated: no {'samples' if form else 'format'}")


def _unreadable(where: str, why: str) -> ValueError:
    return ValueError(f"{where}: not a readable wav file of plain PCM ({why})")


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and nominal size of each chunk with a complete header."""
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        yield name, at + 8, size
        at += 8 + size + size % 2


def _format(chunk: bytes, where: str) -> _Format:
    if len(chunk) < 16:
        raise _unreadable(where, f"truncated: its format takes {len(chunk)} bytes, expected 16")
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    valid = bits
    if tag == _EXTENSIBLE:
        if len(chunk) < 40:
            raise _unreadable(
                where, f"truncated: its extensible format takes {len(chunk)} bytes, expected 40"
            )
        valid, tag, guid = struct.unpack_from("<H4xH14s", chunk, 18)
        if guid != _GUID:
            raise _unreadable(where, f"unknown extended format {chunk[24:40].hex()}")
    if tag != _PCM:
        known = f", {_FORMATS[tag]}" if tag in _FORMATS else ""
        raise _unreadable(where, f"unknown format: {tag}{known}; expected {_PCM}, PCM")
    width = (bits + 7) // 8  # samples fill the high bits of whole bytes
    if not channels or block != channels * width or valid > bits:
        raise _unreadable(
            where,
            f"damaged: {channels} channels of {bits} bits, {valid} of them valid, in blocks of "
            f"{block} bytes",
        )
    return _Format(channels, rate, width)


def _check_form(form: _Format, where: str, rate: int) -> None:
    if form.channels != 1:
        raise ValueError(f"{where}: {form.channels} channels, expected 1; channels are not mixed")
    if form.rate != rate:
        raise ValueError(
            f"{where}: {form.rate} samples per second, expected {rate}; sounds are not resampled"
        )
    if form.width not in (1, 2, 3, 4):
        raise ValueError(f"{where}: samples of {8 * form.width} bits, expected 8, 16, 24 or 32")


def _samples(content: bytes, start: int, size: int, width: int, where: str) -> NDArray[Any]:
    raw = content[start : start + size]
    if _unknown(content, start, size):
        raw = content[start:]
        if width == 3 and len(raw) % 6 == 4 and raw[-1] == 0:  # chunks are padded to even sizes
            raw = raw[:-1]
    elif len(raw) < size:
        raise ValueError(
            f"{where}: truncated: {len(raw) // width} samples, expected {size // width}"
        )
    if len(raw) % width:
        raise ValueError(
            f"{where}: truncated or damaged: {len(raw)} bytes of samples, expected a multiple of "
            f"{width}"
        )
    if not raw:
        raise ValueError(f"{where}: no samples, expected at least one")
    bytewise = np.frombuffer(raw, np.uint8).reshape(-1, width)
    # All widths as the high bytes of 32-bit integers; only 8-bit samples are unsigned.
    wide = np.zeros((len(bytewise), 4), np.uint8)
    wide[:, 4 - width :] = bytewise ^ 128 if width == 1 else bytewise
    return (wide.view("<i4")[:, 0] / 2**31).astype(np.float32)


def _unknown(content: bytes, start: int, size: int) -> bool:
    """Whether the size of the samples is a placeholder of a writer that cannot seek."""
    if size >= _PLACEHOLDER:
        return size > len(content) - start
    (whole,) = struct.unpack_from("<I", content, 4)
    # The chunk is truly empty if the size of the file says that more follows.
    return size == 0 and (whole >= _PLACEHOLDER or whole + 8 <= start)
