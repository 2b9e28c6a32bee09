"""`stbp_jax.data`: every source, the order of the search, and damaged files of every kind.

No test opens a connection. Tests on real data sets need STBP_DATA and are skipped without it; all
others write small files.
"""

import gzip
import hashlib
import io
import os
import pathlib
import runpy
import struct
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest

from stbp_jax import data
from stbp_jax.data.images import idx
from stbp_jax.data.images import tfds as tfds_source

REAL = os.environ.get("STBP_DATA")
CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch):
    """No variable set and no TFDS to import: each test sets what it needs."""
    monkeypatch.delenv("STBP_DATA", raising=False)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)


@pytest.fixture
def real():
    if not REAL:
        pytest.skip("REAL DATA NOT TESTED: set STBP_DATA to the folder that holds mnist/ and so on")
    return pathlib.Path(REAL)


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


class TestDigits:
    def test_is_scikit_learns_set_scaled_and_split(self):
        from sklearn.datasets import load_digits

        train, test = data.load("digits")
        assert (train.images.shape, test.images.shape) == ((1438, 8, 8), (359, 8, 8))
        images = np.concatenate([train.images, test.images])
        labels = np.concatenate([train.labels, test.labels])
        assert images.min() == 0
        assert images.max() == 255
        raw, raw_labels = load_digits(return_X_y=True)
        back = np.round(images.reshape(-1, 64) * (16 / 255)).astype(int)
        ours = sorted((*row, label) for row, label in zip(back.tolist(), labels, strict=True))
        theirs = zip(raw.astype(int).tolist(), raw_labels, strict=True)
        assert ours == sorted((*row, label) for row, label in theirs)

    def test_order_never_changes(self):
        (images, labels), (_, test_labels) = data.load("digits")
        assert labels[:12].tolist() == [2, 8, 2, 6, 6, 7, 1, 9, 8, 5, 2, 8]
        assert hashlib.sha256(images.tobytes()).hexdigest().startswith("d7e6c51158c144b7")
        assert np.bincount(test_labels, minlength=10).min() >= 25

    def test_without_scikit_learn(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
        with pytest.raises(ImportError, match=r"scikit-learn.*pip install stbp_jax\[data\]"):
            data.load("digits")


class TestReadIdx:
    @pytest.mark.parametrize("dtype", CODES)
    @pytest.mark.parametrize("shape", [(), (7,), (3, 0, 2), (2, 3, 4), (2, 1, 3, 1, 2)])
    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    def test_every_dtype_and_rank(self, tmp_path, dtype, shape, pack):
        array = np.asarray(np.random.default_rng(0).normal(0, 50, shape)).astype(dtype)
        path = tmp_path / "any name"
        path.write_bytes(pack(idx_bytes(array)))
        out = data.read_idx(path)
        assert out.dtype == array.dtype
        assert out.dtype.isnative
        assert out.flags.writeable
        np.testing.assert_array_equal(out, array)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "not an IDX file"),
            (b"\0\0\x08", "not an IDX file"),
            (b"\x89PNG\r\n\x1a\n", r"not an IDX file: it starts with bytes \[89 50 4e 47\]"),
            (b"\0\0\x0a\1\0\0\0\1\7", "not an IDX file"),
            (b"\0\0\x08\3\0\0\0\1", "truncated: a header of rank 3 takes 16 bytes, got 8"),
            (b"\0\0\x08\1\0\0\0\5abc", r"truncated: .*uint8 \[5\], 5 bytes of data, got 3"),
            (b"\0\0\x08\1\0\0\0\5abcdefg", "2 bytes too many at the end"),
            (b"\0\0\x0e\3" + b"\xff" * 12, "truncated"),
            (b"\0\0\x08\3" + b"\0" * 4 + b"\xff" * 8, None),  # no numbers, enormous sides
            (b"\0\0\x08\x41" + b"\0" * 260, "rank 65"),
            (
                gzip.compress(b"\0\0\x08\1\0\0\0\5abcde", mtime=0)[:-9],
                "gzip file is truncated or damaged",
            ),
            (gzip.compress(b"\0\0\x08\1\0\0\0\5abcde", mtime=0) + b"tail", "truncated or damaged"),
        ],
    )
    def test_errors_name_the_file(self, tmp_path, content, message):
        path = tmp_path / "some-idx1-ubyte"
        path.write_bytes(content)
        if message is None:
            out = attempt(data.read_idx, path)
            assert "some-idx1-ubyte" in str(out) if isinstance(out, ValueError) else out.size == 0
            return
        with pytest.raises(ValueError, match=f"some-idx1-ubyte: .*{message}"):
            data.read_idx(path)

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="absent"):
            data.read_idx(tmp_path / "absent")

    @pytest.mark.parametrize("seed", range(8))
    def test_fuzz(self, tmp_path, seed):
        """A mutated file raises an error, or is read as exactly the numbers in its bytes."""
        rng = np.random.default_rng(seed)
        path = tmp_path / "mutated"
        read = 0
        for n in range(100):
            dtype = list(CODES)[n % len(CODES)]
            shape = tuple(rng.integers(1, 5, rng.integers(0, 4)))
            content = idx_bytes(np.asarray(rng.integers(0, 100, shape)).astype(dtype))
            if packed := n % 2:
                content = gzip.compress(content, mtime=0)
            content = mutate(rng, content)
            path.write_bytes(content)
            out = attempt(data.read_idx, path)
            if isinstance(out, ValueError):
                assert "mutated" in str(out)
                continue
            read += 1
            plain = gzip.decompress(content) if packed and content[:2] == b"\x1f\x8b" else content
            assert idx_bytes(out) == plain
        assert 0 < read < 100


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


class TestIdxFolder:
    @pytest.mark.parametrize("suffix", ["", ".gz"])
    def test_own_name(self, tmp_path, suffix):
        arrays = made(shape=(5, 7))
        folder = write_idx_folder(tmp_path / "mine", arrays, suffix=suffix)
        assert_same(data.load("mine", path=folder), arrays)
        assert_same(data.load("mine", path=str(folder)), arrays)

    def test_official_name_gz_plain_and_packed_anew(self, tmp_path, monkeypatch):
        arrays = made()
        plain = write_idx_folder(tmp_path / "plain", arrays)
        make_official(monkeypatch, "mnist", plain)
        assert_same(data.load("mnist", path=plain), arrays)
        for level in (1, 9):
            folder = tmp_path / f"level {level}"
            folder.mkdir()
            for stem in idx.FILES:
                packed = gzip.compress((plain / stem).read_bytes(), level, mtime=level)
                (folder / f"{stem}.gz").write_bytes(packed)
            assert_same(data.load("mnist", path=folder), arrays)

    @pytest.mark.parametrize("suffix", ["", ".gz"])
    def test_bad_sum(self, tmp_path, suffix):
        folder = write_idx_folder(tmp_path, made(), suffix=suffix)
        path = folder / f"train-images-idx3-ubyte{suffix}"
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        sums = idx.OFFICIAL["mnist"]["train-images-idx3-ubyte"]
        wanted = sums.gz if suffix else sums.plain
        with pytest.raises(ValueError, match="not the official file") as raised:
            data.load("mnist", path=folder)
        for part in (str(path), found, wanted, "Get the file again", "under another name"):
            assert part in str(raised.value)

    def test_files_of_the_wrong_set_are_named(self, tmp_path, monkeypatch):
        mnist = write_idx_folder(tmp_path / "a", made(seed=1))
        fashion = write_idx_folder(tmp_path / "b", made(seed=2))
        make_official(monkeypatch, "mnist", mnist)
        make_official(monkeypatch, "fashion_mnist", fashion)
        with pytest.raises(ValueError, match="official fashion_mnist file train-images-idx3"):
            data.load("mnist", path=fashion)

    def test_image_file_in_place_of_labels(self, tmp_path):
        x, y, x_test, y_test = made()
        folder = write_idx_folder(tmp_path, [x, x, x_test, y_test])
        message = r"train-labels-idx1-ubyte: mislabeled: .*labels, uint8 \[N\].*\[12, 28, 28\]"
        with pytest.raises(ValueError, match=message):
            data.load("mine", path=folder)
        folder = write_idx_folder(tmp_path, [x, y, y_test, y_test])
        with pytest.raises(ValueError, match="t10k-images-idx3-ubyte: mislabeled"):
            data.load("mine", path=folder)
        folder = write_idx_folder(tmp_path, [x.astype(np.int16), y, x_test, y_test])
        with pytest.raises(ValueError, match="mislabeled: .*int16"):
            data.load("mine", path=folder)

    def test_counts_differ(self, tmp_path):
        x, y, x_test, y_test = made()
        folder = write_idx_folder(tmp_path, [x, y[:-1], x_test, y_test])
        with pytest.raises(ValueError, match=r"train-\*: 12 images but 11 labels"):
            data.load("mine", path=folder)

    def test_labels_out_of_range(self, tmp_path, monkeypatch):
        x, y, x_test, y_test = made()
        folder = write_idx_folder(tmp_path, [x, y, x_test, y_test + 9])
        make_official(monkeypatch, "mnist", folder)
        with pytest.raises(ValueError, match=r"'mnist'.*test set must lie in 0\.\.9, got 14"):
            data.load("mnist", path=folder)

    def test_empty_set_and_shapes_that_differ(self, tmp_path):
        x, y, x_test, y_test = made()
        folder = write_idx_folder(tmp_path, [x, y, x_test[:0], y_test[:0]])
        with pytest.raises(ValueError, match=r"t10k-\*: holds no images"):
            data.load("mine", path=folder)
        folder = write_idx_folder(tmp_path, [x, y, x_test[:, 1:], y_test])
        with pytest.raises(ValueError, match=r"test set have .*\[27, 28\], expected \[28, 28\]"):
            data.load("mine", path=folder)

    def test_some_files_missing(self, tmp_path):
        folder = write_idx_folder(tmp_path, made())
        (folder / idx.FILES[1]).unlink()
        with pytest.raises(FileNotFoundError, match=r"missing: train-labels-idx1-ubyte \(look"):
            data.load("mine", path=folder)


class TestNpz:
    def test_file_and_folder(self, tmp_path):
        x, y, x_test, y_test = made(shape=(6, 6, 3))
        arrays = [x, y.astype(np.int64), x_test, y_test.astype(np.uint64)]
        path = write_npz(tmp_path / "mine" / "mine.npz", arrays)
        assert_same(data.load("mine", path=path), arrays)
        assert_same(data.load("mine", path=path.parent), arrays)

    def test_single_channel_is_dropped(self, tmp_path):
        x, y, x_test, y_test = made()
        path = write_npz(tmp_path / "m.npz", [x[..., None], y, x_test[..., None], y_test])
        assert_same(data.load("m", path=path), [x, y, x_test, y_test])

    def test_known_name_has_known_images(self, tmp_path):
        path = write_npz(tmp_path / "m.npz", made(shape=(32, 32)))
        with pytest.raises(ValueError, match=r"'mnist'.*\[32, 32\], expected \[28, 28\]"):
            data.load("mnist", path=path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"x_train": np.zeros((12, 4, 4))}, r"\*_train: images must be uint8.*float64 \[12, 4"),
            ({"x_test": np.zeros(6, np.uint8)}, r"\*_test: images must be uint8 \[N, \.\.\.\]"),
            ({"y_train": np.zeros(12)}, r"labels must be integers \[N\], got float64 \[12\]"),
            ({"y_train": np.zeros((12, 1), int)}, r"got int64 \[12, 1\]"),
            ({"y_test": np.full(6, -1)}, "class indices from 0, got -1 to -1"),
            ({"y_test": np.full(6, 2**31)}, "class indices from 0"),
            ({"y_test": np.zeros(5, int)}, "6 images but 5 labels"),
            ({"y_test": None}, "arrays y_test are missing.*got x_test, x_train, y_train"),
            ({"x_test": np.array([{}] * 6)}, "not a readable .npz file .*allow_pickle"),
        ],
    )
    def test_bad_arrays(self, tmp_path, change, message):
        names = ("x_train", "y_train", "x_test", "y_test")
        arrays = dict(zip(names, made(shape=(4, 4)), strict=True)) | change
        np.savez(tmp_path / "m.npz", **{k: v for k, v in arrays.items() if v is not None})
        with pytest.raises(ValueError, match=f"m.npz.*{message}"):
            data.load("m", path=tmp_path / "m.npz")

    def test_not_an_npz(self, tmp_path):
        path = tmp_path / "m.npz"
        np.save(tmp_path / "m.npy", np.zeros(3))
        whole = write_npz(tmp_path / "whole.npz", made(shape=(4, 4))).read_bytes()
        for content in (b"", b"text", (tmp_path / "m.npy").read_bytes(), whole[: len(whole) // 2]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match="m.npz: not a readable .npz file"):
                data.load("m", path=path)


class TestImageFiles:
    @pytest.mark.parametrize("shape", [(4, 5, 3), (4, 5)])
    def test_folder_zip_and_two_zips_give_the_same(self, tmp_path, shape):
        files = image_files(shape)
        folder = write_folder(tmp_path / "folder", files)
        whole = write_zip(tmp_path / "whole.zip", dict(reversed(files.items())))
        for split in ("train", "test"):
            part = {k: v for k, v in files.items() if k.startswith(split)}
            write_zip(tmp_path / "two" / f"bugs_{split}.zip", part)
        write_zip(tmp_path / "one" / "bugs.zip", files)
        places = (folder, whole, tmp_path / "two", tmp_path / "one")
        first, *others = [data.load("bugs", path=place) for place in places]
        for other in others:
            assert_same(other, [array for part in first for array in part])
        train, test = first
        assert train.images.shape == (12, *shape)
        assert test.images.shape == (6, *shape)
        for part, split in ((train, "train"), (test, "test")):
            first_pixels = part.images.reshape(len(part.labels), -1)[:, 0]
            np.testing.assert_array_equal(first_pixels, part.labels)
            stored = sorted(p.tobytes() for k, p in files.items() if k.startswith(split))
            assert sorted(image.tobytes() for image in part.images) == stored

    def test_any_first_part_mixes_the_classes(self, tmp_path):
        files = image_files((2, 2), train=30)
        train, _ = data.load("bugs", path=write_zip(tmp_path / "b.zip", files))
        assert set(train.labels[:15]) == {0, 1, 2}

    def test_whole_numbers_are_classes_by_value(self, tmp_path):
        names = [str(n) for n in range(12)]
        train, _ = data.load(
            "n", path=write_zip(tmp_path / "n.zip", image_files((2, 2), names, 1, 1))
        )
        np.testing.assert_array_equal(train.images[:, 0, 0], train.labels)

    def test_hidden_and_foreign_files_are_passed_over(self, tmp_path):
        files = image_files((2, 2))
        extra = {
            "README.txt": b"x",
            "__MACOSX/train/ant/._0000.png": b"x",
            "train/ant/.DS_Store": b"x",
        }
        folder = write_folder(tmp_path / "f", files | extra)
        archive = write_zip(tmp_path / "f.zip", files | extra | {"train/": b"", "train/ant/": b""})
        for place in (folder, archive):
            assert len(data.load("bugs", path=place)[0].labels) == 12

    @pytest.mark.parametrize(
        ("extra", "message"),
        [
            ({"train/ant/notes.txt": b"hello"}, "notes.txt: not a readable image"),
            ({"test/bee/cut.png": png(np.zeros((4, 5, 3), np.uint8))[:-30]}, "cut.png: not a read"),
            (
                {"train/bee/big.png": np.zeros((4, 6, 3), np.uint8)},
                r"big.png.*\[4, 6, 3\].*4, 5",
            ),
            (
                {"test/bee/gray.png": np.zeros((4, 5), np.uint8)},
                r"gray.png.*\[4, 5\].*one size",
            ),
            ({"train/bee/a.png": np.zeros((4, 5, 4), np.uint8)}, "a.png: color mode RGBA, exp"),
            ({"train/bee/w.png": np.zeros((4, 5), np.uint16)}, "w.png: color mode I;16"),
            ({"train/bee/deep/x.png": np.zeros((4, 5, 3), np.uint8)}, "one folder deep"),
            (
                {"train/x.png": np.zeros((4, 5, 3), np.uint8)},
                "x.png: expected train/<class>/",
            ),
            ({"test/dog/x.png": np.zeros((4, 5, 3), np.uint8)}, "'dog' has no training.*ant, bee"),
        ],
    )
    def test_bad_files(self, tmp_path, extra, message):
        files = image_files() | extra
        for place in (write_folder(tmp_path / "f", files), write_zip(tmp_path / "f.zip", files)):
            with pytest.raises(ValueError, match=message):
                data.load("bugs", path=place)

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_a_split_is_missing(self, tmp_path, split):
        files = {k: v for k, v in image_files().items() if not k.startswith(split)}
        for place in (write_folder(tmp_path / "f", files), write_zip(tmp_path / "f.zip", files)):
            with pytest.raises(ValueError, match=f"no image under {split}/"):
                data.load("bugs", path=place)

    def test_half_of_two_zips(self, tmp_path):
        write_zip(tmp_path / "bugs_train.zip", image_files())
        with pytest.raises(FileNotFoundError, match="bugs_test.zip is missing"):
            data.load("bugs", path=tmp_path)

    @pytest.mark.parametrize(
        "name", ["/train/ant/x.png", "train/ant/../../../x.png", "..\\x.png", "C:/train/x.png"]
    )
    def test_zip_entries_that_point_outside(self, tmp_path, name):
        path = write_zip(tmp_path / "b.zip", image_files() | {name: b""})
        with pytest.raises(ValueError, match="points outside the archive"):
            data.load("bugs", path=path)

    @pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
    def test_zip_entry_twice(self, tmp_path):
        path = write_zip(tmp_path / "b.zip", image_files())
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("train/ant/0000.png", b"")
        with pytest.raises(ValueError, match=r"train/ant/0000.png: occurs twice"):
            data.load("bugs", path=path)

    @pytest.mark.parametrize("kind", ["zip", "npz"])
    def test_fuzzed_archives_raise_value_errors_alone(self, tmp_path, kind):
        path = tmp_path / f"mutated.{kind}"
        if kind == "zip":
            write_zip(path, image_files((3, 3), train=1, test=1))
        else:
            write_npz(path, made(shape=(2, 2)))
        whole = path.read_bytes()
        rng = np.random.default_rng(0)
        refused = 0
        for _ in range(150):
            path.write_bytes(mutate(rng, whole))
            out = attempt(data.load, "m", path=path)
            if isinstance(out, ValueError):
                refused += 1
                assert "mutated" in str(out)
        assert refused > 50

    def test_without_pillow(self, tmp_path, monkeypatch):
        path = write_zip(tmp_path / "b.zip", image_files())
        monkeypatch.setitem(sys.modules, "PIL", None)
        with pytest.raises(ImportError, match=r"Pillow.*pip install stbp_jax\[data\]"):
            data.load("bugs", path=path)


class StubBuilder:
    """A TFDS builder over arrays; `events` logs its calls."""

    def __init__(self, arrays, events, data_dir, *, prepared, fault=None, random_access=True):
        self.arrays, self.events, self.data_dir = arrays, events, f"{data_dir}/stub/1.0.0"
        self.prepared, self.fault, self.random_access = prepared, fault, random_access

    def is_prepared(self):
        return self.prepared

    def download_and_prepare(self, *, file_format=None):
        self.events.append("download")
        if self.fault:
            raise self.fault
        self.prepared = True

    def columns(self, split):
        x, y = self.arrays[:2] if split == "train" else self.arrays[2:]
        return {"image": x[..., None], "label": y.astype(np.int64)}

    def as_data_source(self, split):
        if not self.random_access:
            raise NotImplementedError("tfrecord")
        columns = self.columns(split)

        class Rows:
            def __len__(self):
                return len(columns["label"])

            def __getitems__(self, keys):
                return [{k: v[key] for k, v in columns.items()} for key in keys]

        return Rows()

    def as_dataset(self, split, batch_size):
        assert batch_size == -1
        self.events.append("as_dataset")
        if self.fault:
            raise self.fault
        return self.columns(split)


@pytest.fixture
def stub_tfds(monkeypatch):
    """Put a stub in place of tensorflow-datasets; return the log of its calls."""

    def install(arrays, *, tensorflow=True, **options):
        events = []

        def builder(name, data_dir):
            events.append((name, data_dir))
            return StubBuilder(arrays, events, data_dir, **options)

        module = types.ModuleType("tensorflow_datasets")
        module.builder, module.as_numpy = builder, lambda x: x
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
        monkeypatch.setattr(tfds_source, "_installed", lambda package: tensorflow)
        return events

    return install


class TestTfds:
    @pytest.mark.parametrize("random_access", [True, False])
    def test_prepared_copy_is_read_without_download(self, stub_tfds, monkeypatch, random_access):
        arrays = made(train=2345, test=10)  # more than two chunks
        events = stub_tfds(arrays, prepared=True, random_access=random_access)
        monkeypatch.setenv("TFDS_DATA_DIR", "/some/where")
        assert_same(data.load("mnist"), arrays)
        assert events[0] == ("mnist", "/some/where")
        assert "download" not in events

    def test_download_comes_last(self, stub_tfds):
        arrays = made()
        events = stub_tfds(arrays, prepared=False)
        assert_same(data.load("fashion_mnist"), arrays)
        assert events == [("fashion_mnist", None)] * 2 + ["download"]

    def test_no_download_without_tensorflow(self, stub_tfds):
        events = stub_tfds(made(), prepared=False, tensorflow=False)
        with pytest.raises(FileNotFoundError, match="download only if tensorflow is installed"):
            data.load("mnist")
        assert "download" not in events

    def test_no_network(self, stub_tfds):
        stub_tfds(made(), prepared=False, fault=ConnectionError("no route\nmore"))
        with pytest.raises(
            FileNotFoundError, match=r"(?m)3\..*failed with ConnectionError: no route$"
        ) as e:
            data.load("mnist")
        assert "2. TFDS cache: no prepared copy at " in str(e.value)

    def test_copy_that_needs_tensorflow(self, stub_tfds):
        missing = ModuleNotFoundError("No module named 'tensorflow'")
        stub_tfds(made(), prepared=True, random_access=False, tensorflow=False, fault=missing)
        with pytest.raises(FileNotFoundError, match="needs a package .*'tensorflow'"):
            data.load("mnist")

    def test_damaged_copy(self, stub_tfds):
        stub_tfds(made(), prepared=True, random_access=False, fault=IndexError("bad record"))
        with pytest.raises(ValueError, match="stub/1.0.0: TFDS cannot read .*bad record.*remove"):
            data.load("mnist")

    def test_wrong_images_and_labels(self, stub_tfds):
        stub_tfds(made(shape=(20, 20)), prepared=True)
        with pytest.raises(ValueError, match=r"'mnist' from TFDS cache.*\[20, 20\]"):
            data.load("mnist")
        x, y, x_test, y_test = made()
        stub_tfds([x, y + 1, x_test, y_test], prepared=True)
        with pytest.raises(ValueError, match=r"training set must lie in 0\.\.9, got 10"):
            data.load("mnist")


class TestSearch:
    def test_path_then_variable_then_tfds(self, tmp_path, monkeypatch, stub_tfds):
        by_path, by_variable, by_tfds = (made(seed=n) for n in range(3))
        events = stub_tfds(by_tfds, prepared=True)
        assert_same(data.load("mnist"), by_tfds)
        monkeypatch.setenv("STBP_DATA", str(tmp_path / "root"))
        assert_same(data.load("mnist"), by_tfds)  # the folder is not there yet
        write_npz(tmp_path / "root" / "mnist" / "mnist.npz", by_variable)
        events.clear()
        assert_same(data.load("mnist"), by_variable)
        path = write_npz(tmp_path / "elsewhere.npz", by_path)
        assert_same(data.load("mnist", path=path), by_path)
        assert not events  # TFDS is not even imported

    def test_path_is_the_only_place_looked_into(self, tmp_path, monkeypatch, stub_tfds):
        stub_tfds(made(), prepared=True)
        for path in (tmp_path / "absent", tmp_path):
            with pytest.raises(FileNotFoundError, match=f"{path} .*No other place"):
                data.load("mnist", path=path)
        (tmp_path / "x.txt").write_text("")
        with pytest.raises(ValueError, match=r"x.txt: expected a folder, an .npz file or a .zip"):
            data.load("mnist", path=tmp_path / "x.txt")

    def test_damage_is_not_passed_over(self, tmp_path, monkeypatch, stub_tfds):
        stub_tfds(made(), prepared=True)
        monkeypatch.setenv("STBP_DATA", str(tmp_path))
        write_idx_folder(tmp_path / "mnist", made())
        with pytest.raises(ValueError, match="not the official file"):
            data.load("mnist")

    def test_digits_from_a_path(self, tmp_path):
        arrays = made(shape=(8, 8))
        assert_same(data.load("digits", path=write_npz(tmp_path / "d.npz", arrays)), arrays)

    def test_own_name_under_the_variable(self, tmp_path, monkeypatch):
        monkeypatch.setenv("STBP_DATA", str(tmp_path))
        arrays = made(shape=(3, 3))
        write_npz(tmp_path / "mine" / "mine.npz", arrays)
        assert_same(data.load("mine"), arrays)

    @pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
    def test_nothing_found(self, tmp_path, monkeypatch, name):
        with pytest.raises(FileNotFoundError) as raised:
            data.load(name)
        lines = str(raised.value).splitlines()
        assert lines[0] == f"data set '{name}' was not found. Looked into, in this order:"
        assert lines[1] == f"  1. $STBP_DATA/{name}/: the environment variable STBP_DATA is not set"
        assert lines[2].startswith("  2. TFDS cache: tensorflow-datasets cannot be imported")
        assert lines[3].startswith("  3. TFDS download: tensorflow-datasets cannot be imported")
        rest = "\n".join(lines[4:])
        for advice in ("STBP_DATA", "path=", "pip install tensorflow-datasets", 'load("digits")'):
            assert advice in rest
        assert ("train-images-idx3-ubyte.gz" in rest) == (name != "cifar10")
        monkeypatch.setenv("STBP_DATA", str(tmp_path))
        with pytest.raises(FileNotFoundError, match=f"{tmp_path / name} does not exist"):
            data.load(name)
        (tmp_path / name).mkdir()
        with pytest.raises(FileNotFoundError, match=f"{tmp_path / name} holds neither the four"):
            data.load(name)

    @pytest.mark.parametrize(
        ("name", "near"),
        [("mnits", "mnist"), ("Fashion-MNIST", "fashion_mnist"), ("CIFAR-10", "cifar10")],
    )
    def test_near_misses(self, name, near):
        with pytest.raises(ValueError, match=f"unknown data set '{name}'; did you mean '{near}'"):
            data.load(name)

    @pytest.mark.parametrize("name", ["imagenet", "", "..", "../mnist", "a/b", None])
    def test_unknown_names(self, tmp_path, monkeypatch, name):
        monkeypatch.setenv("STBP_DATA", str(tmp_path))
        write_npz(tmp_path / "a" / "b.npz", made())
        with pytest.raises(ValueError, match="unknown data set .* Known are digits, mnist, fash"):
            data.load(name)

    def test_arrays_can_be_written_to(self, tmp_path):
        arrays = made(shape=(3, 3))
        sets = data.load("mine", path=write_idx_folder(tmp_path, arrays))
        for part in sets:
            part.images[0] = 0
            part.labels[0] = 0

    def test_imports_no_framework(self):
        """The package imports NumPy alone; a stub replaces `stbp_jax/__init__.py`."""
        package = pathlib.Path(data.__file__).parent.parent
        code = f"""
import sys, types
top = types.ModuleType("stbp_jax"); top.__path__ = [{str(package)!r}]
sys.modules["stbp_jax"] = top
import stbp_jax.data
heavy = {{"jax", "sklearn", "PIL", "tensorflow_datasets", "tensorflow"}} & set(sys.modules)
assert not heavy, heavy
"""
        subprocess.run([sys.executable, "-c", code], check=True)


class TestRealData:
    @pytest.mark.parametrize(
        ("name", "counts", "mean"),
        [
            ("mnist", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], 0.1307),
            ("fashion_mnist", [6000] * 10, 0.2860),
        ],
    )
    def test_idx(self, real, monkeypatch, name, counts, mean):
        monkeypatch.setenv("STBP_DATA", str(real))
        train, test = data.load(name)
        assert train.images.shape == (60000, 28, 28)
        assert test.images.shape == (10000, 28, 28)
        assert np.bincount(train.labels).tolist() == counts
        assert train.images.mean() / 255 == pytest.approx(mean, abs=1e-4)

    @pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
    def test_sums_of_packed_and_plain(self, real, name):
        for stem in idx.FILES:
            raw = (real / name / f"{stem}.gz").read_bytes()
            sums = [hashlib.sha256(b).hexdigest() for b in (raw, gzip.decompress(raw))]
            assert tuple(sums) == idx.OFFICIAL[name][stem]

    @pytest.mark.slow
    def test_cifar10(self, real, monkeypatch):
        monkeypatch.setenv("STBP_DATA", str(real))
        train, test = data.load("cifar10")
        assert train.images.shape[1:] == test.images.shape[1:] == (32, 32, 3)
        for part in (train, test):
            counts = np.bincount(part.labels, minlength=10)
            assert (counts == len(part.labels) // 10).all()
        # The means of all 50,000 training images; the part here is a random one.
        means = train.images.mean((0, 1, 2)) / 255
        np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=5e-3)

    @pytest.mark.slow
    def test_tfds_copy_equals_idx(self, real, monkeypatch, tmp_path):
        monkeypatch.delitem(sys.modules, "tensorflow_datasets")
        pytest.importorskip("tensorflow_datasets")
        seed = real / "seed_tfds_cache.py"
        with monkeypatch.context() as patch:
            arguments = [str(seed), str(tmp_path), "--datasets", "mnist", "--prepare"]
            patch.setattr(sys, "argv", arguments)
            runpy.run_path(str(seed), run_name="__main__")
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
        ours = data.load("mnist", path=real / "mnist")
        theirs = data.load("mnist")
        for (images, labels), (x, y) in zip(ours, theirs, strict=True):
            assert x.shape == images.shape
            assert sorted_rows(x, y) == sorted_rows(images, labels)  # TFDS shuffles the records


def sorted_rows(images, labels):
    return sorted(zip((image.tobytes() for image in images), labels.tolist(), strict=True))
