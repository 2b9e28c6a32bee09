"""Times, lengths and starts of every width and sign: exact or an error, never wrapped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax import data

INT32, UINT32 = np.iinfo(np.int32), np.iinfo(np.uint32)
INTEGERS = [getattr(np, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
TIMES = {
    np.int32: [INT32.min, INT32.min + 1, -3, -1, 0, 1, 2, 9999, 2**16, INT32.max - 1, INT32.max],
    np.uint32: [0, 1, 9999, 2**16, INT32.max, 2**31, UINT32.max - 1, UINT32.max],
}
LENGTHS = [1, 3, 10_000, 2**16, 2**31 - 1, 2**31, 2**32 - 1]
STARTS = [-(2**31), -5, 0, 7, 2**31 - 1, 2**31, 2**32 - 1]


def wanted(times, length, start):
    """By Python's integers; what int32 does not hold is at its nearer end."""
    steps = [(int(t) - start) // length for t in times]
    return [min(max(step, INT32.min), INT32.max) for step in steps]


traced = jax.jit(lambda times, length, start: sj.events.by_time(length, start=start)(times))


@pytest.mark.parametrize("dtype", TIMES)
@pytest.mark.parametrize("wide", [False, True], ids=["32 bits", "x64"])
def test_steps_are_those_of_whole_numbers(wide, dtype):
    with jax.enable_x64(wide):
        check_steps(dtype)


def check_steps(dtype):
    times = jnp.array(TIMES[dtype], dtype)
    for length in LENGTHS:
        long = np.int32 if length <= INT32.max else np.uint32
        for start in STARTS:
            begin = np.int32 if start <= INT32.max else np.uint32
            got = traced(times, long(length), begin(start))
            assert got.dtype == jnp.int32
            assert got.tolist() == wanted(TIMES[dtype], length, start), (length, start)


@pytest.mark.parametrize("start", [-(2**31), -5, 2**31, 2**32 - 1])
def test_known_numbers_are_as_exact_as_traced_ones(start):
    for dtype, times in TIMES.items():
        for length in (1, 10_000, 2**32 - 1):
            steps = sj.events.by_time(length, start=start)(jnp.array(times, dtype))
            assert steps.tolist() == wanted(times, length, start)


def test_traced_64_bits_under_x64(x64):
    times = [-(2**63), -5, 0, 7, 2**40, 2**63 - 1]
    for length in (1, 3, 2**33, 2**63 - 1):
        for start in (-(2**63), -(2**40), 5, 2**63 - 1):
            got = traced(*(jnp.asarray(x, jnp.int64) for x in (times, length, start)))
            assert got.tolist() == wanted(times, length, start)


@pytest.mark.parametrize("kind", INTEGERS)
def test_numbers_of_every_type_give_the_same_steps(kind):
    times = np.array([0, 99, 100, 127], kind)
    low = 0 if np.iinfo(kind).min == 0 else -5
    for number in (kind(100), np.array(100, kind), jnp.array(100, jnp.int8)):
        steps = sj.events.by_time(number, start=kind(low))(times)
        assert steps.dtype == jnp.int32
        assert steps.tolist() == [(int(t) - low) // 100 for t in times]
    assert sj.events.by_count(kind(2))(times).tolist() == [0, 0, 1, 1]


def test_by_count_of_more_than_32_bits():
    assert sj.events.by_count(2**40)(np.zeros((1, 3), np.int32)).tolist() == [[0, 0, 0]]


def test_64_bit_times_are_narrowed_where_they_fit():
    steps = sj.events.by_time(np.int64(10_000), start=-5)
    assert steps(np.array([5, 2**31 + 5])).tolist() == [0, (2**31 + 10) // 10_000]
    assert steps(np.array([-10_006, 9_995])).tolist() == [-2, 1]
    assert steps(np.zeros(0, np.int64)).shape == (0,)
    for times in ([2**40], [2**32], [-1, 2**31], [-(2**31) - 1]):
        with pytest.raises(ValueError, match=rf"times must fit 32 bits.* to {max(times)}$"):
            steps(np.array(times))
        with jax.enable_x64(True):
            assert steps(np.array(times)).tolist() == wanted(times, 10_000, -5)


@pytest.mark.parametrize("num_addresses", [1, 2, 7])
def test_the_last_words_of_small_sensors(num_addresses):
    last = (2**32 - 1) // num_addresses - 1
    times = np.array([0, last - 1, last])
    events = (times * num_addresses + [0, 0, num_addresses - 1]).astype(np.uint32)[None]
    length = last // 3

    @jax.jit
    def count(events):
        return sj.events.event_counts(
            events, 4, steps=sj.events.by_time(length, start=-2), shape=(num_addresses,)
        )

    got = count(events)
    each = np.zeros((4, 1, num_addresses))
    for time, address in zip(times.tolist(), (0, 0, num_addresses - 1), strict=True):
        each[(time + 2) // length, 0, address] += 1
    np.testing.assert_array_equal(got, each)


def test_sizes_in_narrow_integers():
    shape = (np.int8(100), np.int8(100), np.uint8(2))
    events = data.pack_events([(np.array([0]), np.array([19_999]))], 20_000)
    spikes = sj.events.event_spikes(events, np.int8(1), shape=shape)
    assert spikes.shape == (1, 1, 100, 100, 2)
    assert spikes[0, 0, 99, 99, 1] == spikes.sum() == 1


def test_steps_in_narrow_integers():
    events = data.pack_events([(np.array([n]), np.array([0])) for n in range(3)], 2)
    for kind in (jnp.int8, jnp.uint8, jnp.uint32):
        spikes = sj.events.event_spikes(
            events, 300, steps=lambda times, kind=kind: (times + 100).astype(kind), shape=(2,)
        )
        assert np.argwhere(spikes).tolist() == [[100, 0, 0], [101, 1, 0], [102, 2, 0]]


WORDS = np.zeros((1, 2), np.uint32)
BAD = [
    (
        ValueError,
        r"microseconds must be at most 2³² - 1.*8589934592",
        lambda: sj.events.by_time(2**33),
    ),
    (ValueError, "microseconds must be at least 1, got -1", lambda: sj.events.by_time(np.int8(-1))),
    (
        ValueError,
        r"start must lie in .*got 1099511627776",
        lambda: sj.events.by_time(1, start=2**40),
    ),
    (ValueError, r"start must lie in", lambda: sj.events.by_time(1, start=np.int64(-(2**31) - 1))),
    (ValueError, r"start must lie in", lambda: sj.events.by_time(1, start=np.uint64(2**64 - 1))),
    (ValueError, r"start must lie in", lambda: sj.events.by_time(1, start=2**70)),
    (
        ValueError,
        r"events must be uint32|fewer than 2³² addresses",
        lambda: bins(shape=(2**16, 2**16)),
    ),
    (ValueError, "shape must be at least 1, got 0", lambda: bins(shape=(3, 0))),
    (TypeError, "shape must be a static integer, got 2.0", lambda: bins(shape=(2.0, 2))),
    (TypeError, "shape must be a static integer, got '34'", lambda: bins(shape="34")),
    (TypeError, "shape must be a static integer, got True", lambda: bins(shape=(True, 2))),
    (TypeError, "shape must be a static integer, got None", lambda: bins(shape=None)),
    (TypeError, "steps must be a function, got 10000", lambda: bins(steps=10_000)),
    (TypeError, "steps must give .*got float32", lambda: bins(steps=lambda t: t / 2)),
    (TypeError, "steps must give .*got list", lambda: bins(steps=lambda t: [0, 1])),
    (ValueError, r"steps must give shape \[1, 2\], got \[2\]", lambda: bins(steps=lambda t: t[0])),
    (TypeError, "num_steps must be a static integer, got True", lambda: bins(num_steps=True)),
    (TypeError, "times must be an array, got list", lambda: sj.events.by_time(5)([0, 1])),
    (TypeError, "times must be an array, got list", lambda: sj.events.by_count(5)([0, 1])),
    (
        TypeError,
        "times must be integers, got dtype float",
        lambda: sj.events.by_time(5)(np.ones(2)),
    ),
    (ValueError, r"times must have shape", lambda: sj.events.by_count(5)(np.int32(3))),
]


def bins(events=WORDS, num_steps=3, **changes):
    return sj.events.event_spikes(events, num_steps, **changes)


@pytest.mark.parametrize(("error", "message", "call"), BAD)
def test_refused_by_name(error, message, call):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", ["microseconds", "start"])
@pytest.mark.parametrize(
    "bad",
    [True, np.True_, 1.0, np.nan, "5", None, [5], (5,), {}, np.timedelta64(5, "us"), np.array([5])],
    ids=repr,
)
def test_no_integer(name, bad):
    with pytest.raises(TypeError, match=rf"{name} must be an integer, got"):
        sj.events.by_time(**{"microseconds": 5} | {name: bad})
    with pytest.raises(TypeError, match="events must be a static integer, got"):
        sj.events.by_count(bad)


def test_traced_numbers_are_checked_by_type_and_shape():
    def steps(value):
        return sj.events.by_time(5, start=value)(WORDS)

    with pytest.raises(TypeError, match="start must be an integer, got dtype float"):
        jax.eval_shape(steps, 1.0)
    with pytest.raises(ValueError, match=r"start must be one number, got shape \[2\]"):
        jax.eval_shape(steps, np.arange(2))


@pytest.mark.parametrize("events", [[[1, 2]], ((1, 2),), {"events": WORDS}, "12", None, 3])
def test_events_that_are_no_array(events):
    for bin_ in (sj.events.event_spikes, sj.events.event_counts):
        with pytest.raises(TypeError, match="events must be an array, got"):
            bin_(events, 3)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (np.ma.array(WORDS, mask=[[0, 1]]), "events must be an array without a mask"),
        (WORDS.astype(">u4"), "events must be in the byte order of this machine, got >u4"),
        (WORDS.astype(object), "events must be an array of real numbers, got dtype object"),
        (WORDS.astype(np.uint64), "events must be uint32, got dtype uint64"),
        (WORDS.astype("m8[us]"), "events must be an array of real numbers, got dtype timedelta64"),
    ],
)
def test_arrays_that_jax_would_misread(events, message):
    with pytest.raises(TypeError, match=message):
        bins(events)


def test_views_and_empties():
    words = data.pack_events([(np.array([0, 1, 2]), np.array([0, 1, 2]))], 4)
    strided = np.repeat(words, 2, axis=1)[:, ::2]
    strided.flags.writeable = False
    np.testing.assert_array_equal(bins(strided, shape=(4,)), bins(words, shape=(4,)))
    for shape in ((0, 5), (2, 0), (0, 0)):
        for steps in (None, sj.events.by_count(2)):
            spikes = bins(np.zeros(shape, np.uint32), steps=steps, shape=(4,))
            assert spikes.shape == (3, shape[0], 4)
            assert not spikes.any()
