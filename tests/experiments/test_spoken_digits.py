"""Spoken digits: splits, loudness of recordings, moved events, figures."""

import io
import wave

import jax
import numpy as np
import pytest

from experiments.datasets import spoken
from experiments.datasets.spoken import EAR, SPEAKERS, official, one_speaker_out
from experiments.engine.config import Config, Data, UsageError
from experiments.engine.rows import upgrade
from experiments.report import frames
from experiments.studies.spoken_digits import figures
from stbp_jax import data

SIZE = int(np.prod(EAR.shape))
CONFIG = Config(Data(spoken.NAME))
SMALL = CONFIG.but(limit=40)


def wav(level, frequency):
    times = np.arange(1600) / 8000
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        samples = 2**15 * level * np.sin(2 * np.pi * frequency * times)
        file.writeframes(samples.astype("<i2").tobytes())
    return stream.getvalue()


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Tones: the digit gives the frequency, the speaker the level."""
    folder = tmp_path / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    for digit in (0, 1):
        for place, speaker in enumerate(SPEAKERS):
            for index in (0, 4, 5, 9, 10, 49):
                content = wav(0.5 / (1 + place), 500 * (1 + digit))
                (folder / f"{digit}_{speaker}_{index}.wav").write_bytes(content)
    monkeypatch.setenv("STBP_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("seed", [0, 5, 7])
def test_splits(root, monkeypatch, seed):
    # The number of each recording replaces its spikes.
    monkeypatch.setattr(spoken, "_few", lambda path, chosen: chosen[:, None].astype(np.uint32))
    digits = data.read_fsdd(root / "fsdd")
    for load, tested in (
        (official, digits.indices < 5),
        (one_speaker_out, digits.speakers == SPEAKERS[seed % 6]),
    ):
        train, test = load(CONFIG, seed)
        numbers, tests = train.events[:, 0], test.events[:, 0]
        assert sorted(tests.tolist()) == np.flatnonzero(tested).tolist()
        assert sorted(numbers.tolist()) == np.flatnonzero(~tested).tolist()
        np.testing.assert_array_equal(train.labels, digits.labels[numbers])
        np.testing.assert_array_equal(test.labels, digits.labels[tests])
        late = (digits.indices[numbers] >= 5) & (digits.indices[numbers] < 10)
        assert (np.diff(late.astype(int)) >= 0).all()  # for validation, at the end
        few = load(SMALL, seed)
        np.testing.assert_array_equal(few[0].events, train.events[-40:])
        assert len(few[1].labels) <= 40


def test_level_is_left_out(root):
    train, _ = official(SMALL, 0)
    rows = {}
    for row, label in zip(train.events, train.labels, strict=True):
        rows.setdefault(int(label), []).append(np.sum(row != data.PAD))
    # Samples of 16 bits: a quiet speaker's tone is rounded more coarsely.
    for counts in rows.values():
        assert max(counts) < 1.05 * min(counts)


def test_sounds_are_cut(root):
    sound = np.concatenate([np.zeros(2 * 5600), np.ones(10)]).astype(np.float32)
    assert spoken._heard(sound).shape == (5600,)


def test_what_cannot_be_read_is_named(root, monkeypatch):
    with pytest.raises(UsageError, match="data.name must be fsdd in this variant, got mnist"):
        official(SMALL.but(name="mnist"), 0)
    (root / "fsdd" / "recordings" / "0_george_0.wav").write_bytes(b"")
    with pytest.raises(UsageError, match=r"0_george_0\.wav: not a readable wav"):
        official(SMALL, 0)
    monkeypatch.setenv("STBP_DATA", str(root / "absent"))
    with pytest.raises(UsageError, match="does not exist"):
        official(SMALL, 0)
    monkeypatch.delenv("STBP_DATA")
    with pytest.raises(UsageError, match="set STBP_DATA"):
        one_speaker_out(SMALL, 0)


def test_jittered_events():
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(100_000, 500_000, (64, 50)))
    addresses = rng.integers(3 * 3, SIZE - 3 * 3, (64, 50))
    events = data.pack_events(list(zip(times, addresses, strict=True)), SIZE)
    events = np.concatenate([events, np.full((64, 5), data.PAD)], 1)
    moved = np.asarray(jax.jit(spoken.jittered)(jax.random.key(1), events))
    assert moved.dtype == np.uint32
    assert (moved[:, 50:] == data.PAD).all()
    assert (moved[:, :50] != data.PAD).all()
    after, where = np.divmod(moved[:, :50].astype(np.int64), SIZE)
    channels = (where - addresses) / EAR.shape[1]
    assert (channels == channels[:, :1]).all()  # a recording moves as a whole
    assert set(np.unique(channels)) == {-1, 0, 1}
    for before, now in zip(times, after, strict=True):
        speed, shift = np.polyfit(before, now, 1)
        assert np.abs(speed * before + shift - now).max() < 2
        assert np.exp(-0.1) <= speed <= np.exp(0.1)
        assert abs(shift) <= 30_001
    early = data.pack_events([(np.zeros(8, int), np.arange(0, SIZE, SIZE // 8))] * 64, SIZE)
    kept = np.asarray(spoken.jittered(jax.random.key(2), early)) != data.PAD
    assert 0 < kept.mean() < 1  # what lies before the beginning or beside the ear is no event


def test_figures(tmp_path, root):
    row = {
        "budget": "cpu",
        "dataset": spoken.NAME,
        "network": "192-256-10",
        "hparams": {},
        "settings": {},
    }
    runs = frames.frame(
        upgrade(row | {"variant": variant, "seed": seed, "test_accuracy_last": 0.5 + seed / 20})
        for variant in ("stbp", "speaker_out", "speaker_out_augmented")
        for seed in range(6)
    )
    figures.draw(runs, tmp_path)
    assert (tmp_path / figures.SPEAKERS_FIGURE).stat().st_size > 5000
    figures.draw_recording(tmp_path / "one.png", "1_theo_5")
    assert (tmp_path / "one.png").stat().st_size > 5000
    with pytest.raises(UsageError, match="no recording is called 7_ann_1"):
        figures.draw_recording(tmp_path / "one.png", "7_ann_1")
