"""Wav files as programs write them: extensible headers, sizes of a pipe, chunks around the samples.

The bytes are spelled out here, because the standard library writes plain headers alone.
"""

import io
import struct
import wave

import numpy as np
import pytest

from stbp_jax import data

RATE = 8000
PCM = "0100000000001000800000aa00389b71"
FLOAT = "0300000000001000800000aa00389b71"
UNKNOWN = 0xFFFFFFFF


def chunk(name, content, size=None):
    size = len(content) if size is None else size
    return name + struct.pack("<I", size) + content + b"\0" * (len(content) % 2)


def plain(bits=16, tag=1, channels=1, rate=RATE, block=None):
    block = channels * ((bits + 7) // 8) if block is None else block
    return struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)


def extensible(bits=24, valid=None, guid=PCM, **changed):
    valid = bits if valid is None else valid
    return plain(bits, 0xFFFE, **changed) + struct.pack("<HHI", 22, valid, 4) + bytes.fromhex(guid)


def riff(*chunks, size=None):
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def samples(values, width):
    return b"".join(int(v).to_bytes(width, "little", signed=width > 1) for v in values)


def read(tmp_path, content):
    path = tmp_path / "some.wav"
    path.write_bytes(content)
    return data.read_wav(path, rate=RATE)


def attempt(tmp_path, content):
    """Samples, or None if the reader raises a ValueError that names the file."""
    try:
        return read(tmp_path, content)
    except ValueError as error:
        if "some.wav: " not in str(error):
            raise AssertionError("the error does not name the file") from error
        return None


def formed(form, width, values, *around):
    return riff(chunk(b"fmt ", form), *around, chunk(b"data", samples(values, width)))


@pytest.mark.parametrize(
    ("form", "width"),
    [
        (extensible(8), 1),
        (extensible(16), 2),
        (extensible(24), 3),
        (extensible(32), 4),
        (extensible(24, valid=20), 3),
        (extensible(32, valid=24), 4),
        (extensible(24, valid=0), 3),
        (plain(24), 3),
        (plain(20), 3),
        (plain(16) + b"\0\0", 2),
    ],
)
def test_headers(tmp_path, form, width):
    low, middle, half = (
        (0, 128, 192) if width == 1 else (-(1 << 8 * width - 1), 0, 1 << 8 * width - 2)
    )
    found = read(tmp_path, formed(form, width, [low, middle, half]))
    assert found.dtype == np.float32
    assert found.tolist() == [-1, 0, 0.5]


def test_chunks_around_the_samples(tmp_path):
    odd = chunk(b"LIST", b"abc")  # padded to an even size
    content = formed(extensible(), 3, [1 << 22], odd) + odd + b"tail"
    assert read(tmp_path, content).tolist() == [0.5]


@pytest.mark.parametrize("whole", [0, 36, UNKNOWN, 0x7FFFF024, 0x80000024])
@pytest.mark.parametrize("size", [0, UNKNOWN, 0x7FFFF000, 0x80000000, UNKNOWN - 36])
def test_sizes_of_a_pipe(tmp_path, whole, size):
    content = samples([-(2**15), 0, 2**14], 2)
    file = riff(chunk(b"fmt ", plain()), chunk(b"data", content, size), size=whole)
    assert read(tmp_path, file).tolist() == [-1, 0, 0.5]
    with pytest.raises(
        ValueError, match=r"some\.wav: .*5 bytes of samples, expected a multiple of 2"
    ):
        read(tmp_path, file[:-1])
    with pytest.raises(ValueError, match=r"some\.wav: byte 44: no samples, expected at least one"):
        read(tmp_path, file[:44])


@pytest.mark.parametrize("whole", [0, UNKNOWN])
def test_a_known_size_within_an_unknown_one(tmp_path, whole):
    body = chunk(b"data", samples([2**14], 2)), chunk(b"LIST", b"abcd")
    assert read(tmp_path, riff(chunk(b"fmt ", plain()), *body, size=whole)).tolist() == [0.5]
    with pytest.raises(ValueError, match="truncated: 0 samples, expected 1"):
        read(tmp_path, riff(chunk(b"fmt ", plain()), chunk(b"data", b"\0", 2), size=whole)[:-1])


def test_padding_after_samples_of_unknown_size(tmp_path):
    content = samples([1 << 22, -(1 << 23), 0], 3)
    file = riff(chunk(b"fmt ", extensible()), chunk(b"data", content, UNKNOWN), size=UNKNOWN)
    assert len(file) == 12 + 48 + 8 + 10
    assert read(tmp_path, file).tolist() == [0.5, -1, 0]


def test_an_empty_chunk_before_others_is_no_pipe(tmp_path):
    whole = riff(chunk(b"fmt ", plain()), chunk(b"data", b""), chunk(b"LIST", b"ab"))
    with pytest.raises(ValueError, match="no samples, expected at least one"):
        read(tmp_path, whole)


BAD = {
    "unknown format: 3, floats; expected 1, PCM": formed(plain(32, 3), 4, [0]),
    "unknown format: 3, floats; .*": formed(extensible(32, guid=FLOAT), 4, [0]),
    "unknown format: 7, mu-law": formed(plain(8, 7), 1, [0]),
    "unknown extended format 0100ff": formed(extensible(guid="0100ff" + PCM[6:]), 3, [0]),
    "extensible format takes 16 bytes, expected 40": formed(extensible()[:16], 3, [0]),
    "format takes 14 bytes, expected 16": formed(plain()[:14], 2, [0]),
    "damaged: 1 channels of 24 bits, 24 of them valid, in blocks of 4": formed(
        plain(24, block=4), 4, [0]
    ),
    "damaged: 0 channels": formed(plain(channels=0), 2, [0]),
    "damaged: .*24 bits, 32 of them valid": formed(extensible(24, valid=32), 3, [0]),
    "samples come before their format": riff(chunk(b"data", b"\0\0"), chunk(b"fmt ", plain())),
    "truncated: no samples": riff(chunk(b"fmt ", plain())),
    "truncated: no format": riff(),
    "starts with b'RF64": b"RF64" + formed(plain(), 2, [0])[4:],
    "starts with b'RIFX": b"RIFX" + formed(plain(), 2, [0])[4:],
    "2 channels, expected 1": formed(extensible(channels=2), 3, [0, 0]),
    "44100 samples per second, expected 8000": formed(extensible(rate=44100), 3, [0]),
    "7 bytes of samples, expected a multiple of 2": riff(
        chunk(b"fmt ", plain()), chunk(b"data", bytes(7))
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_file_is_named(tmp_path, message):
    with pytest.raises(ValueError, match=rf"some\.wav: .*{message}"):
        read(tmp_path, BAD[message])


@pytest.mark.parametrize("rate", [8000.0, "8000", True, None])
def test_rate_must_be_an_integer(tmp_path, rate):
    with pytest.raises(TypeError, match="rate must be an integer, got"):
        data.read_wav(tmp_path / "absent.wav", rate=rate)


def by_the_standard_library(content):
    """Samples of a plain header as `wave` reads them, or None."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            channels, width, rate, count, *_ = file.getparams()
            raw = file.readframes(count)
    except Exception:
        return None
    if channels != 1 or rate != RATE or width > 4 or not count or len(raw) != count * width:
        return None
    values = [raw[n : n + width] for n in range(0, len(raw), width)]
    if width == 1:
        return [(v[0] - 128) / 128 for v in values]
    return [int.from_bytes(v, "little", signed=True) / 2 ** (8 * width - 1) for v in values]


def test_mutated_files_are_refused_or_read_as_the_standard_library_does(tmp_path):
    rng = np.random.default_rng(0)
    agreed = refused = 0
    for n in range(400):
        width = n % 4 + 1
        bound = 2**7 if width == 1 else 2 ** (8 * width - 1)
        values = rng.integers(0 if width == 1 else -bound, bound, 6)
        out = bytearray(formed(plain(8 * width), width, values, chunk(b"LIST", b"abc")))
        for _ in range(int(rng.integers(0, 3))):
            at = int(rng.integers(0, len(out)))
            if rng.random() < 0.7:
                out[at] ^= 1 << int(rng.integers(0, 8))
            else:
                del out[at : at + int(rng.integers(1, 5))]
        content, wanted = bytes(out), by_the_standard_library(bytes(out))
        found = attempt(tmp_path, content)
        if found is None:
            refused += 1
        elif wanted is not None:
            assert found.tolist() == [float(np.float32(v)) for v in wanted]
            agreed += 1
    assert agreed > 150
    assert refused > 30


def wav(samples, width=2, rate=RATE, channels=1):
    """Bytes of a wav file; samples are integers of that width."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        signed = width > 1
        file.writeframes(b"".join(int(s).to_bytes(width, "little", signed=signed) for s in samples))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("width", "samples"),
    [
        (1, [0, 128, 192]),
        (2, [-(2**15), 0, 2**14]),
        (3, [-(2**23), 0, 2**22]),
        (4, [-(2**31), 0, 2**30]),
    ],
)
def test_all_widths_have_one_scale(tmp_path, width, samples):
    path = tmp_path / "one.wav"
    path.write_bytes(wav(samples, width))
    found = data.read_wav(path, rate=RATE)
    assert found.dtype == np.float32
    assert found.tolist() == [-1, 0, 0.5]


GOOD = wav([0, 1, 2, 3])


BAD_FILES = {
    "11025 samples per second, expected 8000; sounds are not resampled": wav([1], rate=11025),
    "2 channels, expected 1; channels are not mixed": wav([1, 2], channels=2),
    "samples of 40 bits, expected 8, 16, 24 or 32": wav([1], 2).replace(
        (2).to_bytes(2, "little") + (16).to_bytes(2, "little"), b"\5\0\x28\0"
    ),
    "truncated: 3 samples, expected 4": GOOD[:-1],
    "no samples, expected at least one": wav([]),
    "not a readable wav file of plain PCM": b"RIFF and no more",
    "not a readable wav file of plain PCM .*starts with b''": b"",
    "not a readable wav file of plain PCM .*unknown format: 3": GOOD.replace(
        b"fmt \x10\0\0\0\1", b"fmt \x10\0\0\0\3"
    ),
}


@pytest.mark.parametrize("message", BAD_FILES)
def test_bad_wav_is_named(tmp_path, message):
    path = tmp_path / "bad.wav"
    path.write_bytes(BAD_FILES[message])
    with pytest.raises(ValueError, match=rf"bad\.wav: .*{message}"):
        data.read_wav(path, rate=RATE)


def test_every_cut_of_a_wav_is_refused(tmp_path):
    path = tmp_path / "cut.wav"
    for length in range(len(GOOD)):
        path.write_bytes(GOOD[:length])
        with pytest.raises(ValueError, match=r"cut\.wav: "):
            data.read_wav(path, rate=RATE)
