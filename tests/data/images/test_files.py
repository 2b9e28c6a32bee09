"""Files as users have them: all forms of the names of IDX files, npz members, capitals."""

import struct
import zipfile

import numpy as np
import pytest

from stbp_jax import data
from stbp_jax.data.images import idx
from stbp_jax.data.images.dataset import make_dataset


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv("STBP_DATA", raising=False)


def arrays(seed=0, shape=(3, 2)):
    rng = np.random.default_rng(seed)
    out = []
    for n in (4, 2):
        out += [rng.integers(0, 256, (n, *shape), np.uint8), rng.integers(0, 9, n, np.uint8)]
    return out


def write(folder, names, contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(names, contents, strict=True):
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / name).write_bytes(header + array.tobytes())
    return folder


def assert_same(pair, wanted):
    for found, array in zip([part for half in pair for part in half], wanted, strict=True):
        np.testing.assert_array_equal(found, array)


def emnist(part):
    return [f"emnist-{part}-{stem.replace('t10k', 'test')}" for stem in idx.FILES]


NAMES = {
    "dot": [stem.replace("-idx", ".idx") for stem in idx.FILES],
    "capitals": [stem.upper() for stem in idx.FILES],
    "dot and capitals": ["Train-Images.IDX3-ubyte", "Train-Labels.IDX1-ubyte"]
    + ["T10K-Images.IDX3-UBYTE", "t10k-labels.idx1-ubyte"],
    "test": [stem.replace("t10k", "test") for stem in idx.FILES],
    "packed name, plain bytes": [f"{stem}.GZ" for stem in idx.FILES],
    "mixed": [idx.FILES[0], *(stem.replace("-idx", ".idx") for stem in idx.FILES[1:])],
    "emnist": emnist("letters"),
}


@pytest.mark.parametrize("form", NAMES)
def test_names_of_idx_files(tmp_path, form):
    contents = arrays()
    folder = write(tmp_path, NAMES[form], contents)
    if form == "dot":  # as Kaggle's archive unpacks: folders of the other names beside them
        for stem in idx.FILES:
            (folder / stem).mkdir()
    assert_same(data.load("mine", path=folder), contents)


def test_a_part_of_emnist_is_chosen_by_name(tmp_path, monkeypatch):
    sets = {part: arrays(n) for n, part in enumerate(("letters", "digits", "mnist"))}
    for part, contents in sets.items():
        write(tmp_path / "emnist_letters", emnist(part), contents)
    folder = tmp_path / "emnist_letters"
    for name in ("emnist_letters", "emnist-letters", "EMNIST-Letters", "letters"):
        assert_same(data.load(name, path=folder), sets["letters"])
    monkeypatch.setenv("STBP_DATA", str(tmp_path))
    assert_same(data.load("emnist_letters"), sets["letters"])
    for name in ("emnist", "mine", "emnist_balanced"):
        message = f"holds emnist_digits, emnist_letters, emnist_mnist; .* got '{name}'"
        with pytest.raises(ValueError, match=message):
            data.load(name, path=folder)


def test_one_part_is_not_taken_for_another(tmp_path):
    contents = arrays()
    write(tmp_path, emnist("letters"), contents)
    for name in ("emnist", "mine"):
        assert_same(data.load(name, path=tmp_path), contents)
    with pytest.raises(ValueError, match="holds emnist_letters; .* got 'emnist_digits'"):
        data.load("emnist_digits", path=tmp_path)


def test_plain_names_beside_emnist(tmp_path):
    contents, others = arrays(0), arrays(1)
    write(tmp_path, idx.FILES, contents)
    write(tmp_path, emnist("digits"), others)
    assert_same(data.load("mine", path=tmp_path), contents)
    assert_same(data.load("emnist_digits", path=tmp_path), others)


def test_two_files_of_one_name(tmp_path):
    contents = arrays()
    write(tmp_path, idx.FILES, contents)
    write(tmp_path, NAMES["dot"], contents)
    assert_same(data.load("mine", path=tmp_path), contents)
    write(tmp_path, NAMES["dot"], arrays(1))
    with pytest.raises(ValueError, match="train-images.* have one name but hold different data"):
        data.load("mine", path=tmp_path)


def test_official_names_with_a_dot_have_official_sums(tmp_path):
    write(tmp_path, NAMES["dot"], arrays(shape=(28, 28)))
    with pytest.raises(ValueError, match=r"train-images\.idx3-ubyte: not the official file"):
        data.load("mnist", path=tmp_path)


@pytest.mark.parametrize("held", [[], ["train-images.idx3-ubyte"], ["train-images-idx1-ubyte"]])
def test_errors_list_the_names_that_are_looked_for(tmp_path, held):
    for name in held:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FileNotFoundError) as raised:
        data.load("mine", path=tmp_path)
    for part in (*idx.FILES, ".idx for -idx", "any case", "emnist-<part>-test-"):
        assert part in str(raised.value)


@pytest.mark.parametrize("name", ["mine.NPZ", "Mine.npz"])
def test_archives_in_capitals(tmp_path, name):
    contents = arrays()
    with (tmp_path / name).open("wb") as stream:
        np.savez(stream, **dict(zip(("x_train", "y_train", "x_test", "y_test"), contents)))
    assert_same(data.load("mine", path=tmp_path), contents)


def test_zips_of_recordings_in_capitals(tmp_path):
    with zipfile.ZipFile(tmp_path / "SET.ZIP", "w") as archive:
        for split in ("Train", "Test"):
            archive.writestr(f"{split}/3/00001.bin", bytes([1, 2, 128, 0, 9]))
    train, _ = data.read_nmnist(tmp_path)
    assert train.labels.tolist() == [3]


@pytest.mark.parametrize("key", ["x_train", "y_test"])
def test_npz_member_that_is_no_array(tmp_path, key):
    path = tmp_path / "m.npz"
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez(path, **{k: v for k, v in zip(names, arrays(), strict=True) if k != key})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(key, b"plain bytes")
    with pytest.raises(ValueError, match=rf"m\.npz: arrays {key} are missing"):
        data.load("m", path=path)


@pytest.mark.parametrize(
    ("error", "message", "images", "labels"),
    [
        (ValueError, r"here: images have no pixels, got uint8 \[4, 0, 2\]", np.zeros((4, 0, 2)), 4),
        (ValueError, "here: holds no images", np.zeros((0, 3, 2)), 0),
        (ValueError, "here: 4 images but 3 labels", np.zeros((4, 3, 2)), 3),
        (TypeError, "here: images must be an array without a mask", np.ma.zeros((4, 3, 2)), 4),
        (
            TypeError,
            "here: labels must be an array without a mask",
            np.zeros((4, 3)),
            np.ma.ones(4),
        ),
    ],
)
def test_bad_arrays_of_a_set(error, message, images, labels):
    labels = np.zeros(labels, int) if isinstance(labels, int) else labels
    with pytest.raises(error, match=message):
        make_dataset(images.astype(np.uint8), labels, "here")


@pytest.mark.parametrize("name", [["mnist"], {}, 3, ("a",)])
@pytest.mark.parametrize("path", [None, "somewhere"])
def test_names_that_are_no_text(name, path):
    with pytest.raises(ValueError, match="unknown data set .* Known are digits"):
        data.load(name, path=path)
