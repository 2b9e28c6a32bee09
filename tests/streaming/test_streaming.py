"""Streams: the same scores as whole sequences, for every chunking of events; errors."""

import functools
import threading
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax import data
from tests.contracts import quick_jit

SHAPE = (6, 6, 2)
ADDRESSES = 72
BIN = 1000


def lif(**changes):
    return sj.lif(**{"decay": 0.25, "threshold": 0.5} | changes)


NETWORKS = {
    "mlp": lambda: sj.serial(sj.flatten(), sj.dense(12, lif()), sj.dense(4, lif())),
    "gathered": lambda: sj.serial(
        sj.flatten(),
        sj.dense(12, lif(), matmul=sj.layers.event_driven_matmul),
        sj.dense(4, lif(), matmul=sj.layers.event_driven_matmul),
    ),
    "cnn": lambda: sj.serial(
        sj.conv(3, 3, lif()), sj.avg_pool(2), sj.flatten(), sj.dense(4, lif())
    ),
    "recurrent": lambda: sj.serial(
        sj.flatten(), sj.dense(12, sj.recurrent(lif())), sj.dense(4, lif())
    ),
    "leaky readout": lambda: sj.serial(
        sj.flatten(), sj.dense(12, lif()), sj.dense(4, sj.leaky_integrator(decay=0.5))
    ),
}


def made(network, shape=SHAPE):
    """Dyadic parameters: float sums of them are exact in any order."""
    params, _ = network.init(jax.random.key(0), shape)
    return jax.tree.map(lambda p: jnp.round(p * 3 * 256) / 256, params)


def recording(seed, num_steps, per_step=30):
    """Times and addresses; each bin has some events, and the first and last instant of it too."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, num_steps * BIN, num_steps * per_step))
    return times, rng.integers(0, ADDRESSES, len(times))


@functools.cache
def scores(network, read):
    def run(params, xs):
        outs = sj.apply(network, params, xs)[1]
        return read.unroll((), read.initial_state(outs.shape[1:], outs.dtype), outs)[1][:, 0]

    return quick_jit(run)


RATE = sj.streaming.running_rate()


def scores_of(network, params, xs, readout=RATE):
    """Scores `[T, C]` of all prefixes, from `apply`."""
    return np.asarray(scores(network, readout)(params, xs))


def whole(network, params, times, addresses, num_steps, readout=RATE):
    """The same on the bins that the library makes of events."""
    words = data.pack_events([(times, addresses)], ADDRESSES)
    xs = sj.events.event_spikes(words, num_steps, steps=sj.events.by_time(BIN), shape=SHAPE)
    return scores_of(network, params, xs, readout)


def streamed(stream, source, **changes):
    return list(
        sj.streaming.classify_stream(
            stream, source, **{"microseconds": BIN, "num_steps": 6} | changes
        )
    )


@functools.cache
def plain(**changes):
    """A small stream and its network, for the loop's sake."""
    network = NETWORKS["mlp"]()
    params = made(network)
    return network, params, sj.streaming.make_stream(network, params, shape=SHAPE, **changes)


# The same numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "together"),
    [
        ("mlp", 3),
        ("gathered", 1),
        ("recurrent", 1),
        *(
            pytest.param(*case, marks=pytest.mark.heavy)
            for case in [("mlp", 1), ("cnn", 1), ("leaky readout", 1), ("recurrent", 3)]
        ),
    ],
)
def test_equals_apply_on_the_same_bins(name, together):
    network = NETWORKS[name]()
    params, (times, addresses) = made(network), recording(1, 6)
    wanted = whole(network, params, times, addresses, 6)
    assert wanted.any()
    stream = sj.streaming.make_stream(network, params, shape=SHAPE, steps_per_call=together)
    found = streamed(stream, [(times, addresses)])
    assert [d.steps for d in found] == [*range(together, 7, together)]
    assert [d.ended for d in found[-2:]] == ["", "steps"]
    for d in found:
        np.testing.assert_array_equal(d.scores, wanted[d.steps - 1])
        assert d.label == wanted[d.steps - 1].argmax()
        assert d.time == d.steps * BIN


def test_event_by_event_and_in_chunks():
    network, params, stream = plain()
    times, addresses = recording(2, 6)
    wanted = whole(network, params, times, addresses, 6)[-1]
    words = data.pack_events([(times, addresses), (np.arange(999), np.arange(999) % 5)], ADDRESSES)[
        0
    ]
    sources = [
        zip(times.tolist(), addresses.tolist(), strict=True),
        [
            (times[:50], addresses[:50]),
            (int(times[49]), None),
            ([], []),
            (times[50:], addresses[50:]),
        ],
        sj.streaming.replay(words, shape=SHAPE, microseconds=700),
        sj.streaming.replay(words, shape=SHAPE, microseconds=2500, until=6 * BIN),
    ]
    for source in sources:
        np.testing.assert_array_equal(streamed(stream, source)[-1].scores, wanted)


def test_counts_and_another_start():
    network = NETWORKS["mlp"]()
    params, (times, addresses) = made(network), recording(3, 6, per_step=200)
    words = data.pack_events([(times, addresses)], ADDRESSES)
    steps = sj.events.by_time(BIN, start=BIN // 2)
    xs = sj.events.event_counts(words, 4, steps=steps, shape=SHAPE)
    wanted = scores_of(network, params, xs)[-1]
    stream = sj.streaming.make_stream(network, params, shape=SHAPE, encode=jnp.float32)
    found = streamed(stream, [(times, addresses)], start=BIN // 2, num_steps=4)
    np.testing.assert_array_equal(found[-1].scores, wanted)
    assert found[0].time == 3 * BIN // 2


def test_readouts():
    network = NETWORKS["leaky readout"]()
    params, (times, addresses) = made(network), recording(4, 6)
    mine = (
        sj.neurons.activation(lambda y: y),
        sj.leaky_integrator(decay=0.5),
        sj.streaming.running_peak(),
        sj.streaming.running_rate(),
    )
    for readout in mine[1:3]:
        stream = sj.streaming.make_stream(network, params, shape=SHAPE, readout=readout)
        found = np.stack([d.scores for d in streamed(stream, [(times, addresses)])])
        np.testing.assert_array_equal(found, whole(network, params, times, addresses, 6, readout))
    outs = whole(network, params, times, addresses, 6, mine[0])
    for readout, of in ((mine[2], sj.peak_membrane), (mine[3], sj.rate)):
        prefixes = readout.unroll((), readout.initial_state((4,), outs.dtype), outs)[1]
        np.testing.assert_allclose(prefixes[2], of(outs[:3, None])[0], rtol=1e-6)


def test_compiles_once_and_before_the_first_event():
    network = NETWORKS["mlp"]()
    params = made(network)

    # Once for the shapes, once for the program.
    unroll, encode = (
        chex.assert_max_traces(f, n=2) for f in (network.unroll, sj.streaming.any_event)
    )
    chex.clear_trace_counter()
    counted = network._replace(unroll=unroll)
    stream = sj.streaming.make_stream(counted, params, shape=SHAPE, encode=encode)
    times, addresses = recording(5, 6)
    for _ in range(2):
        streamed(stream, [(times, addresses)])


def test_a_stream_starts_afresh_each_time():
    _, _, stream = plain()
    times, addresses = recording(6, 6)
    one, two = (streamed(stream, [(times, addresses)])[-1] for _ in range(2))
    np.testing.assert_array_equal(one.scores, two.scores)


# Time --------------------------------------------------------------------------------------------


def test_empty_bins_advance_the_leak():
    network = sj.serial(sj.flatten(), sj.dense(4, sj.leaky_integrator(decay=0.5)))
    params = made(network)
    params = jax.tree.map(lambda p: p * (p.ndim > 1), params)  # no bias
    last = sj.neurons.activation(lambda y: y)
    stream = sj.streaming.make_stream(network, params, shape=SHAPE, readout=last)
    for source in ([(0, 3), (3 * BIN, 3)], [(0, 3), (BIN, None), (2 * BIN, None), (4 * BIN, None)]):
        found = streamed(stream, source, num_steps=4)
        first = found[0].scores
        assert first.any()
        for t in range(3):
            np.testing.assert_array_equal(found[t].scores, first * 0.5**t)
    assert found[-1].ended == "steps"


@pytest.mark.parametrize("together", [1, 3])
def test_an_early_end_decides_on_the_bins_so_far(together):
    network, params, stream = plain(steps_per_call=together)
    times, addresses = recording(7, 6)
    for last in (0, 1, 4 * BIN - 1, 4 * BIN, 4 * BIN + 1):
        times_, addresses_ = (
            np.append(times[times < last], last),
            addresses[: (times < last).sum() + 1],
        )
        found = streamed(stream, [(times_, addresses_)])
        steps = last // BIN + 1
        assert (found[-1].ended, found[-1].steps) == ("source", steps)
        wanted = whole(network, params, times_, addresses_, 6)[steps - 1]
        np.testing.assert_array_equal(found[-1].scores, wanted)
        assert sum(bool(d.ended) for d in found) == 1


def test_an_early_end_between_two_bins_adds_none():
    _, _, stream = plain()
    found = streamed(stream, [([0, 10], [1, 2]), (2 * BIN, None)])
    assert [(d.steps, d.ended) for d in found] == [(1, ""), (2, ""), (2, "source")]
    _, _, three = plain(steps_per_call=3)
    found = streamed(three, [([0, 10], [1, 2]), (2 * BIN, None)])
    assert [(d.steps, d.ended) for d in found] == [(2, "source")]
    assert streamed(stream, []) == streamed(stream, [(0, None)]) == []
    with pytest.warns(UserWarning, match="all 1 events of the source lie outside"):
        assert streamed(stream, [(5, 1)], start=10) == []


def test_a_rule_decides_early():
    network, params, stream = plain()
    times, addresses = recording(8, 6)
    scores = whole(network, params, times, addresses, 6)
    leads = np.diff(np.sort(scores), axis=1)[:, -1]
    least = float(np.sort(leads)[-1])
    taken = []

    def source():
        for t, c in zip(times, addresses, strict=True):
            taken.append(t)
            yield t, c

    found = streamed(stream, source(), rule=sj.streaming.margin_rule(least))
    wanted = int(np.argmax(leads >= least)) + 1
    assert found[-1].steps == wanted
    assert found[-1].ended == ("rule" if wanted < 6 else "steps")
    if wanted < 6:
        assert max(taken) < (wanted + 1) * BIN  # it asks for no more than it needs


def test_clock_goes_on_while_the_source_is_silent():
    _, _, stream = plain()
    stop = threading.Event()

    def silent():
        yield 0, 3
        stop.wait(20)

    found = streamed(stream, sj.streaming.with_clock(silent(), microseconds=BIN), num_steps=6)
    stop.set()
    assert [d.steps for d in found] == [*range(1, 7)]
    assert found[-1].ended == "steps"


def test_a_stall_is_an_error():
    stop = threading.Event()

    def stalls():
        yield 0, 3
        stop.wait(20)

    chunks = sj.streaming.with_clock(stalls(), microseconds=BIN, timeout=0.05)
    with pytest.raises(TimeoutError, match=r"stalled: nothing came for 0\.\d+ s, expected .* 0.05"):
        for _ in chunks:
            pass
    stop.set()


def test_live_hands_on_chunks_ends_and_errors():
    chunks = [(0, 1), ([2, 3], [4, 5])]
    assert [
        c for c in sj.streaming.with_clock(chunks, microseconds=10**7) if c[1] is not None
    ] == chunks

    def breaks():
        yield 0, 1
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="the camera is gone"):
        list(sj.streaming.with_clock(breaks(), microseconds=10**7))


def test_live_clock_is_held_back_and_stands_still_never_backwards():
    def late():
        yield 10**9, 1  # ahead of our clock
        time.sleep(0.02)
        yield 10**9, 2

    chunks = list(sj.streaming.with_clock(late(), microseconds=BIN, lag=500))
    assert chunks == [(10**9, 1), (10**9, 2)]


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ([(5, 1), (4, 1)], ValueError, "event at 4 us comes after 5 us; times must not run back"),
        ([([7, 5], [1, 1])], ValueError, "event at 5 us comes after 7 us"),
        ([(900, None), (899, 1)], ValueError, "event at 899 us comes after 900 us"),
        ([(900, None), (899, None)], ValueError, "899 us comes after 900 us"),
        (
            [(5, ADDRESSES)],
            ValueError,
            r"addresses must lie in \[0, 72\), got 72 in the event at 5 us",
        ),
        ([([1, 2], [3, -1])], ValueError, "got -1 in the event at 2 us"),
        ([(0.5, 1)], TypeError, "times and addresses must be integers, got float64 and int64"),
        ([(5, 1.0)], TypeError, "times and addresses must be integers, got int64 and float64"),
        ([([1, 2], [3])], ValueError, r"one shape \[E\].* got \[2\] and \[1\]"),
        ([([1, 2], None)], ValueError, r"one time and None for addresses; got \[2\] and None"),
    ],
)
def test_a_bad_chunk_is_refused(source, error, message):
    _, _, stream = plain()
    with pytest.raises(error, match=message):
        streamed(stream, source)


def test_bad_arguments_are_refused():
    network, params, stream = plain(steps_per_call=3)
    pool = sj.avg_pool(1)
    with pytest.raises(ValueError, match="num_steps must be a multiple of .* steps_per_call, 3"):
        sj.streaming.classify_stream(stream, [], num_steps=5)
    with pytest.raises(ValueError, match="microseconds must be at least 1, got 0"):
        sj.streaming.classify_stream(stream, [], microseconds=0)
    with pytest.raises(ValueError, match=r"counts must have shape \[3, 6, 6, 2\].*got \[1, 6"):
        stream.advance(stream.start(), np.zeros((1, *SHAPE), int))
    with pytest.raises(ValueError, match="steps_per_call must be at least 1"):
        sj.streaming.make_stream(network, params, shape=SHAPE, steps_per_call=0)
    with pytest.raises(ValueError, match=r"needs time slices \[B, 72\]"):
        sj.streaming.make_stream(network, params, shape=(4, 4, 2))
    with pytest.raises(ValueError, match=r"network must end in one number a class.*got \[1, 1, 6"):
        sj.streaming.make_stream(pool, pool.init(jax.random.key(0), SHAPE)[0], shape=SHAPE)
    with pytest.raises(ValueError, match=r"encode must keep the axes \[1, 1, ...\], got \[6"):
        sj.streaming.make_stream(network, params, shape=SHAPE, encode=lambda c: c[0, 0])
    with pytest.raises(ValueError, match="lag must be at least 0"):
        sj.streaming.with_clock([], lag=-1)
    with pytest.raises(ValueError, match="timeout must be positive"):
        sj.streaming.with_clock([], timeout=0)


# Real recordings ---------------------------------------------------------------------------------


@pytest.mark.heavy
def test_decisions_on_real_recordings(data_dir, optimized):
    path = data_dir / "nmnist" / "nmnist_subset.zip"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    _, test = data.read_nmnist(path)
    xs = sj.events.event_spikes(test.events[:10], 30)
    for matmul in (sj.layers.full_matmul, sj.layers.event_driven_matmul):
        network = sj.serial(
            sj.flatten(),
            sj.dense(100, sj.lif(), init=sj.initializers.fan_in_uniform(3.0), matmul=matmul),
            sj.dense(10, sj.lif(), matmul=matmul),
        )
        params, _ = network.init(jax.random.key(0), data.NMNIST_SHAPE)
        outs = jax.jit(lambda params, run=network: sj.apply(run, params, xs)[1])(params)
        wanted = np.asarray(sj.rate(outs).argmax(1))
        assert len(set(wanted.tolist())) > 1
        stream = sj.streaming.make_stream(network, params)
        sources = (
            sj.streaming.replay(row, microseconds=10_000, until=300_000) for row in test.events[:10]
        )
        assert [
            [*sj.streaming.classify_stream(stream, s)][-1].label for s in sources
        ] == wanted.tolist()


def test_live_takes_unsigned_times():
    source = [(np.array([5, 7], np.uint32), np.array([0, 1])), (np.uint64(9), np.uint64(1))]
    chunks = list(sj.streaming.with_clock(source))
    assert [int(np.max(times)) for times, addresses in chunks if addresses is not None] == [7, 9]


def test_very_many_events_count_as_many():
    network = sj.dense(1)
    params, _ = network.init(jax.random.key(0), (1,))
    stream = sj.streaming.make_stream(network, params, shape=(1,), encode=jnp.float32)
    _, most = stream.advance(stream.start(), np.array([[2**16 - 1]]))
    _, more = stream.advance(stream.start(), np.array([[2**16 + 1]]))
    np.testing.assert_array_equal(more, most)
    for counts in (np.array([[0.5]]), np.array([[-1]])):
        with pytest.raises(TypeError, match="counts must be integers of at least 0"):
            stream.advance(stream.start(), counts)


@pytest.mark.parametrize(
    ("words", "options", "error", "message"),
    [
        (np.zeros(3), {}, TypeError, "words must be uint32"),
        (np.zeros(3, np.uint32), {"microseconds": 0}, ValueError, "microseconds"),
        (np.zeros(3, np.uint32), {"until": 1e4}, TypeError, "until"),
        (np.zeros((3, 1), np.uint32), {}, ValueError, "words"),
    ],
)
def test_replay_refuses_at_once(words, options, error, message):
    with pytest.raises(error, match=message):
        sj.streaming.replay(words, **options)
