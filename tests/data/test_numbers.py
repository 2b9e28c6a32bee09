"""Numbers of every width and sign, masks and titles in the functions of events and of sound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax import data

INTEGERS = [np.dtype(f"{sign}{width}") for sign in "iu" for width in (1, 2, 4, 8)] + [
    np.dtype(">i4")
]
WIDE = [dtype for dtype in INTEGERS if dtype.itemsize >= 4]


@pytest.mark.parametrize("addresses", INTEGERS)
@pytest.mark.parametrize("times", INTEGERS)
def test_events_of_every_width(times, addresses):
    pair = np.array([0, 3, 120], times), np.array([7, 0, 119], addresses)
    words = data.pack_events([pair], 100_000)
    assert words.tolist() == [[7, 300_000, 12_000_119]]


@pytest.mark.parametrize("dtype", WIDE)
def test_the_last_words_of_every_width(dtype):
    last = (2**32 - 1) // 700 - 1
    words = data.pack_events([(np.array([0, last], dtype), np.array([0, 699], dtype))], 700)
    assert words.tolist() == [[0, last * 700 + 699]]
    assert data.unpack_events(words[0], (1, 700, 1)).times.tolist() == [0, last]
    with pytest.raises(
        ValueError, match=f"event 1 at {last + 1} us, expected times of at most {last}"
    ):
        data.pack_events([(np.array([0, last + 1], dtype), np.array([0, 0], dtype))], 700)


@pytest.mark.parametrize("count", [np.uint8(200), np.int8(100), np.int32(100), np.uint64(200)])
def test_num_addresses_of_every_width(count):
    words = data.pack_events([(np.array([0, 1_000_000]), np.array([3, 4]))], count)
    assert words.tolist() == [[3, 1_000_000 * int(count) + 4]]


@pytest.mark.parametrize(
    ("times", "count"),
    [
        (np.array([2**63 + 5, 2**63 + 9], np.uint64), "event 0 at 9223372036854775813 us"),
        (np.array([2**62, 2**62 + 1]), "event 0 at 4611686018427387904 us"),
        (np.array([2**32, 2**32 + 1]), "event 0 at 4294967296 us"),
        (1_764_000_000_000_000 + np.arange(2), "event 0 at 1764000000000000 us"),
    ],
)
def test_a_clock_that_starts_far_from_0_is_refused_with_a_count(times, count):
    good = (np.arange(3), np.arange(3))
    message = (
        rf"recordings\[1\]: {count}, .*; 2 of its 2 events come later, .*subtract its first time"
    )
    with pytest.raises(ValueError, match=message):
        data.pack_events([good, (times, np.array([0, 1]))], 700)


def test_events_that_are_too_late_are_counted():
    times = np.array([0, 1, 7_000_000, 8_000_000, 9_000_000])
    with pytest.raises(
        ValueError, match="event 2 at 7000000 us, .*; 3 of its 5 events come later$"
    ):
        data.pack_events([(times, np.zeros(5, int))], 700)


@pytest.mark.parametrize(
    ("error", "message", "recordings", "count"),
    [
        (ValueError, "recordings is empty", [], 10),
        (TypeError, r"recordings\[0\] must be a pair of times and addresses, got int", [3], 10),
        (TypeError, r"recordings\[0\] must be a pair .*, got tuple", [([1], [1], [1])], 10),
        (ValueError, r"recordings\[0\]: .* got \[\] and \[\]", [{"t": 1, "c": 2}], 10),
        (TypeError, r"recordings\[0\]: times must be an array, got list", [([[1], []], [1])], 10),
        (ValueError, r"integers, got timedelta64\[us\]", [(np.array([1], "m8[us]"), [1])], 10),
        (ValueError, "integers, got object", [([2**64], [1])], 10),
        (ValueError, "integers, got int64 and bool", [([2], [True])], 10),
        (TypeError, "num_addresses must be an integer, got 10.0", [([1], [1])], 10.0),
        (TypeError, "num_addresses must be an integer, got True", [([1], [1])], True),
        (TypeError, "num_addresses must be an integer", [([1], [1])], np.array([10])),
        (ValueError, "num_addresses must be at most 4294967295", [([0], [1])], 2**32),
        (ValueError, "num_addresses must be at least 2, got -3", [([0], [1])], np.int8(-3)),
    ],
)
def test_bad_events(error, message, recordings, count):
    with pytest.raises(error, match=message):
        data.pack_events(recordings, count)


def test_lists_and_arrays_of_jax_are_packed():
    wanted = data.pack_events([(np.array([0, 400_000_000]), np.array([7, 1]))], 10)
    assert data.pack_events([([0, 400_000_000], [7, 1])], 10).tolist() == wanted.tolist()
    pair = jnp.array([0, 400_000_000]), jnp.array([7, 1])
    assert data.pack_events([pair], 10).tolist() == wanted.tolist()
    found = data.unpack_events(jnp.asarray(wanted[0]), (1, 10, 1))
    assert found.times.tolist() == [0, 400_000_000]


def test_read_only_and_strided_events():
    times, addresses = np.arange(8)[::2], np.arange(16)[::-4]
    times.flags.writeable = False
    assert data.pack_events([(times, addresses)], 16).tolist() == [[15, 43, 71, 99]]


@pytest.mark.parametrize(
    ("error", "message", "row", "shape"),
    [
        (TypeError, "row must be uint32, .* got dtype int64", [1, 2], (2, 2, 2)),
        (TypeError, "row must be uint32, .* got dtype int32", np.array([-1], np.int32), (2, 2, 2)),
        (ValueError, r"row must have shape \[M\].* got \[1, 2\]", np.ones((1, 2), "u4"), (2, 2, 2)),
        (ValueError, "event after a PAD, at 2", np.array([1, 2**32 - 1, 1], "u4"), (2, 2, 2)),
        (TypeError, "row must be an array without a mask", np.ma.ones(2, "u4"), (2, 2, 2)),
        (ValueError, "shape must be of rows, columns and pol", np.ones(2, "u4"), (700,)),
        (ValueError, "shape must hold sides of at least 1", np.ones(2, "u4"), (0, 2, 2)),
        (TypeError, "shape must hold integers", np.ones(2, "u4"), (2.0, 2, 2)),
        (TypeError, "shape must hold integers, got 8", np.ones(2, "u4"), 8),
    ],
)
def test_bad_rows(error, message, row, shape):
    with pytest.raises(error, match=message):
        data.unpack_events(row, shape)


def test_sides_of_a_narrow_type_do_not_wrap():
    shape = tuple(np.array([100, 100, 2], np.uint8))
    found = data.unpack_events(np.array([20_000 * 5 + 2 * 101], np.uint32), shape)
    assert [v.tolist() for v in found] == [[1], [1], [0], [5]]


# tonic ------------------------------------------------------------------------------------------


def camera(dtypes="iiii", titles=False, swapped=False, **changed):
    values = {"t": [1, 2], "x": [0, 4], "y": [2, 0], "p": [0, 1]} | changed
    fields = []
    for (name, _), dtype in zip(values.items(), dtypes, strict=True):
        pair = (name, f"own_{name}") if swapped else (f"the {name}", name)
        fields.append((pair if titles or swapped else name, dtype))
    out = np.zeros(2, fields)
    for name, value in values.items():
        out[name] = value
    return out


def packed(events, shape=(3, 5, 2)):
    return data.from_tonic([(events, 0)], shape).events.tolist()


WANTED = [[1 * 30 + 2 * 10, 2 * 30 + 4 * 2 + 1]]


@pytest.mark.parametrize("how", [{}, {"titles": True}, {"swapped": True}])
def test_fields_with_titles(how):
    assert packed(camera(**how)) == WANTED
    names = camera(**how).dtype.names
    with pytest.raises(ValueError, match=r"without field t; .* got .*x.* \(names and titles\)"):
        packed(camera(**how)[list(names[1:])])


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i2"])
def test_tonic_events_of_every_width(dtype):
    assert packed(camera([dtype] * 4)) == WANTED
    assert packed(camera([dtype] * 3 + ["?"])) == WANTED
    many = camera([dtype] * 4, x=[100, 120], y=[100, 120])
    addresses = [(100 * 500 + 100) * 2, (120 * 500 + 120) * 2 + 1]
    assert packed(many, (500, 500, 2)) == [[500_000 + addresses[0], 1_000_000 + addresses[1]]]


@pytest.mark.parametrize(
    ("error", "message", "events"),
    [
        (
            ValueError,
            r"event 1 has x = 18446744073709551615, outside",
            (["u8"] * 4, {"x": [0, 2**64 - 1]}),
        ),
        (ValueError, r"event 0 has y = -128, outside", (["i1"] * 4, {"y": [-128, 0]})),
        (ValueError, "event 0 at 9223372036854775808 us", (["u8"] * 4, {"t": [2**63, 2**63]})),
        (ValueError, "event 0 at -1 us comes after 0 us", (["i1"] * 4, {"t": [-1, 0]})),
        (TypeError, r"t must be integers, got timedelta64", (["m8[us]", "i4", "i4", "i4"], {})),
        (
            TypeError,
            "x must be integers",
            (["i4", ("i4", (2,)), "i4", "i4"], {"x": [[0, 1], [1, 0]]}),
        ),
    ],
)
def test_bad_tonic_fields(error, message, events):
    dtypes, changed = events
    with pytest.raises(error, match=rf"dataset\[0\]: {message}"):
        packed(camera(dtypes, **changed))


def test_masked_events_and_labels_are_refused():
    with pytest.raises(TypeError, match=r"dataset\[0\]: events must be an array without a mask"):
        packed(np.ma.array(camera()))
    with pytest.raises(TypeError, match=r"dataset\[0\]: label must be an integer, got masked"):
        data.from_tonic([(camera(), np.ma.masked_array(3, True))], (3, 5, 2))
    masked = np.ma.array([1, 2], mask=[False, True])
    for pair in ((masked, [0, 0]), ([0, 0], masked)):
        with pytest.raises(
            TypeError, match=r"recordings\[0\]: \w+ must be an array without a mask"
        ):
            data.pack_events([pair], 10)


@pytest.mark.parametrize(
    ("error", "message", "shape"),
    [
        (
            ValueError,
            "shape must have at most 4294967295 addresses, .* got 2199023255552",
            (2**20, 2**20, 2),
        ),
        (ValueError, "shape must have at most", (2**40, 2**40, 2)),
        (TypeError, "shape must hold integers, got 5", 5),
        (TypeError, "shape must hold integers, got '352'", "352"),
        (ValueError, "shape must hold sides of at least 1", (np.int8(-3), 5, 2)),
    ],
)
def test_bad_shapes(error, message, shape):
    with pytest.raises(error, match=message):
        packed(camera(), shape)


def test_shapes_of_a_narrow_type_do_not_wrap():
    shape = tuple(np.array([200, 200, 2], np.uint8))
    assert packed(camera(), shape) == packed(camera(), (200, 200, 2))


def test_a_dict_is_no_data_set():
    with pytest.raises(TypeError, match="dataset must have a length and items by number, got dict"):
        data.from_tonic({0: (camera(), 0)}, (3, 5, 2))


@pytest.mark.parametrize("size", [5, (3, 4), None])
def test_bad_sensor_sizes(size):
    class Sized(list):
        sensor_size = size

    with pytest.raises(ValueError, match="sensor_size"):
        data.from_tonic(Sized([(camera(), 0)]))


# Sound ------------------------------------------------------------------------------------------

TONE = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(800) / 8000)
EAR = data.Cochlea(channels=100)


def test_numbers_of_an_ear_of_every_width():
    wanted = data.cochlea_events([TONE], EAR)
    for rate in (np.int16(8000), np.uint16(8000), np.int32(8000), np.uint64(8000)):
        ear = EAR._replace(
            rate=rate, channels=np.uint8(100), low=np.uint8(100), high=np.int16(3600)
        )
        np.testing.assert_array_equal(data.cochlea_events([TONE], ear), wanted)
        assert ear.shape == (100, 3)
        assert int(np.prod(ear.shape)) == ear.shape[0] * ear.shape[1] == 300
    ear = EAR._replace(thresholds=tuple(np.array([1, 2, 3], np.int8)))
    np.testing.assert_array_equal(data.cochlea_events([TONE], ear), wanted)


def test_a_rest_longer_than_32_bits_can_count():
    spikes = data.cochlea_events([TONE], EAR._replace(refractory=1e9))[0]
    addresses = spikes % 300
    assert len(np.unique(addresses)) == len(addresses)  # each fires once
    np.testing.assert_array_equal(
        spikes, data.cochlea_events([TONE], EAR._replace(refractory=10))[0]
    )


@pytest.mark.parametrize(
    ("error", "message", "changed"),
    [
        (TypeError, "rate must be an integer, got 8000.0", {"rate": 8000.0}),
        (TypeError, "channels must be an integer, got True", {"channels": True}),
        (TypeError, "floor must be a number, got '1'", {"floor": "1"}),
        (TypeError, "leak must be a number, got None", {"leak": None}),
        (TypeError, "low must be a number, got True", {"low": True}),
        (TypeError, "smoothing must be a number", {"smoothing": (1e-3,)}),
        (TypeError, "thresholds must be floats, got 'ab'", {"thresholds": "ab"}),
        (TypeError, "thresholds must be an array without a mask", {"thresholds": np.ma.ones(2)}),
        (ValueError, "thresholds must be positive and increasing", {"thresholds": 1.0}),
        (ValueError, "thresholds must be .* to 1e30", {"thresholds": (1.0, np.inf)}),
        (ValueError, "thresholds must be .* from 1e-30", {"thresholds": (1e-50, 1.0)}),
        (ValueError, "floor must be at least 1e-30, got 1e-50", {"floor": 1e-50}),
        (ValueError, "rate must be at least 1000, got -8000", {"rate": np.int16(-8000)}),
    ],
)
@pytest.mark.parametrize("hear", [data.cochlea_events, data.cochleagram])
def test_bad_numbers_of_an_ear(hear, error, message, changed):
    with pytest.raises(error, match=message):
        hear([TONE], EAR._replace(**changed))


@pytest.mark.parametrize("hear", [data.cochlea_events, data.cochleagram])
def test_an_ear_of_another_type_and_samples_that_overflow(hear):
    with pytest.raises(TypeError, match="cochlea must be a Cochlea, got dict"):
        hear([TONE], {"rate": 8000})
    with pytest.raises(ValueError, match=r"sounds\[0\]: sample 2 of -1e\+39 is too large"):
        hear([np.r_[0, 1, -1e39, TONE]], EAR)


@pytest.mark.parametrize("hear", [data.cochlea_events, data.cochleagram])
def test_no_sound_and_masked_sound(hear):
    with pytest.raises(ValueError, match="sounds is empty, expected at least one sound"):
        hear([], EAR)
    with pytest.raises(TypeError, match=r"sounds\[1\] must be an array without a mask"):
        hear([TONE, np.ma.array(TONE)], EAR)


# Masks elsewhere --------------------------------------------------------------------------------

PIXELS, LABELS = np.full((2, 3), 0.5, np.float32), np.array([0, 1])
MASKED_PIXELS = np.ma.masked_array(PIXELS, PIXELS > 1)
MASKED_LABELS = np.ma.masked_array(LABELS, [True, False])


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("images", lambda: sj.bernoulli(jax.random.key(0), MASKED_PIXELS, 3)),
        ("images", lambda: sj.constant(MASKED_PIXELS, 3)),
        ("images", lambda: sj.latency(MASKED_PIXELS, 3)),
        ("labels", lambda: sj.cross_entropy(PIXELS, MASKED_LABELS)),
        ("targets", lambda: sj.half_squared_error(PIXELS, MASKED_LABELS)),
        ("scores", lambda: sj.cross_entropy(MASKED_PIXELS, LABELS)),
        ("events", lambda: sj.events.event_spikes(np.ma.ones((1, 3), "u4"), 3, shape=(2,))),
        ("width", lambda: sj.rectangular(np.ma.array([1.0, 2.0]))),
    ],
)
def test_masks_are_refused_by_encoders_losses_and_surrogates(name, call):
    with pytest.raises(TypeError, match=f"{name} must be an array without a mask"):
        call()
