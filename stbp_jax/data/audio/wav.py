"""Wav files: the chunks of RIFF, and samples of plain PCM.

The file is parsed here, because the standard library's `wave` reads the extensible header from
Python 3.12 on alone, and takes the sizes that a program writes to a pipe at their word.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import integer

_PCM, _EXTENSIBLE = 1, 0xFFFE
_FORMATS = {2: "ADPCM", 3: "floats", 6: "A-law", 7: "mu-law", 0x11: "ADPCM", 0x55: "MP3"}
_GUID = bytes.fromhex("000000001000800000aa00389b71")  # after the two bytes of the format
_PLACEHOLDER = 0x7FFFF000  # from here on: what writers put where they cannot seek, as SoX


class _Format(NamedTuple):
    channels: int
    rate: int
    width: int  # bytes of a sample


def read_wav(path: str | os.PathLike[str], *, rate: int) -> NDArray[np.float32]:
    """Reads a wav file of one channel.

    PCM of 8 (unsigned), 16, 24 or 32 bits, with a plain or an extensible header. Nothing is
    resampled or mixed: other rates and several channels are refused.

    A program that writes to a pipe cannot know the sizes in the header, and writes 0 or one of
    2 GiB and more for that of the samples. These then go on to the end of the file; whether such a
    file is whole cannot be seen.

    Args:
      path: of the file.
      rate: samples a second that the file must have.

    Returns:
      `[E]`, in [-1, 1].

    Raises:
      TypeError: a rate that is no integer.
      ValueError: not a wav file of PCM, damaged, shorter than it says or without samples; of
        another rate, or of several channels. The text names file and rule.
      OSError: the file cannot be opened.

    Source: Microsoft, Multiple Channel Audio Data and WAVE Files.
    """
    rate = integer("rate", rate, least=1)
    return decode_wav(Path(path).expanduser().read_bytes(), str(path), rate)


def decode_wav(content: bytes, where: str, rate: int) -> NDArray[np.float32]:
    """As `read_wav`, of bytes that `where` names."""
    if len(content) < 12 or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise _unreadable(where, f"it starts with {content[:12]!r}, expected RIFF, a size and WAVE")
    form = None
    for name, start, size in _chunks(content):
        if name == b"fmt ":
            form = _format(content[start : start + size], where)
        elif name == b"data":
            if form is None:
                raise _unreadable(where, "its samples come before their format")
            _check_form(form, where, rate)
            return _samples(content, start, size, form.width, where)
    raise _unreadable(where, f"truncated: no {'samples' if form else 'format'}")


def _unreadable(where: str, why: str) -> ValueError:
    return ValueError(f"{where}: not a readable wav file of plain PCM ({why})")


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and promised size of each chunk whose header is there."""
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
    width = (bits + 7) // 8  # fewer bits are the high ones of whole bytes
    if not channels or block != channels * width or valid > bits:
        raise _unreadable(
            where,
            f"damaged: {channels} channels of {bits} bits, {valid} of them valid, in blocks of "
            f"{block} bytes",
        )
    return _Format(channels, rate, width)


def _check_form(form: _Format, where: str, rate: int) -> None:
    if form.channels != 1:
        raise ValueError(f"{where}: {form.channels} channels, expected 1; nothing is mixed")
    if form.rate != rate:
        raise ValueError(
            f"{where}: {form.rate} samples a second, expected {rate}; nothing is resampled"
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
    # All widths as the high bytes of 32-bit integers; 8 bits alone are unsigned.
    wide = np.zeros((len(bytewise), 4), np.uint8)
    wide[:, 4 - width :] = bytewise ^ 128 if width == 1 else bytewise
    return (wide.view("<i4")[:, 0] / 2**31).astype(np.float32)


def _unknown(content: bytes, start: int, size: int) -> bool:
    """Whether the size of the samples is what a writer puts where it cannot know it."""
    if size >= _PLACEHOLDER:
        return size > len(content) - start
    (whole,) = struct.unpack_from("<I", content, 4)
    # An empty chunk in a file whose own size tells of more behind it is empty.
    return size == 0 and (whole >= _PLACEHOLDER or whole + 8 <= start)
