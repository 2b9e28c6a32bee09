"""Sets in an .npz file, and image files sorted by class in folders and archives."""

import sys
import zipfile

import numpy as np
import pytest

from stbp_jax import data
from tests.data.images.making import (
    assert_same,
    attempt,
    image_files,
    made,
    mutate,
    png,
    write_folder,
    write_npz,
    write_zip,
)


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
            (
                {"x_test": np.array([{}] * 6)},
                "x_test.npy: holds Python objects, which only a pickle can",
            ),
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
            with pytest.raises(ValueError, match="m.npz: not a readable zip archive"):
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
        with pytest.raises(ValueError, match="not a name but an absolute or parent path"):
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
        with pytest.raises(ImportError, match=r"Pillow.*pip install pillow"):
            data.load("bugs", path=path)
