"""IDX files: every dtype and rank, damaged and exchanged ones."""

import gzip
import hashlib

import numpy as np
import pytest

from stbp_jax import data
from stbp_jax.data.images import idx
from tests.data.images.making import (
    CODES,
    assert_same,
    attempt,
    idx_bytes,
    made,
    make_official,
    mutate,
    write_idx_folder,
)


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
