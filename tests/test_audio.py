"""Sound: rules of wav files, filters and spikes of the cochlea, spoken digits."""

import io
import wave
import zipfile

import numpy as np
import pytest

from stbp_jax import data

RATE = 8000
EAR = data.Cochlea(channels=32)


def tone(frequency, seconds=0.2, level=0.1, start=0.0):
    """A sine that begins, in phase 0, after `start` seconds of silence."""
    times = np.arange(round(RATE * seconds)) / RATE
    return level * np.sin(2 * np.pi * frequency * (times - start)) * (times >= start)


def wav(samples, width=2, rate=RATE, channels=1):
    """Bytes of a wav file; samples are integers of that width."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        signed = width > 1
        file.writeframes(b"".join(int(s).to_bytes(width, "little", signed=signed) for s in samples))
    return stream.getvalue()


# Files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "samples"),
    [
        (1, [0, 128, 192]),
        (2, [-(2**15), 0, 2**14]),
        (3, [-(2**23), 0, 2**22]),
        (4, [-(2**31), 0, 2**30]),
    ],
)
def test_all_widths_have_one_scale(tmp_path, width, samples):
    path = tmp_path / "one.wav"
    path.write_bytes(wav(samples, width))
    found = data.read_wav(path, rate=RATE)
    assert found.dtype == np.float32
    assert found.tolist() == [-1, 0, 0.5]


GOOD = wav([0, 1, 2, 3])
BAD_FILES = {
    "11025 samples per second, expected 8000; sounds are not resampled": wav([1], rate=11025),
    "2 channels, expected 1; channels are not mixed": wav([1, 2], channels=2),
    "samples of 40 bits, expected 8, 16, 24 or 32": wav([1], 2).replace(
        (2).to_bytes(2, "little") + (16).to_bytes(2, "little"), b"\5\0\x28\0"
    ),
    "truncated: 3 samples, expected 4": GOOD[:-1],
    "no samples, expected at least one": wav([]),
    "not a readable wav file of plain PCM": b"RIFF and no more",
    "not a readable wav file of plain PCM .*starts with b''": b"",
    "not a readable wav file of plain PCM .*unknown format: 3": GOOD.replace(
        b"fmt \x10\0\0\0\1", b"fmt \x10\0\0\0\3"
    ),
}


@pytest.mark.parametrize("message", BAD_FILES)
def test_bad_wav_is_named(tmp_path, message):
    path = tmp_path / "bad.wav"
    path.write_bytes(BAD_FILES[message])
    with pytest.raises(ValueError, match=rf"bad\.wav: .*{message}"):
        data.read_wav(path, rate=RATE)


def test_every_cut_of_a_wav_is_refused(tmp_path):
    path = tmp_path / "cut.wav"
    for length in range(len(GOOD)):
        path.write_bytes(GOOD[:length])
        with pytest.raises(ValueError, match=r"cut\.wav: "):
            data.read_wav(path, rate=RATE)


# The cochlea ------------------------------------------------------------------------------------


def test_frequencies_are_evenly_spaced_on_the_ears_scale():
    frequencies = EAR.frequencies
    np.testing.assert_allclose(frequencies[[0, -1]], [EAR.low, EAR.high])
    bandwidths = 24.7 * (1 + 0.00437 * frequencies)  # Glasberg and Moore's (3): 1 ERB each
    steps = np.diff(frequencies) / np.sqrt(bandwidths[1:] * bandwidths[:-1])
    np.testing.assert_allclose(steps, steps.mean(), rtol=5e-3)


def counts(sound, ear=EAR):
    """Spikes of each address, `[channels, thresholds]`."""
    (row,) = data.cochlea_events([sound], ear)
    num_addresses = int(np.prod(ear.shape))
    return np.bincount(row % num_addresses, minlength=num_addresses).reshape(ear.shape)


@pytest.mark.parametrize("channel", [3, 12, 20, 28])
def test_a_tone_excites_the_channel_of_its_frequency(channel):
    sound = tone(EAR.frequencies[channel], 0.5)
    (seen,) = data.cochleagram([sound], EAR)
    assert seen.shape == (500, EAR.channels)
    assert seen[100:].mean(0).argmax() == channel
    # A sine's half waves have a mean of its level over pi.
    assert seen[100:, channel].mean() == pytest.approx(0.1 / np.pi, rel=0.05)
    spikes = counts(sound).sum(-1)
    assert spikes[channel] == spikes.max()


def test_louder_gives_no_fewer_spikes_in_any_cell():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=4000) * np.repeat(rng.uniform(0, 1, 40), 100)
    found = [counts(level * noise) for level in (0.01, 0.03, 0.1, 0.3)]
    for faint, loud in zip(found, found[1:], strict=False):
        assert (loud >= faint).all()
        assert loud.sum() > faint.sum()
    for sensitive, dull in ((0, 1), (1, 2)):
        assert (found[-1][:, sensitive] >= found[-1][:, dull]).all()


def test_neurons_fire_at_the_rate_that_their_equation_says():
    ear = EAR._replace(thresholds=(1.0,), refractory=5e-3)
    drive = np.log1p(0.1 / np.pi / ear.floor)
    interval = ear.refractory + ear.leak * np.log(drive / (drive - 1.0))
    fired = counts(tone(ear.frequencies[20], 2.0), ear)[20, 0]
    assert fired == pytest.approx(2.0 / interval, rel=0.15)  # frames of 1 ms round intervals up


def test_spikes_follow_the_sound():
    # Silence before the tone; then wide filters, those of high frequency, respond first.
    for frequency, delay in ((300, 0.02), (3000, 0.01)):
        events = data.cochlea_events([tone(frequency, 0.5, start=0.2)], EAR)
        times = events[0].astype(np.int64) // np.prod(EAR.shape)
        assert 0.2e6 < times[0] <= (0.2 + delay) * 1e6
        assert (np.diff(times) >= 0).all()


def test_spikes_depend_on_the_past_alone_and_on_no_other_sound():
    rng = np.random.default_rng(1)
    sounds = [0.1 * rng.normal(size=n) for n in (3000, 800, 1803)]
    together = data.cochlea_events(sounds, EAR)
    np.testing.assert_array_equal(together, data.cochlea_events(sounds, EAR))
    num_addresses = int(np.prod(EAR.shape))
    for sound, row in zip([*sounds, sounds[0][:1000]], [*together, together[0]], strict=True):
        (alone,) = data.cochlea_events([sound], EAR)
        last = len(sound) // 8 * 1000  # microseconds of whole frames
        row = row[(row != data.PAD) & (row // num_addresses <= last)]
        np.testing.assert_array_equal(alone, row)


def test_rates_that_are_no_multiple_of_a_thousand():
    ear = EAR._replace(rate=11025)
    sound = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(11025) / 11025)
    assert data.cochleagram([sound], ear)[0].shape == (11025 // 11, 32)
    times = data.cochlea_events([sound], ear)[0] // np.uint32(np.prod(ear.shape))
    assert times[-1] <= 1_000_000
    assert set(np.unique(times).tolist()) <= {f * 11 * 10**6 // 11025 for f in range(1004)}


FINE = tone(1000)


@pytest.mark.parametrize(
    ("error", "message", "sounds", "changes"),
    [
        (TypeError, r"sounds\[1\] must be floats, got dtype int16", [FINE, FINE.astype("i2")], {}),
        (ValueError, r"sounds\[0\] must have shape \[E\], got \[1600, 1\]", [FINE[:, None]], {}),
        (ValueError, r"sounds\[0\] has 0 samples, expected at least 8", [FINE[:0]], {}),
        (ValueError, r"sounds\[0\] has 7 samples", [FINE[:7]], {}),
        (ValueError, r"sounds\[1\]: sample 9 is not finite", [FINE, np.r_[FINE[:9], np.nan]], {}),
        (ValueError, r"sounds\[1\]: no spike, expected.*silent or too", [FINE, 0 * FINE], {}),
        (ValueError, r"sounds\[0\]: no spike", [1e-5 * FINE], {}),
        (ValueError, "rate must be at least 1000", [FINE], {"rate": 999}),
        (ValueError, "channels must be at least 2, got 1", [FINE], {"channels": 1}),
        (ValueError, "low and high must be 0 < low < high < 4000 Hz", [FINE], {"high": 4000.0}),
        (ValueError, "got 500 and 100", [FINE], {"low": 500.0, "high": 100.0}),
        (ValueError, "smoothing must be positive", [FINE], {"smoothing": 0.0}),
        (ValueError, "floor must be positive and finite, got nan", [FINE], {"floor": np.nan}),
        (ValueError, "refractory must be 0 or more", [FINE], {"refractory": -1e-3}),
        (ValueError, "thresholds must be positive and increasing", [FINE], {"thresholds": ()}),
        (ValueError, r"got \(2.0, 1.0\)", [FINE], {"thresholds": (2.0, 1.0)}),
    ],
)
def test_bad_sounds_and_ears(error, message, sounds, changes):
    with pytest.raises(error, match=message):
        data.cochlea_events(sounds, EAR._replace(**changes))


# Spoken digits ----------------------------------------------------------------------------------

FILES = {
    "recordings/3_ann_10.wav": wav([3, 3]),
    "recordings/3_ann_9.wav": wav([1]),
    "recordings/0_bob_2.wav": wav([2, 2, 2]),
}


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_folder(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_folder_and_zip_give_the_same_in_order(tmp_path):
    (tmp_path / "zips").mkdir()
    more = FILES | {"recordings/.hidden": b"", "README.md": b"x"}
    for path in (
        write_folder(tmp_path / "set", more),
        write_zip(tmp_path / "zips" / "set.zip", more),
        tmp_path / "zips",
    ):
        digits = data.read_fsdd(path)
        assert digits.labels.tolist() == [0, 3, 3]
        assert digits.labels.dtype == np.int32
        assert digits.speakers.tolist() == ["bob", "ann", "ann"]
        assert digits.indices.tolist() == [2, 9, 10]
        assert [(s * 2**15).tolist() for s in digits.sounds] == [[2, 2, 2], [1], [3, 3]]


BAD_NAMES = {
    "recordings/10_ann_1.wav": "not a recording; expected recordings/<digit>_",
    "recordings/3_ann.wav": "not a recording",
    "recordings/3_a-n_1.wav": "not a recording",
    "recordings/3_ann_1.mp3": "not a recording",
    "recordings/more/3_ann_1.wav": "not a recording",
    "recordings/3_ann_09.wav": "occurs twice",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_name_is_named(tmp_path, name):
    files = FILES | {name: GOOD}
    for path in (write_folder(tmp_path / "set", files), write_zip(tmp_path / "s.zip", files)):
        with pytest.raises(ValueError, match=BAD_NAMES[name]):
            data.read_fsdd(path)


@pytest.mark.parametrize(
    "name", ["/recordings/3_ann_1.wav", "../3_ann_1.wav", "recordings/../../x", "C:/3_ann_1.wav"]
)
def test_zip_with_a_path_that_leaves_it(tmp_path, name):
    with pytest.raises(ValueError, match=r"s\.zip: .*absolute or parent path; expected recordings"):
        data.read_fsdd(write_zip(tmp_path / "s.zip", FILES | {name: GOOD}))


def test_bad_places_and_recordings(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent does not exist"):
        data.read_fsdd(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="holds neither recordings/ nor a zip archive"):
        data.read_fsdd(tmp_path)
    with pytest.raises(ValueError, match="no recording; expected recordings/"):
        data.read_fsdd(write_zip(tmp_path / "s.zip", {"README.md": b""}))
    bad = FILES | {"recordings/3_ann_10.wav": wav([1], rate=16000)}
    with pytest.raises(ValueError, match=r"s\.zip: recordings/3_ann_10\.wav: 16000 samples"):
        data.read_fsdd(write_zip(tmp_path / "s.zip", bad))
    content = write_zip(tmp_path / "s.zip", FILES).read_bytes()
    for kept in (0, len(content) // 2):
        (tmp_path / "s.zip").write_bytes(content[:kept])
        with pytest.raises(ValueError, match="not a readable zip archive"):
            data.read_fsdd(tmp_path / "s.zip")


def test_real_digits(data_dir):
    digits = data.read_fsdd(data_dir / "fsdd")
    assert len(digits.sounds) == 3000
    test = digits.indices < 5
    assert (test.sum(), (~test).sum()) == (300, 2700)
    names, sizes = np.unique(digits.speakers, return_counts=True)
    assert names.tolist() == ["george", "jackson", "lucas", "nicolas", "theo", "yweweler"]
    assert sizes.tolist() == [500] * 6
    assert np.bincount(digits.labels).tolist() == [300] * 10
    seconds = np.array([len(sound) for sound in digits.sounds]) / RATE
    assert (seconds.min().round(2), seconds.max().round(2)) == (0.14, 2.28)
    events = data.cochlea_events(digits.sounds[::500], data.Cochlea())
    assert (events != data.PAD).sum(1).min() > 50


def test_zip_damaged_inside_and_one_that_would_swell(tmp_path):
    path = write_zip(tmp_path / "s.zip", FILES)
    content = bytearray(path.read_bytes())
    content[40 + len("recordings/3_ann_10.wav")] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"3_ann_10\.wav: truncated or damaged in its archive"):
        data.read_fsdd(path)
    files = FILES | {"recordings/3_ann_1.wav": bytes(2**24 + 1)}
    with pytest.raises(ValueError, match=r"3_ann_1\.wav: unpacks to 16777217 bytes"):
        data.read_fsdd(write_zip(path, files))


@pytest.mark.parametrize(("rate", "low"), [(8000, 50), (22050, 50), (48000, 20)])
def test_filters_have_gain_1_at_any_rate(rate, low):
    """The mean of a rectified sine is 1 / pi."""
    sound = np.sin(2 * np.pi * low * np.arange(rate) / rate)
    ear = data.Cochlea(rate=rate, channels=2, low=low, high=3000)
    envelope = data.cochleagram([sound], ear)[0][-200:, 0]
    np.testing.assert_allclose(envelope.mean(), 1 / np.pi, rtol=0.01)


@pytest.mark.parametrize("name", ["rate", "channels"])
def test_an_ear_of_integers(name):
    with pytest.raises(TypeError, match=f"{name} must be an integer"):
        data.cochleagram([np.zeros(800)], data.Cochlea(**{name: 8000.5}))
