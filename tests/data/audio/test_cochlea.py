"""The ear: its filters and its spikes."""

import numpy as np
import pytest

from stbp_jax import data

RATE = 8000


EAR = data.Cochlea(channels=32)


def tone(frequency, seconds=0.2, level=0.1, start=0.0):
    """A sine that begins, in phase 0, after `start` seconds of silence."""
    times = np.arange(round(RATE * seconds)) / RATE
    return level * np.sin(2 * np.pi * frequency * (times - start)) * (times >= start)


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
