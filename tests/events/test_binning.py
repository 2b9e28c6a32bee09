"""Binning against NumPy, and as the input of a run."""

import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj
from stbp_jax import data

ADDRESSES = 34 * 34 * 2


def event(x, y, polarity, microseconds):
    return bytes([x, y]) + (polarity << 23 | microseconds).to_bytes(3, "big")


GOOD = event(1, 2, 1, 300) + event(33, 33, 0, 300) + event(0, 0, 1, 336_000)


FILES = {
    "Train/5/00001.bin": GOOD,
    "Train/0/00002.bin": event(3, 4, 0, 5),
    "Train/4/00010.bin": event(5, 6, 1, 7),
    "Test/7/00001.bin": GOOD + event(2, 2, 0, 336_001),
}


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def made(seed=0, batch=3, shape=(3, 4, 2), longest=60):
    """Recordings of several lengths with many coincidences, as (times, addresses) and packed."""
    rng, size = np.random.default_rng(seed), int(np.prod(shape))
    lengths = [longest, *rng.integers(1, longest, batch - 1)]
    pairs = [(np.sort(rng.integers(0, 40_000, n)), rng.integers(0, size // 2, n)) for n in lengths]
    return pairs, data.pack_events(pairs, size)


def binned(pairs, num_steps, shape, step_of):
    out = np.zeros((num_steps, len(pairs), int(np.prod(shape))), np.int64)
    for b, (times, addresses) in enumerate(pairs):
        for rank, (when, address) in enumerate(zip(times.tolist(), addresses, strict=True)):
            step = step_of(when, rank)
            if 0 <= step < num_steps:
                out[step, b, address] += 1
    return out.reshape((num_steps, len(pairs), *shape))


@pytest.mark.parametrize(
    ("steps", "step_of", "num_steps"),
    [
        (None, lambda when, rank: when // 10_000, 4),
        (sj.events.by_time(1000), lambda when, rank: when // 1000, 30),
        (sj.events.by_time(7000, start=9001), lambda when, rank: (when - 9001) // 7000, 3),
        (sj.events.by_time(5000, start=-6000), lambda when, rank: (when + 6000) // 5000, 9),
        (sj.events.by_count(7), lambda when, rank: rank // 7, 5),
    ],
)
def test_binning_is_that_of_a_loop(steps, step_of, num_steps):
    shape = (3, 4, 2)
    pairs, events = made()
    wanted = binned(pairs, num_steps, shape, step_of)
    assert wanted.max() > 1
    counts = sj.events.event_counts(events, num_steps, steps=steps, shape=shape)
    assert counts.dtype == jnp.float32
    np.testing.assert_array_equal(counts, wanted)
    spikes = sj.events.event_spikes(events, num_steps, steps=steps, shape=shape)
    assert spikes.dtype == jnp.float32
    np.testing.assert_array_equal(spikes, wanted > 0)
    for dtype in (jnp.uint8, jnp.bool_):
        bytewise = sj.events.event_spikes(events, num_steps, steps=steps, shape=shape, dtype=dtype)
        assert bytewise.dtype == dtype
        np.testing.assert_array_equal(bytewise, wanted > 0)


def test_binning_under_jit_and_vmap_with_a_traced_window():
    shape = (3, 4, 2)
    events = jnp.stack([made(seed)[1] for seed in range(4)])
    starts, lengths = jnp.array([0, 5, -100, 9000]), jnp.array([10_000, 9000, 800, 4000])

    def spikes(events, start, length):
        return sj.events.event_spikes(
            events, 6, steps=sj.events.by_time(length, start=start), shape=shape
        )

    mapped = jax.jit(jax.vmap(spikes))(events, starts, lengths)
    for n in range(4):
        alone = spikes(events[n], int(starts[n]), int(lengths[n]))
        np.testing.assert_array_equal(mapped[n], alone)


def test_counts_stop_at_the_largest_number_of_their_type():
    events = data.pack_events([(np.arange(300), np.ones(300, int))], 2)
    for dtype, wanted in ((jnp.float32, 300), (jnp.int8, 127), (jnp.uint8, 255), (jnp.int32, 300)):
        counts = sj.events.event_counts(events, 1, shape=(2,), dtype=dtype)
        assert counts.dtype == dtype
        assert counts.tolist() == [[[0, wanted]]]


@pytest.mark.heavy
def test_extremes_of_a_word():
    # The last time and address that fit, next to the word that means no event.
    last = (2**32 - 1) // ADDRESSES - 1
    events = data.pack_events([(np.array([0, last]), np.array([0, ADDRESSES - 1]))], ADDRESSES)
    events = np.concatenate([events, np.full((1, 2), data.PAD)])
    spikes = sj.events.event_spikes(events, 186)
    assert spikes.shape == (186, 2, 34, 34, 2)
    assert jnp.argwhere(spikes).tolist() == [[0, 0, 0, 0, 0], [185, 0, 33, 33, 1]]
    assert sj.events.event_spikes(np.zeros((0, 5), np.uint32), 3).shape == (3, 0, 34, 34, 2)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "events must be uint32, got dtype int32", lambda: bins(np.zeros((1, 2), "i4"))),
        (ValueError, r"events must have shape \[B, M\]", lambda: bins(np.zeros(2, np.uint32))),
        (ValueError, "num_steps must be at least 1", lambda: bins(num_steps=0)),
        (ValueError, "bin them in parts", lambda: bins(num_steps=10**6)),
        (TypeError, "microseconds must be an integer, got 0.5", lambda: sj.events.by_time(0.5)),
        (ValueError, "microseconds must be at least 1", lambda: sj.events.by_time(0)),
        (TypeError, "start must be an integer", lambda: sj.events.by_time(5, start=1.5)),
        (ValueError, "events must be at least 1", lambda: sj.events.by_count(0)),
    ],
)
def test_bad_arguments(error, message, call):
    with pytest.raises(error, match=message):
        call()


def bins(events=None, num_steps=3):
    return sj.events.event_spikes(
        np.zeros((1, 2), np.uint32) if events is None else events, num_steps
    )


def test_bits_made_once_are_the_same_input(tmp_path):
    train, _ = data.read_nmnist(write_zip(tmp_path / "set.zip", FILES))
    spikes = sj.events.event_spikes(train.events, 34)
    bits = sj.encoders.pack(spikes)
    assert bits.shape == (34, 3, 289)
    layer = sj.layers.unpack(34, 34, 2)
    params, _ = layer.init(jax.random.key(0), (289,))
    np.testing.assert_array_equal(sj.apply(layer, params, bits)[1], spikes)


@pytest.mark.heavy
def test_a_run_takes_recordings_as_its_training_set():
    rng = np.random.default_rng(0)
    labels = np.arange(40, dtype=np.int32) % 2
    # The first class is seen in the upper row of the sensor.
    pairs = [(np.sort(rng.integers(0, 50_000, 30)), 8 * n + rng.integers(0, 8, 30)) for n in labels]
    train_set = data.Recordings(data.pack_events(pairs, 16), labels)

    def build(hparams, num_updates):
        return sj.Pipeline(
            encode=lambda key, events: sj.events.event_spikes(events, 5, shape=(2, 4, 2)),
            network=sj.serial(sj.flatten(), sj.dense(2, sj.lif())),
            readout=sj.rate,
            loss=sj.half_squared_error,
            optimizer=optax.adam(0.05),
        )

    train = sj.make_train(build, sj.TrainConfig(epochs=8, batch_size=10))
    _, history = train(jax.random.key(0), (), train_set, train_set)
    assert history.test.metrics["accuracy"][-1] == 1
