"""Sets by name: the order of the search, TFDS, and the real sets.

No test opens a connection. Tests on real data sets need STBP_DATA and are skipped without it; all
others write small files.
"""

import gzip
import hashlib
import pathlib
import runpy
import subprocess
import sys
import types

import numpy as np
import pytest

from stbp_jax import data
from stbp_jax.data.images import idx
from stbp_jax.data.images import tfds as tfds_source
from tests.data.images.making import (
    assert_same,
    made,
    sorted_rows,
    write_idx_folder,
    write_npz,
)


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
        with pytest.raises(ImportError, match=r"scikit-learn.*pip install scikit-learn"):
            data.load("digits")


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

    @pytest.mark.heavy
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

    @pytest.mark.heavy
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
