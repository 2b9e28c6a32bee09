"""Files of small sets in every format, and what reading them gives."""

import gzip
import hashlib
import io
import struct
import zipfile

import numpy as np

from stbp_jax.data.images import idx

CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def idx_bytes(array):
    header = bytes([0, 0, CODES[array.dtype.name], array.ndim])
    sides = struct.pack(f">{array.ndim}I", *array.shape)
    return header + sides + array.astype(array.dtype.newbyteorder(">")).tobytes()


def made(seed=0, train=12, test=6, shape=(28, 28)):
    """Arrays x_train, y_train, x_test, y_test."""
    rng = np.random.default_rng(seed)
    arrays = []
    for n in (train, test):
        arrays.append(rng.integers(0, 256, (n, *shape), dtype=np.uint8))
        arrays.append((np.arange(n) % 10).astype(np.uint8))
    return arrays


def write_idx_folder(folder, arrays, *, suffix=""):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in zip(idx.FILES, arrays, strict=True):
        content = idx_bytes(array)
        (folder / (stem + suffix)).write_bytes(gzip.compress(content) if suffix else content)
    return folder


def write_npz(path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays, strict=True)))
    return path


def png(pixels):
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def image_files(shape=(4, 5, 3), classes=("ant", "bee", "cat"), train=4, test=2):
    """Entry name -> pixels; each file's first pixel holds the index of its class."""
    rng = np.random.default_rng(1)
    files = {}
    for split, count in (("train", train), ("test", test)):
        for label, category in enumerate(classes):
            for n in range(count):
                pixels = rng.integers(0, 256, shape, dtype=np.uint8)
                pixels.flat[0] = label
                files[f"{split}/{category}/{n:04}.png"] = pixels
    return files


def write_folder(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else png(content))
    return folder


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else png(content))
    return path


def make_official(monkeypatch, name, folder):
    """Declares the files of `folder` to be the official ones of `name`."""
    sums = {}
    for stem in idx.FILES:
        content = (folder / stem).read_bytes()
        packed = gzip.compress(content, mtime=0)
        sums[stem] = idx.Sums(*(hashlib.sha256(b).hexdigest() for b in (packed, content)))
    monkeypatch.setitem(idx.OFFICIAL, name, sums)


def assert_same(sets, arrays):
    for (images, labels), x, y in zip(sets, arrays[::2], arrays[1::2], strict=True):
        assert images.dtype == np.uint8
        assert labels.dtype == np.int32
        np.testing.assert_array_equal(images, x)
        np.testing.assert_array_equal(labels, y)


def attempt(read, *args, **kwargs):
    """The result of `read`, or the ValueError that it raises; any other error is a failure."""
    try:
        return read(*args, **kwargs)
    except ValueError as error:
        return error


def mutate(rng, content):
    out = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(out) + 1))
        kind = rng.integers(0, 5)
        if kind == 0 and at < len(out):
            out[at] = rng.integers(0, 256)
        elif kind == 1 and len(out):  # in the header, which every read depends on
            out[int(rng.integers(0, min(12, len(out))))] ^= 1 << int(rng.integers(0, 8))
        elif kind == 2:
            del out[at : at + int(rng.integers(1, 9))]
        elif kind == 3:
            out[at:at] = rng.bytes(int(rng.integers(1, 9)))
        elif kind == 4:
            del out[at:]
    return bytes(out)


def sorted_rows(images, labels):
    return sorted(zip((image.tobytes() for image in images), labels.tolist(), strict=True))
