"""Input of streams: dropped events are counted, and bad input raises an error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj

BIN, ADDRESSES, STEPS = 1000, 6, 4
END = STEPS * BIN
NETWORK = sj.dense(3, sj.lif())


@pytest.fixture(scope="module")
def params():
    return NETWORK.init(jax.random.key(0), (ADDRESSES,))[0]


@pytest.fixture(scope="module")
def stream(params):
    return sj.streaming.make_stream(NETWORK, params, shape=(ADDRESSES,))


def streamed(stream, source, **changes):
    return list(
        sj.streaming.classify_stream(
            stream, source, **{"microseconds": BIN, "num_steps": STEPS} | changes
        )
    )


# Dropped events ----------------------------------------------------------------------------------

FAR = "clock begins at {} us, far from the bins, which go from {} to {} us"
ALL = "all {} events so far lie outside the bins, which go from {} to {} us"


def warned(*messages):
    """Expects these warnings and no other."""
    return pytest.warns(UserWarning, match="|".join(messages))


@pytest.mark.parametrize("clock", [END + 1, 10**9, 1_700_000_000_000_000, 2**63 - 2])
def test_a_clock_that_begins_after_the_last_bin(stream, clock):
    with pytest.warns(UserWarning, match="events outside are left out") as found:
        decisions = streamed(stream, [([clock, clock + 1], [0, 1])])
    far = [FAR.format(clock, 0, END)] if clock > 2 * END else []
    texts = [str(warning.message) for warning in found]
    assert [t.split(":")[0] for t in texts] == [
        *(f"the source's {text}" for text in far),
        ALL.format(2, 0, END),
    ]
    assert all(warning.filename == __file__ for warning in found)
    assert [(d.ended, d.left_out) for d in decisions[-1:]] == [("steps", 2)]


def test_a_clock_that_begins_far_before_start(stream):
    epoch = 1_700_000_000_000_000
    with warned(FAR.format(5, epoch, epoch + END)):
        decisions = streamed(
            stream, [([5, 6], [0, 1]), (epoch, 2), (epoch + END, None)], start=np.int64(epoch)
        )
    assert [(d.time - epoch, d.left_out) for d in decisions] == [
        (t * BIN, 2) for t in range(1, STEPS + 1)
    ]


def test_a_clock_alone_that_begins_far_away(stream):
    with warned(FAR.format(10**9, 0, END)):
        streamed(stream, [(10**9, None)])
    assert streamed(stream, [(END, None)])[-1].ended == "steps"  # silence is an answer


def test_a_source_that_ends_before_start(stream):
    with warned("all 3 events of the source lie outside the bins, which go from 5000 to 9000"):
        assert streamed(stream, [([2000, 3000, 4999], [0, 0, 0])], start=5000) == []


def test_counts_without_a_warning_near_the_bins(stream):
    times, addresses = [9, 10, 500, END + 9, END + 10, END + 11], [0, 1, 2, 3, 4, 5]
    found = streamed(stream, [(times, addresses)], start=10)
    assert [d.left_out for d in found] == [3] * STEPS
    each = streamed(stream, zip(times, addresses, strict=True), start=10)
    assert [d.left_out for d in each] == [1, 1, 1, 2]  # one before, and the one that ends it
    np.testing.assert_array_equal(found[-1].scores, each[-1].scores)
    ended = streamed(stream, [([9, 10], [0, 1]), (BIN + 10, None)], start=10)
    assert [(d.ended, d.left_out) for d in ended] == [("", 1), ("source", 1)]


# Integers ----------------------------------------------------------------------------------------

INTEGERS = [getattr(np, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_of_every_type_are_the_same_stream(stream, kind):
    numbers = {"microseconds": kind(20), "num_steps": kind(STEPS), "start": kind(10)}
    times, addresses = np.array([10, 35, 120], kind), np.array([0, 1, 5], kind)
    found = streamed(stream, [(times, addresses)], **numbers)
    wanted = streamed(
        stream, [(times.tolist(), addresses.tolist())], microseconds=20, num_steps=STEPS, start=10
    )
    assert [d.time for d in found] == [30, 50, 70, 90]
    assert all(type(d.time) is int for d in found)
    np.testing.assert_array_equal(found[-1].scores, wanted[-1].scores)
    state, scores = stream.advance(stream.start(), np.full((1, ADDRESSES), 100, kind))
    np.testing.assert_array_equal(
        scores, stream.advance(stream.start(), np.full((1, ADDRESSES), 100))[1]
    )


@pytest.mark.parametrize("start", [-(2**63), -(2**40), 2**40, 2**63 - 1 - END])
def test_clocks_of_64_bits(stream, start):
    source = [([start, start + BIN], [0, 1]), (start + END, None)]
    found = streamed(stream, source, start=start)
    assert [d.time for d in found] == [start + t * BIN for t in range(1, STEPS + 1)]
    near = streamed(stream, [([0, BIN], [0, 1]), (END, None)])
    np.testing.assert_array_equal(found[-1].scores, near[-1].scores)


def test_both_ends_of_64_bits_in_one_chunk(stream):
    """The difference of the two does not fit 64 bits."""
    times = [-(2**63), 0, 2**63 - 1]
    with warned("far from"):
        found = streamed(stream, [(times, [0, 1, 2])])
    assert found[-1].left_out == 2
    near = streamed(stream, [([0, END], [1, 2])])
    np.testing.assert_array_equal(found[-1].scores, near[-1].scores)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": 2**63}, r"must lie in \[-2⁶³, 2⁶³\), got 9223372036854775808 and"),
        ({"start": -(2**63) - 1}, r"must lie in \[-2⁶³, 2⁶³\), got -9223372036854775809"),
        ({"start": np.uint64(2**64 - 1)}, "must lie in"),
        ({"microseconds": 2**62}, "must lie in"),
        ({"start": -(2**63), "microseconds": 2**61}, "must lie in"),
    ],
)
def test_ends_beyond_64_bits(stream, changes, message):
    with pytest.raises(ValueError, match=message):
        sj.streaming.classify_stream(stream, [], **{"num_steps": STEPS} | changes)


@pytest.mark.parametrize(
    "chunk", [(2**63, 1), (2**70, 1), (1, 2**63), (np.array([2**63], np.uint64), [1])], ids=repr
)
def test_times_and_cells_beyond_64_bits(stream, chunk):
    for source in ([chunk], sj.streaming.with_clock([chunk])):
        with pytest.raises(ValueError, match=r"times and addresses must lie in \[-2⁶³, 2⁶³\), got"):
            streamed(stream, source)


# Other types -------------------------------------------------------------------------------------

NO_INTEGERS = [True, 1.0, np.nan, "5", None, [5], {}, np.timedelta64(5, "us")]


@pytest.mark.parametrize("bad", NO_INTEGERS, ids=repr)
def test_no_integers(stream, params, bad):
    for name in ("microseconds", "num_steps", "start"):
        with pytest.raises(TypeError, match=rf"{name} must be an? .*integer, got"):
            sj.streaming.classify_stream(stream, [], **{name: bad})
    words = np.zeros(3, np.uint32)
    for name in ("microseconds", "until"):
        if (name, bad) != ("until", None):
            with pytest.raises(TypeError, match=rf"{name} must be a static integer, got"):
                sj.streaming.replay(words, **{name: bad})
    for name in ("microseconds", "lag"):
        with pytest.raises(TypeError, match=rf"{name} must be a static integer, got"):
            next(sj.streaming.with_clock([], **{name: bad}))
    with pytest.raises(TypeError, match="steps_per_call must be a static integer, got"):
        sj.streaming.make_stream(NETWORK, params, shape=(ADDRESSES,), steps_per_call=bad)
    if bad != [5]:  # a list of sizes
        for make in (
            lambda: sj.streaming.replay(words, shape=bad),
            lambda: sj.streaming.make_stream(NETWORK, params, shape=bad),
        ):
            with pytest.raises(TypeError, match="shape must be a static integer, got"):
                make()


@pytest.mark.parametrize(
    ("chunk", "error", "message"),
    [
        (None, TypeError, r"a chunk must be \(times, addresses\) or \(time, None\), got None"),
        (5, TypeError, "a chunk must be"),
        ("5", TypeError, "a chunk must be"),
        ({5: 1, 6: 2}, TypeError, "a chunk must be"),
        (np.array([5, 1]), TypeError, "a chunk must be"),
        ((5, 1, 1), TypeError, "a chunk must be"),
        (("5", 1), TypeError, "times and addresses must be integers, got <U1 and int64"),
        ((None, None), TypeError, "times and addresses must be integers, got object"),
        (({}, 1), TypeError, "times and addresses must be integers, got object"),
        ((True, 1), TypeError, "times and addresses must be integers, got bool"),
        ((5, True), TypeError, "times and addresses must be integers, got int64 and bool"),
        ((np.nan, 1), TypeError, "times and addresses must be integers, got float64"),
        ((np.timedelta64(5, "us"), 1), TypeError, "integers, got timedelta64"),
        ((np.datetime64(5, "us"), 1), TypeError, "integers, got datetime64"),
        ((np.ma.array([5, 6], mask=[0, 1]), [1, 2]), TypeError, "arrays without a mask"),
        (([[5]], [[1]]), ValueError, r"one shape \[E\].*got \[1, 1\]"),
    ],
)
def test_chunks_of_another_kind(stream, chunk, error, message):
    for source in ([chunk], sj.streaming.with_clock([chunk])):
        with pytest.raises(error, match=message):
            streamed(stream, source)


@pytest.mark.parametrize("bad", [None, 5, sj.streaming.running_rate])
def test_sources_that_give_nothing(stream, bad):
    for make in (
        lambda: sj.streaming.classify_stream(stream, bad),
        lambda: next(sj.streaming.with_clock(bad)),
    ):
        with pytest.raises(TypeError, match="source must be iterable, got"):
            make()


def test_streams_rules_and_states_of_another_kind(stream, params):
    with pytest.raises(TypeError, match="stream must be a Stream of make_stream, got Layer"):
        sj.streaming.classify_stream(NETWORK, [])
    with pytest.raises(TypeError, match="rule must be a function, got 0.2"):
        sj.streaming.classify_stream(stream, [], rule=0.2)
    counts = np.zeros((1, ADDRESSES), int)
    with pytest.raises(TypeError, match="state must be a StreamState, got tuple"):
        stream.advance(tuple(stream.start()), counts)
    state = stream.start()
    wide = jax.tree.map(lambda x: jnp.concatenate([x, x]) if x.ndim else x, state)
    with pytest.raises(ValueError, match=r"state must be of this stream.*\[1, 3\], got .*\[2, 3\]"):
        stream.advance(wide, counts)
    with pytest.raises(TypeError, match="state must be of this stream, got one of another str"):
        stream.advance(state._replace(network=()), counts)
    with pytest.raises(TypeError, match="counts must be an array without a mask"):
        stream.advance(state, np.ma.array(counts))
    for bad in (counts.astype(float), counts.astype(str), counts - 1):
        with pytest.raises(TypeError, match="counts must be integers of at least 0"):
            stream.advance(state, bad)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"network": "mlp"}, TypeError, "network must be a Layer, got str"),
        ({"network": sj.lif()}, TypeError, "network must be a Layer, got Neuron"),
        ({"readout": sj.rate}, TypeError, "readout must be a Neuron, got function"),
        ({"encode": "counts"}, TypeError, "encode must be a function, got 'counts'"),
        ({"encode": lambda c: (c, c)}, TypeError, "encode must give one array, got tuple"),
        ({"params": "weights"}, TypeError, "params must be an array, got str"),
        ({"shape": (0,)}, ValueError, "shape must be at least 1, got 0"),
        ({"shape": (2**16, 2**16)}, ValueError, "shape must have fewer than 2³² addresses"),
    ],
)
def test_streams_of_another_kind(params, changes, error, message):
    given = {"network": NETWORK, "params": params, "shape": (ADDRESSES,)} | changes
    with pytest.raises(error, match=message):
        sj.streaming.make_stream(given.pop("network"), given.pop("params"), **given)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ([1, 2], TypeError, "words must be an array, got list"),
        (np.ma.array(np.zeros(2, np.uint32)), TypeError, "words must be an array without a mask"),
        (np.zeros(2, ">u4"), TypeError, "words must be in the byte order of this machine"),
        (np.zeros(2, np.uint64), TypeError, "words must be uint32, got dtype uint64"),
        (np.array([12, 6], np.uint32), ValueError, "in order of time, got 1 us after 2 us"),
    ],
)
def test_words_of_another_kind(words, error, message):
    with pytest.raises(error, match=message):
        sj.streaming.replay(words, shape=(ADDRESSES,))


def test_replay_of_nothing_and_with_long_chunks(stream):
    none = np.full(3, 2**32 - 1, np.uint32)
    for words in (none, none[:0]):
        assert list(sj.streaming.replay(words, shape=(ADDRESSES,))) == []
        assert list(sj.streaming.replay(words, shape=(ADDRESSES,), until=5)) == [(5, None)]
    words = np.array([7, 2**32 - 2], np.uint32)
    chunks = list(sj.streaming.replay(words, shape=(ADDRESSES,), microseconds=2**70, until=2**40))
    assert [np.ravel(c).tolist() for c in chunks[0]] == [[1, 715827882], [1, 2]]
    assert chunks[1:] == [(2**40, None)]


@pytest.mark.parametrize("timeout", [np.nan, 0.0, -1, np.inf])
def test_patience_out_of_range(timeout):
    with pytest.raises(ValueError, match="timeout must be positive and finite"):
        sj.streaming.with_clock([], timeout=timeout)


def test_patience_of_another_kind_or_without_end():
    for timeout in ("1", True, [1.0]):
        with pytest.raises(TypeError, match="timeout must be a float"):
            sj.streaming.with_clock([], timeout=timeout)
    with pytest.raises(ValueError, match="timeout must be one number"):
        sj.streaming.with_clock([], timeout=np.ones(2))
    assert list(sj.streaming.with_clock([(0, 1)], microseconds=2**63, timeout=1e300)) == [(0, 1)]


# Decisions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("least", [np.nan, -0.1, np.float32(np.nan), -np.inf])
def test_leads_out_of_range(least):
    with pytest.raises(ValueError, match="least must be at least 0, got"):
        sj.streaming.margin_rule(least)


@pytest.mark.parametrize(
    "least", ["0.1", None, True, np.array(True), [0.1], 1j, np.timedelta64(1, "us")], ids=repr
)
def test_leads_that_are_no_number(least):
    with pytest.raises(TypeError, match="least must be a number, got"):
        sj.streaming.margin_rule(least)


def test_leads():
    with pytest.raises(ValueError, match=r"least must be one number, got shape \[2\]"):
        sj.streaming.margin_rule(np.ones(2))
    for least in (1, np.int8(1), np.float32(1), jnp.bfloat16(1), jnp.ones(())):
        assert sj.streaming.margin_rule(least)(np.array([0.0, 1.0]))
        assert not sj.streaming.margin_rule(least)(np.array([0.5, 1.0]))
        assert sj.streaming.margin_rule(least)(np.array([1.0]))
    assert not sj.streaming.margin_rule(np.inf)(np.array([0.0, 1.0]))
    for scores in (np.zeros(0), np.zeros((2, 3)), np.float32(1)):
        with pytest.raises(ValueError, match=r"scores must have shape \[C\], got"):
            sj.streaming.margin_rule(1)(scores)


def test_scores_that_are_no_number(params):
    network = sj.dense(3, sj.leaky_integrator(decay=0.5))
    stream = sj.streaming.make_stream(
        network, jax.tree.map(lambda p: p * np.nan, params), shape=(ADDRESSES,)
    )
    with pytest.raises(ValueError, match="scores are NaN at 1000 us, got"):
        streamed(stream, [(0, 1), (BIN, None)], rule=sj.streaming.margin_rule(0.5))


def test_running_readouts_of_integers_and_of_very_long_streams():
    peak, rate = sj.streaming.running_peak(), sj.streaming.running_rate()
    for dtype in (jnp.int8, jnp.uint8, jnp.int32, jnp.bool_):
        outs = jnp.array([[[0]], [[1]]], dtype)
        _, peaks = peak.unroll((), peak.initial_state((1, 1), dtype), outs)
        assert peaks.dtype == dtype
        assert peaks.ravel().tolist() == [0, 1]
        _, rates = rate.unroll((), rate.initial_state((1, 1), dtype), outs)
        assert rates.ravel().tolist() == [0, 0.5]
    state = jnp.full((1, 1), 2.0**30), jnp.full((1,), 2**31 - 1, jnp.int32)
    _, scores = rate.step((), state, jnp.zeros((1, 1)))
    assert scores.item() == 0.5


@pytest.mark.parametrize("make", [sj.streaming.running_rate, sj.streaming.running_peak])
def test_running_readouts_restart_one_example(make):
    """Every leaf of their state leads with B, the count of steps too."""
    readout = make()
    outs = jnp.arange(24.0).reshape(4, 2, 3) % 5
    rest = readout.initial_state((2, 3), jnp.float32)
    assert all(leaf.shape[0] == 2 for leaf in jax.tree.leaves(rest))
    is_first = jnp.zeros((4, 2), bool).at[2, 0].set(True)
    _, found = readout.unroll((), rest, outs, is_first)
    _, whole = readout.unroll((), rest, outs)
    _, late = readout.unroll((), rest, outs[2:])
    wanted = whole.at[2:, 0].set(late[:, 0])
    assert found.tolist() == wanted.tolist()
