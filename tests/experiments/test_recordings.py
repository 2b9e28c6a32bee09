"""Recordings in the studies: the simulated camera, folds, moved events, whole sets."""

import jax
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.datasets import recordings, saccades
from experiments.datasets.recordings import COUNTS, SPIKES
from experiments.datasets.saccades import DURATION, PATH, Camera, record
from experiments.engine import models, rows, runs, studies
from experiments.engine.config import Config, Data, UsageError
from experiments.report import frames
from experiments.studies.simulated_recordings import figures
from stbp_jax.data import PAD, Recordings, unpack_events

QUIET = Camera(noise=(0.0, 0.0), hot_pixels=0.0)
ADDRESSES = 34 * 34 * 2
CONFIG = Config(Data(recordings.SUBSET))
SIMULATED = CONFIG.but(name=recordings.SIMULATED)


def bar(ink=255):
    """A horizontal bar: the saccades move its edges up and down."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[:, 12:16, 6:22] = ink
    return image


def number(events):
    return int((events != PAD).sum())


# The simulated camera -----------------------------------------------------------------------------


def test_simulated_recordings_go_by_seed():
    several = np.concatenate([bar(), bar(100), bar()])
    first, again, other = record(several, 3), record(several, 3), record(several, 4)
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.uint32
    assert first.shape[0] == 3
    assert number(first) != number(other)
    assert number(first[0]) != number(first[2])  # each has a draw of its own


def test_simulated_events_are_in_order_and_on_the_sensor():
    (row,) = record(bar(), 0)
    events = unpack_events(row)
    assert (np.diff(events.times) >= 0).all()
    assert events.times[0] >= 0
    assert events.times[-1] < 1000 * DURATION
    assert (row[: len(events.times)] != PAD).all()  # no gap before the padding
    for along in (events.x, events.y):
        assert along.min() >= 0
        assert along.max() < 34


def test_a_blank_image_gives_noise_alone():
    blank = np.zeros((20, 28, 28), np.uint8)
    assert number(record(blank, 0, QUIET)) == 0
    noisy = Camera(hot_pixels=0.0)
    expected = sum(noisy.noise) * 34 * 34 * DURATION / 1000
    assert number(record(blank, 0, noisy)) / 20 == pytest.approx(expected, rel=0.1)
    with_hot = number(record(blank, 0, noisy._replace(hot_pixels=3.0))) / 20
    assert with_hot > expected + 5


def test_more_contrast_gives_more_events():
    counts = [number(record(bar(ink), 0, QUIET)) for ink in (0, 60, 120, 255)]
    assert counts == sorted(set(counts))
    assert number(record(bar(), 0, QUIET._replace(threshold=0.4))) < counts[-1] / 1.5


def test_reversed_motion_turns_polarities(monkeypatch):
    exact = QUIET._replace(mismatch=0.0, position=0.0, contrast=0.0, lead=(0.0, 0.0))
    share = []
    # Down once, and up once along the same path; the bar's upper half of the sensor.
    for start, end in ((-3.0, 3.0), (3.0, -3.0)):
        path = np.zeros_like(PATH)
        path[:, 0] = np.interp(np.arange(len(PATH)), [5, 25], [start, end])
        monkeypatch.setattr(saccades, "PATH", path)
        edge = np.zeros((1, 28, 28), np.uint8)
        edge[:, 14:] = 255
        events = unpack_events(record(edge, 0, exact)[0])
        inner = (events.x > 8) & (events.x < 25) & (events.y > 8) & (events.y < 25)
        share.append(events.polarity[inner].mean())
    assert share == [1.0, 0.0]  # ink is dark, and goes away as it moves down


def test_refractory_pixels_wait():
    patient = QUIET._replace(refractory=5)
    events = unpack_events(record(bar(), 0, patient)[0])
    pixel = events.y * 34 + events.x
    order = np.lexsort((events.times, pixel))
    pauses = np.diff(events.times[order])[np.diff(pixel[order]) == 0]
    assert pauses.min() > 4000  # 5 steps of 1 ms, anywhere within each
    assert number(record(bar(), 0, patient)) < number(record(bar(), 0, QUIET))


@pytest.mark.parametrize("wrong", [np.zeros((2, 28, 28)), np.zeros((28, 28), np.uint8)])
def test_the_camera_refuses_what_is_no_image(wrong):
    with pytest.raises(ValueError, match="images must be uint8"):
        record(wrong, 0)


def test_simulated_and_real_recordings_are_alike(data_dir):
    real, images = recordings.subset()[0].events[:60], recordings.mnist().images[:60]
    counts = [(events != PAD).sum(1) for events in (real, record(images, 0))]
    assert counts[1].mean() == pytest.approx(counts[0].mean(), rel=0.1)
    assert np.corrcoef(*counts)[0, 1] > 0.95


def test_cameras_are_compared(data_dir, tmp_path):
    job = studies.job("simulated_recordings", "camera", "quick")
    job = job._replace(config=job.config.but(limit=30))
    (row,) = job.chosen.run(job, tmp_path, runs.FOREVER)
    (written,) = rows.read(tmp_path / "row.jsonl")
    assert written["real"]["events"] == pytest.approx(written["simulated"]["events"], rel=0.15)
    assert written["between"]["cosine_of_frames"] > 2 * row["between"]["cosine_of_others_frames"]
    page = figures.table(frames.frame([written]))
    assert "| 30 recordings of the same images | real | simulated |" in page
    assert f"| events per recording | {row['real']['events']:.4g} |" in page


# Folds and sets -----------------------------------------------------------------------------------


def test_folds_are_disjoint_and_cover_all():
    for draw in (0, 1):
        folds = [recordings.fold(1100, 11 * draw + k) for k in range(11)]
        tests = np.concatenate([tests for tests, _ in folds])
        assert sorted(tests.tolist()) == list(range(1100))
        for test, rest in folds:
            assert len(test) == 100
            assert not set(test.tolist()) & set(rest.tolist())
            assert len(set(rest.tolist())) == 1000
    assert recordings.fold(1100, 0)[0].tolist() != recordings.fold(1100, 11)[0].tolist()


def test_folds_of_the_subset(data_dir):
    train, test = recordings.load_folds(CONFIG, 3)
    assert (len(train.labels), len(test.labels)) == (1000, 100)
    every = {events.tobytes() for events in np.concatenate([train.events, test.events])}
    assert len(every) == 1100


def test_simulated_training_images_have_no_real_recording(data_dir, monkeypatch):
    seen = []
    monkeypatch.setattr(recordings, "record", lambda images, *_: seen.append(images) or images)
    train, test = recordings.load_simulated(QUIET, SIMULATED.but(num_train=59_000), 0)
    every = recordings.mnist().images
    assert len(seen[0]) == len(train.labels) == 59_000
    assert len(test.labels) == 1100
    first = {image.tobytes() for image in every[:1000]}
    assert not any(image.tobytes() in first for image in seen[0])
    with pytest.raises(UsageError, match="data.num_train must be from 1 to 59000, got 60000"):
        recordings.load_simulated(QUIET, SIMULATED.but(num_train=60_000), 0)


def test_the_whole_set_is_named_by_a_variable(data_dir, monkeypatch, tmp_path, capsys):
    whole = CONFIG.but(name=recordings.WHOLE)
    monkeypatch.delenv("STBP_NMNIST", raising=False)
    with pytest.raises(UsageError, match="set STBP_NMNIST to N-MNIST's folder"):
        recordings.load_whole(whole, 0)
    argv = ["run", "nmnist_mlp", "--variant", "stbp", "--budget", "full"]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 2
    assert "set STBP_NMNIST" in capsys.readouterr().err
    monkeypatch.setenv("STBP_NMNIST", str(data_dir / "nmnist"))
    with pytest.raises(UsageError, match="must hold 60000 and 10000 recordings, got 1000 and 100"):
        recordings.load_whole(whole, 0)
    train, test = recordings.load_whole(whole.but(limit=50), 0)
    assert (len(train.labels), len(test.labels)) == (50, 50)
    with pytest.raises(UsageError, match="data.name must be nmnist in this variant"):
        recordings.load_whole(CONFIG, 0)
    (tmp_path / "broken.zip").write_bytes(b"no archive")
    monkeypatch.setenv("STBP_NMNIST", str(tmp_path / "broken.zip"))
    with pytest.raises(UsageError, match="STBP_NMNIST: .*not a readable zip archive"):
        recordings.load_whole(whole, 0)


# Input --------------------------------------------------------------------------------------------


def test_recordings_become_steps_of_equal_length():
    def word(ms, address):
        return np.uint32(1000 * ms * ADDRESSES + address)

    row = [word(0, 5), word(29, 5), word(30, 6), word(299, 7), word(301, 8), PAD]
    events = np.array([row], np.uint32)
    key = jax.random.key(0)
    for coding, first in ((SPIKES, 1), (COUNTS, 2)):
        xs = np.asarray(coding.encode(key, events, 10))
        assert xs.shape == (10, 1, 34, 34, 2)
        xs = xs.reshape(10, -1)
        assert xs[0, 5] == first
        assert xs[1, 6] == xs[9, 7] == 1
        assert xs.sum() == first + 2  # what comes after 300 ms is left out
    config = CONFIG.but(num_steps=3, layers="4C5-P2-6-10")
    pipeline = models.build(config, coding=SPIKES)(models.hparams(config), 10)
    assert pipeline.encode(key, events).shape == (3, 1, 34, 34, 2)


def test_moved_recordings():
    (row,) = record(bar(), 0)
    events = np.stack([row] * 200)
    out = np.asarray(recordings.moved(jax.random.key(1), events, 2))
    assert out.shape == events.shape
    seen = set()
    before = unpack_events(row)
    inner = (before.x > 3) & (before.x < 30) & (before.y > 3) & (before.y < 30)
    for moved in out:
        words = moved[: len(before.times)][inner]
        after = unpack_events(words)
        assert (after.times == before.times[inner]).all()
        assert (after.polarity == before.polarity[inner]).all()
        (dx,) = set((after.x - before.x[inner]).tolist())
        (dy,) = set((after.y - before.y[inner]).tolist())
        seen.add((dx, dy))
    assert seen == {(dx, dy) for dx in range(-2, 3) for dy in range(-2, 3)}
    assert (out[:, len(before.times) :] == PAD).all()


def test_events_that_are_moved_off_the_sensor_are_lost():
    corner = np.full((64, 1), 50 * ADDRESSES, np.uint32)  # x = y = 0, off
    out = np.asarray(recordings.moved(jax.random.key(0), corner, 1))
    assert PAD in out
    left = unpack_events(out[out != PAD])
    assert set(left.x.tolist()) == set(left.y.tolist()) == {0, 1}
    assert (left.times == 50).all()
    assert Recordings(corner, np.zeros(64, np.int32)).events is corner
