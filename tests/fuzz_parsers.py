"""The parsers that `tests.fuzz_files` runs, each with seeds and a function of one input."""

import functools
import gzip
import hashlib
import io
import itertools
import json
import tempfile
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import stbp_jax as sj
from stbp_jax import data
from stbp_jax.data.events import hdf5, shd
from tests.fuzz_files import MAX_BYTES


class Parser(NamedTuple):
    name: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], Any]  # an input, and a folder that its files go to


PARSERS: dict[str, Parser] = {}


def parser(name, seeds):
    def add(read):
        PARSERS[name] = Parser(name, seeds, read)
        return read

    return add


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def zipped(files, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


# IDX ---------------------------------------------------------------------------------------------

LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 3, 0, 1, 2])
IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2]) + bytes(range(12))


def idx_seeds():
    floats = bytes([0, 0, 13, 2, 0, 0, 0, 1, 0, 0, 0, 2]) + np.array([1, -2], ">f4").tobytes()
    plain = [LABELS, IMAGES, floats, bytes([0, 0, 14, 0]) + bytes(8)]
    return plain + [gzip.compress(content, mtime=0) for content in plain]


@parser("idx", idx_seeds)
def read_idx(content, folder):
    data.read_idx(write(folder / "a-idx3-ubyte", content), max_bytes=MAX_BYTES)


@parser("idx folder", idx_seeds)
def read_idx_folder(content, folder):
    for split, kind in itertools.product(("train", "t10k"), ("images-idx3", "labels-idx1")):
        file = folder / "set" / f"{split}-{kind}-ubyte"
        if not file.exists():
            write(file, IMAGES if "images" in kind else LABELS)
    write(folder / "set" / "train-images-idx3-ubyte", content)
    data.load("m", path=folder / "set", max_bytes=MAX_BYTES)


def sums_seeds():
    name, found = "a-idx3-ubyte", hashlib.sha256(LABELS).hexdigest()
    return [
        f"{found}  {name}\n".encode(),
        f"# of the set\n{found} *./{name}\r\n\\{found}  b\\\\c\\nd\n".encode(),
        f"{found.upper()}  {name}\n{found}  other/{name}".encode(),
    ]


@parser("sums", sums_seeds)
def read_sums(content, folder):
    write(folder / "SHA256SUMS", content)
    data.read_idx(write(folder / "a-idx3-ubyte", LABELS))


# Archives of arrays ------------------------------------------------------------------------------


def arrays():
    x, y = np.arange(8, dtype=np.uint8).reshape(2, 2, 2), np.array([0, 1])
    return {"x_train": x, "y_train": y, "x_test": np.asfortranarray(x), "y_test": y}


def npz_seeds():
    out = []
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, **arrays())
        out.append(stream.getvalue())
    return out


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


@parser("npz", npz_seeds)
def read_npz(content, folder):
    data.load("m", path=write(folder / "m.npz", content), max_bytes=MAX_BYTES)


def npy_seeds():
    objects = npy(np.array([{}], object), allow_pickle=True)
    records = npy(np.zeros(2, [("a", "u1"), ("b", "f4", (2,))]))
    return [*map(npy, arrays().values()), npy(np.array("a")), objects, records]


@parser("array in an npz", npy_seeds)
def read_npy(content, folder):
    members = {f"{name}.npy": npy(array) for name, array in arrays().items()}
    for name in ("x_train.npy", "y_train.npy"):
        packed = zipped(members | {name: content}, zipfile.ZIP_STORED)
        try:
            data.load("m", path=write(folder / "m.npz", packed), max_bytes=MAX_BYTES)
        except ValueError as error:
            last = error
    raise last  # one of the two is not of its kind


NETWORK = sj.serial(
    sj.dense(2, sj.lif(decay=np.full(2, 0.5))), sj.dense(1, sj.leaky_integrator(decay=0.5))
)


@functools.cache  # JAX starts with the first use, in the process that needs it
def params():
    shapes = jax.eval_shape(lambda: NETWORK.init(jax.random.key(0), (3,))[0])
    return jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes)


@functools.cache
def checkpoint():
    with tempfile.TemporaryDirectory() as folder:
        sj.save(Path(folder, "a.npz"), NETWORK, params())
        return Path(folder, "a.npz").read_bytes()


@parser("checkpoint", lambda: [checkpoint()])
def read_checkpoint(content, folder):
    sj.load(write(folder / "a.npz", content), NETWORK, params())


def header_seeds():
    with zipfile.ZipFile(io.BytesIO(checkpoint())) as archive:
        header = archive.read("header.npy")[128:]
    start = header.index(b"{")
    return [header[start:], json.dumps({"format": 1, "params": {}, "constants": None}).encode()]


@parser("header of a checkpoint", header_seeds)
def read_header(content, folder):
    with zipfile.ZipFile(io.BytesIO(checkpoint())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members |= {"header.npy": npy(np.frombuffer(content, np.uint8))}
    packed = zipped(members, zipfile.ZIP_STORED)
    sj.load(write(folder / "a.npz", packed), NETWORK, params())


# Images ------------------------------------------------------------------------------------------

FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP")


def image_seeds():
    from PIL import Image

    out = []
    for kind, shape in itertools.product(FORMATS, ((4, 5), (4, 5, 3))):
        stream = io.BytesIO()
        Image.fromarray(np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)).save(stream, kind)
        out.append(stream.getvalue())
    return out


@parser("image", image_seeds)
def read_image(content, folder):
    for split in ("train", "test"):
        write(folder / "set" / split / "a" / "0", content)
    data.load("m", path=folder / "set", max_bytes=MAX_BYTES)


def image_zip_seeds():
    png, other = image_seeds()[:2]
    names = ("train/a/0.png", "train/b/1.png", "test/a/2.png")
    return [
        zipped(dict.fromkeys(names, png), zipfile.ZIP_STORED),
        zipped(dict.fromkeys((*names, "README", "test/"), other)),
    ]


@parser("zip of images", image_zip_seeds)
def read_image_zip(content, folder):
    data.load("m", path=write(folder / "m.zip", content), max_bytes=MAX_BYTES)


# Events and sound --------------------------------------------------------------------------------

EVENTS = bytes([3, 5, 0x80, 1, 0, 33, 33, 0, 1, 1, 7, 240, 0, 0, 0, 1, 2, 0, 0, 0])


@parser("nmnist", lambda: [EVENTS, EVENTS[:5], EVENTS * 1])
def read_nmnist_file(content, folder):
    data.read_nmnist_file(write(folder / "1.bin", content), max_bytes=MAX_BYTES)


def nmnist_seeds():
    files = {"Train/3/00001.bin": EVENTS, "Train/0/2.bin": EVENTS, "Test/9/00001.bin": EVENTS[:5]}
    return [zipped(files, method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]


@parser("zip of nmnist", nmnist_seeds)
def read_nmnist(content, folder):
    data.read_nmnist(write(folder / "a.zip", content), max_bytes=MAX_BYTES)


def wav(width):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, width, 8000, 4, "NONE", ""))
        file.writeframes(bytes(range(4 * width)))
    return stream.getvalue()


def wav_seeds():
    plain = wav(2)
    more = (1).to_bytes(2, "little") + bytes.fromhex("000000001000800000aa00389b71")
    extensible = b"\xfe\xff" + plain[22:36] + bytes([22, 0, 16, 0, 4, 0, 0, 0]) + more
    sized = b"fmt " + len(extensible).to_bytes(4, "little") + extensible
    piped = plain[:40] + b"\xff" * 4 + plain[44:]
    return [*map(wav, (1, 2, 3, 4)), plain[:12] + sized + plain[36:], piped]


@parser("wav", wav_seeds)
def read_wav(content, folder):
    data.read_wav(write(folder / "a.wav", content), rate=8000, max_bytes=MAX_BYTES)


def fsdd_seeds():
    names = [f"recordings/{n}_ann_{n}.wav" for n in range(3)]
    return [zipped(dict.fromkeys(names, wav(2)), method) for method in (0, zipfile.ZIP_DEFLATED)]


@parser("zip of fsdd", fsdd_seeds)
def read_fsdd(content, folder):
    data.read_fsdd(write(folder / "a.zip", content), max_bytes=MAX_BYTES)


# HDF5 --------------------------------------------------------------------------------------------


def shd_seeds():
    import h5py

    out = []
    for version, chunks in itertools.product(("earliest", "latest"), (None, (2,))):
        stream = io.BytesIO()
        with h5py.File(stream, "w", libver=version) as file:
            for name, rows in (("times", [[0, 0.25], [0.5]]), ("units", [[3, 699], [7]])):
                dtype = h5py.vlen_dtype(np.dtype("f2" if name == "times" else "u2"))
                held = file.create_dataset(f"spikes/{name}", (2,), dtype, chunks=chunks)
                for n, row in enumerate(rows):
                    held[n] = np.array(row, "f2" if name == "times" else "u2")
            file["labels"], file["extra/speaker"] = [1, 0], [4, 11]
            file["extra/keys"] = [b"zero", b"one"]
        out.append(stream.getvalue())
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        filters = {"compression": "gzip", "shuffle": True, "fletcher32": True}
        file.create_dataset("spikes/times", data=np.array([[0, 0.25], [0.5, 1]], "f2"), **filters)
        file.create_dataset("spikes/units", data=np.array([[3, 699], [7, 8]], "u2"), **filters)
        file["labels"], file["extra/speaker"] = [1, 0], np.array([b"ann", b"bob"])
        file.create_dataset("extra/keys", data=np.array([b"zero", b"one"]), chunks=(1,))
    return [*out, stream.getvalue()]


@parser("shd", shd_seeds)
def read_shd_inside(content, folder):
    """As `read_shd`, with HDF5 in this process."""
    path = write(folder / "a.h5", content)
    separate, hdf5.read = hdf5.read, _inside
    try:
        shd.read_shd(path, max_bytes=MAX_BYTES)
    finally:
        hdf5.read = separate


def _inside(path, content, wanted, max_bytes):
    source = path if content is None else io.BytesIO(content)
    try:
        columns = hdf5.columns_of(source, wanted, max_bytes)
    except Exception as error:  # as in its process
        raise ValueError(f"{path}: {error}") from error
    return hdf5.split(columns, wanted)


@parser("shd by its process", shd_seeds)
def read_shd(content, folder):
    hdf5._SECONDS = 5
    data.read_shd(write(folder / "a.h5", content), max_bytes=MAX_BYTES)
