"""Daimler's pedestrian patches as studies read them."""

import numpy as np
import pytest

from experiments.datasets import pedestrians
from experiments.datasets.pedestrians import load, load_trials
from experiments.engine.config import Config, Data, UsageError

SETS = ("1", "2", "3", "T1", "T2")
COUNT = 40


def stamped(place):
    """Dark patches with one bright row: its place names the set, also after resizing."""
    patches = np.zeros((COUNT, 36, 18), np.uint8)
    patches[:, 6 * place - 3] = 200
    return patches


def write(root, **changes):
    """A file of the real layout."""
    arrays = {
        f"set{name}_{kind}": stamped(place)
        for place, name in enumerate(SETS, 1)
        for kind in ("ped", "nonped")
    }
    arrays |= changes
    path = root / pedestrians.FILE
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("STBP_DATA", str(tmp_path))
    write(tmp_path)
    return tmp_path


def few(**changes):
    config = Config(Data(pedestrians.NAME, num_train=50, num_test=30, validation=10))
    return config.but(**changes)


def origins(images):
    """The number, 1 to 5, of the set of each image."""
    rows = images.sum(2, dtype=int).argmax(1) * 36 / 28
    return set(np.round((rows + 3) / 6).astype(int).tolist())


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_validation_and_test_come_from_other_sets(root, seed):
    train, test = load(few(), seed)
    assert train.images.shape == (50, 28, 28)
    assert train.images.dtype == np.uint8
    assert test.images.shape == (30, 28, 28)
    held = 1 + seed % 3
    assert origins(train.images[-10:]) == {held}
    assert origins(train.images[:-10]) == {1, 2, 3} - {held}
    assert origins(test.images) == {4, 5}


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_trials_read_no_test_set(root, seed):
    write(root, setT1_ped=None, setT1_nonped=None, setT2_ped=None, setT2_nonped=None)
    train, held_out = load_trials(few(validation=0), seed)
    assert (len(train.labels), len(held_out.labels)) == (50, 30)
    assert origins(held_out.images) == {1 + seed % 3}
    assert origins(train.images) == {1, 2, 3} - {1 + seed % 3}
    train, held_out = load_trials(few(num_train=0, num_test=0, limit=100), seed)
    assert (len(train.labels), len(held_out.labels)) == (100, 2 * COUNT)


def test_whole_sets(root):
    train, test = load(few(num_train=0, num_test=0, validation=0), 0)
    assert len(train.labels) == 3 * 2 * COUNT
    assert len(test.labels) == 2 * 2 * COUNT
    assert train.labels.mean() == test.labels.mean() == 0.5
    train, _ = load(few(num_train=0), 0)
    assert len(train.labels) == 2 * 2 * COUNT + 10


def test_limit_bounds_both(root):
    train, test = load(few(limit=20), 0)
    assert (len(train.labels), len(test.labels)) == (20, 20)
    assert origins(train.images) == {1, 2, 3}


def test_each_example_is_drawn_once_with_its_label(root):
    stamps = np.zeros((16, 36, 18), np.uint8)
    stamps[range(16), :, range(1, 17)] = 200
    write(root, set1_ped=stamps[:8], set1_nonped=stamps[8:])
    train, _ = load(few(num_train=0, validation=1), 1)
    columns = train.images[:, 14].argmax(1)
    of_first = train.images.min(1).max(1) > 200  # a whole column is bright
    assert of_first.sum() == len(set(columns[of_first].tolist())) == 16
    assert (train.labels[of_first] == (columns[of_first] < 14)).all()


def test_resize_is_upright_and_exposure_does_not_matter(root):
    ramp = np.broadcast_to(np.arange(36)[:, None], (COUNT, 36, 18))
    both = {"ped": (40 + 2 * ramp).astype(np.uint8), "nonped": (100 + 4 * ramp).astype(np.uint8)}
    write(root, **{f"set{name}_{kind}": both[kind] for name in SETS for kind in both})
    train, _ = load(few(), 0)
    assert np.ptp(train.images.astype(int), axis=0).max() <= 1
    image = train.images[0].astype(float)
    assert (image == image[:, :1]).all()
    assert (np.diff(image[1:-1, 0]) > 0).all()
    assert image.mean() == pytest.approx(127.5, abs=1)
    assert image.std() == pytest.approx(255 / 4, abs=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_train": 9}, "validation must be less than the 9 training examples, got 10"),
        ({"num_train": 500}, "num_train without validation must be from 0 to 160, got 490"),
        ({"num_test": 500}, "num_test must be from 0 to 160, got 500"),
        ({"validation": 81}, "validation must be from 0 to 80, got 81"),
        ({"validation": -1}, "validation must be at least 0, got -1"),
        ({"name": "mnist"}, "data.name must be daimler_pedestrian in this variant, got mnist"),
    ],
)
def test_sizes_that_cannot_be(root, changes, message):
    with pytest.raises(UsageError, match=message):
        load(few(**changes), 0)


def test_a_file_that_lacks_what_is_needed(root, monkeypatch):
    path = write(root, setT1_ped=None)
    with pytest.raises(UsageError, match=rf"{path}: array setT1_ped is missing; the file holds se"):
        load(few(), 0)
    write(root, set2_ped=np.zeros((4, 18, 36), np.uint8))
    with pytest.raises(UsageError, match=r"set2_ped must be uint8 \[N, 36, 18\], got uint8 \[4, 1"):
        load(few(), 0)
    path.write_bytes(b"no archive")
    with pytest.raises(UsageError, match=rf"{path}: not a readable .npz file"):
        load(few(), 0)
    path.unlink()
    with pytest.raises(UsageError, match=rf"{path} does not exist"):
        load(few(), 0)
    monkeypatch.delenv("STBP_DATA")
    with pytest.raises(UsageError, match="set STBP_DATA to a folder that holds daimler"):
        load(few(), 0)


def test_real_patches_go_by_seed(data_dir):
    config = few(num_train=1509, num_test=631, validation=150)
    first, again, other = (load(config, seed) for seed in (0, 0, 1))
    assert (len(first[0].labels), len(first[1].labels)) == (1509, 631)
    for one, same, another in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one.images, same.images)
        np.testing.assert_array_equal(one.labels, same.labels)
        assert (one.images != another.images).any()
        assert 0.4 < one.labels.mean() < 0.6
