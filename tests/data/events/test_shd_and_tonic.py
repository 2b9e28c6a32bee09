"""SHD's layout and tonic's conventions: exact values, and errors for bad input."""

import gzip
import sys

import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax import data

# SHD --------------------------------------------------------------------------------------------


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="HDF5 files need h5py")


TIMES = [np.array([0.0, 0.25, 0.25, 1.375]), np.array([0.5]), np.array([0.125, 0.5])]
UNITS = [np.array([3, 699, 2, 0]), np.array([7]), np.array([1, 1])]
COLUMNS = {
    "spikes/times": TIMES,
    "spikes/units": UNITS,
    "labels": [1, 0, 1],
    "extra/speaker": [4, 11, 4],
    "extra/keys": [b"zero", "fünf".encode()],
}


def write(h5py, path, columns, times_dtype="f2"):
    """A file of SHD's layout; lists of arrays become ragged, other values stay unchanged."""
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            if isinstance(values, list) and any(isinstance(row, np.ndarray) for row in values):
                dtype = np.dtype(times_dtype) if "times" in name else values[0].dtype
                out = file.create_dataset(name, (len(values),), h5py.vlen_dtype(dtype))
                for n, row in enumerate(values):
                    out[n] = row.astype(dtype)
            else:
                file[name] = values
    return path


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_shd_as_it_stands_plain_and_packed(h5py, tmp_path, dtype):
    path = write(h5py, tmp_path / "shd.h5", COLUMNS, dtype)
    (events, labels), speakers, classes = data.read_shd(str(path))
    pairs = [((t * 1e6).astype(int), u) for t, u in zip(TIMES, UNITS, strict=True)]
    np.testing.assert_array_equal(events, data.pack_events(pairs, 700))
    assert events.dtype == np.uint32
    assert (labels.tolist(), labels.dtype) == ([1, 0, 1], np.int32)
    assert (speakers.tolist(), speakers.dtype) == ([4, 11, 4], np.int32)
    assert classes == ("zero", "fünf")
    unpacked = data.unpack_events(events[0], (1, 700, 1))
    assert unpacked.x.tolist() == [3, 699, 2, 0]
    assert unpacked.times.tolist() == [0, 250_000, 250_000, 1_375_000]
    spikes = sj.events.event_spikes(
        events, 14, steps=sj.events.by_time(100_000), shape=data.SHD_SHAPE
    )
    assert np.argwhere(spikes[:, 0]).tolist() == [[0, 3], [2, 2], [2, 699], [13, 0]]

    other = tmp_path / "shd"  # its name does not say that it is gzip
    other.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(data.read_shd(other).recordings.events, events)


def test_shd_rounds_to_the_microsecond(h5py, tmp_path):
    times = [np.array([1.4e-6, 1.6e-6, 6.135666]), *TIMES[1:]]
    columns = COLUMNS | {"spikes/times": times, "spikes/units": [UNITS[0][:3], *UNITS[1:]]}
    events = data.read_shd(write(h5py, tmp_path / "a.h5", columns, "f8")).recordings.events
    assert (events[0] // 700).tolist() == [1, 2, 6_135_666]
    # What float16 keeps of 0.7 s and of 1.3 s.
    columns["spikes/times"] = [np.array([0.1, 0.7, 1.3]), *TIMES[1:]]
    events = data.read_shd(write(h5py, tmp_path / "b.h5", columns, "f2")).recordings.events
    assert (events[0] // 700).tolist() == [99_976, 700_195, 1_299_805]


def test_shd_out_of_order_is_sorted_and_ties_keep_their_order(h5py, tmp_path):
    rng = np.random.default_rng(0)
    # More recordings than are decoded at once; every third one is in order.
    times = [rng.integers(0, 9, n) / 8 for n in rng.integers(1, 40, 210)]
    times[::3] = [np.sort(row) for row in times[::3]]
    units = [rng.integers(0, 700, len(row)) for row in times]
    columns = {"spikes/times": times, "spikes/units": units, "labels": np.arange(210) % 2}
    path = write(h5py, tmp_path / "shd.h5", COLUMNS | columns | {"extra/speaker": np.arange(210)})
    orders = [np.argsort(row, kind="stable") for row in times]
    pairs = [
        ((t[order] * 1e6).astype(int), u[order])
        for t, u, order in zip(times, units, orders, strict=True)
    ]
    np.testing.assert_array_equal(
        data.read_shd(path).recordings.events, data.pack_events(pairs, 700)
    )


def test_shd_takes_tables_and_speakers_that_are_text(h5py, tmp_path):
    columns = COLUMNS | {
        "spikes/times": np.array([[0.5, 1], [0, 0.25], [0, 0]], "f4"),
        "spikes/units": np.array([[1, 2], [3, 4], [5, 6]], "u2"),
        "extra/speaker": [b"zoe", b"ada", b"zoe"],
    }
    got = data.read_shd(write(h5py, tmp_path / "ssc.h5", columns))
    assert (got.recordings.events // 700)[0].tolist() == [500_000, 1_000_000]
    assert got.speakers.tolist() == [1, 0, 1]


def without(*names):
    return {name: values for name, values in COLUMNS.items() if name not in names}


def first(times=TIMES[0], units=UNITS[0]):
    times, units = np.asarray(times, float), np.asarray(units, int)
    return COLUMNS | {"spikes/times": [times, *TIMES[1:]], "spikes/units": [units, *UNITS[1:]]}


BAD_FILES = {
    r"spikes/units, extra/speaker missing; expected spikes/times, .* got extra/keys, labels, spi": (
        without("spikes/units", "extra/speaker")
    ),
    "extra/keys missing; .* got x$": {"x": [1]},
    "missing; .* got no data at all": {},
    "at least one, got 2 spikes/times, 3 spikes/units, 3 labels, 3 extra/speaker": COLUMNS
    | {"spikes/times": TIMES[:2]},
    "3 spikes/units, 2 labels, 3 extra/speaker": COLUMNS | {"labels": [0, 1]},
    "3 labels, 1 extra/speaker": COLUMNS | {"extra/speaker": [1]},
    "got 0 spikes/times": COLUMNS
    | dict.fromkeys(["spikes/times", "spikes/units"], np.zeros(0))
    | dict.fromkeys(["labels", "extra/speaker"], np.zeros(0, int)),
    "recording 0: 4 times, but 3 units": first(units=[1, 2, 3]),
    "recording 0: an empty recording, expected at least one event": first([], []),
    r"recording 0: event 2 is of unit 700, outside the cochlea; expected units in 0\.\.699": first(
        units=[0, 699, 700, 0]
    ),
    "recording 0: event 1 is of unit -1": first(units=[0, -1, 700, 0]),
    "recording 0: event 3 at -0.5 s, expected finite times from 0 to 6.135666 s": first(
        [0, 0, 0, -0.5]
    ),
    "recording 0: event 1 at nan s": first([0, np.nan, 0, 1]),
    "recording 0: event 3 at inf s": first([0, 0, 0, np.inf]),
    "recording 0: event 0 at 6.25 s": first([6.25, 0, 0, 0]),
    r"recording 2 has label 2, expected 0\.\.1": COLUMNS | {"labels": [1, 1, 2]},
    "recording 1 has label -1": COLUMNS | {"labels": [1, -1, 0]},
    "recording 0 has speaker -3": COLUMNS | {"extra/speaker": [-3, 1, 0]},
    r"labels holds float64 \[3\], expected an integer for each": COLUMNS | {"labels": [1.0, 0, 1]},
    "extra/keys holds int64 .*, expected the names of the classes": COLUMNS | {"extra/keys": [1]},
    "spikes/times holds float64 .*, expected a row of floats": COLUMNS
    | {"spikes/times": np.zeros(3)},
    "spikes/units holds .*, expected a row of integers": COLUMNS | {"spikes/units": TIMES},
}


@pytest.mark.parametrize("message", BAD_FILES)
def test_bad_shd_file_is_named(h5py, tmp_path, message):
    path = write(h5py, tmp_path / "shd.h5", BAD_FILES[message])
    with pytest.raises(ValueError, match=rf"shd\.h5: .*{message}"):
        data.read_shd(path)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_truncated_shd(h5py, tmp_path, kept):
    content = write(h5py, tmp_path / "shd.h5", COLUMNS).read_bytes()
    path, packed = tmp_path / "cut.h5", gzip.compress(content)
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"cut\.h5: not a readable HDF5 file, truncated or damag"):
        data.read_shd(path)
    path.write_bytes(packed[: 2 + int(kept * len(packed))])
    with pytest.raises(ValueError, match=r"cut\.h5: the gzip file is truncated or damaged"):
        data.read_shd(path)


def test_no_shd_file(h5py, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.h5 does not exist, expected an HDF5 fi"):
        data.read_shd(tmp_path / "absent.h5")
    with pytest.raises(FileNotFoundError, match="is a folder, expected an HDF5 file"):
        data.read_shd(tmp_path)
    (tmp_path / "text").write_text("spikes")
    with pytest.raises(ValueError, match="text: not a readable HDF5 file"):
        data.read_shd(tmp_path / "text")


def test_shd_without_h5py(tmp_path, monkeypatch):
    (tmp_path / "shd.h5").touch()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"h5py, .*pip install h5py"):
        data.read_shd(tmp_path / "shd.h5")


# tonic ------------------------------------------------------------------------------------------


class Like:
    """A data set as tonic makes them."""

    def __init__(self, items, sensor_size):
        self.items, self.sensor_size = items, sensor_size

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def structured(**fields):
    out = np.empty(len(fields["t"]), [(name, np.asarray(v).dtype) for name, v in fields.items()])
    for name, values in fields.items():
        out[name] = values
    return out


def test_tonic_camera_is_nmnist():
    # As tonic.datasets.NMNIST: fields x, y, t, p of int, sensor_size (34, 34, 2).
    rng = np.random.default_rng(0)
    items, pairs = [], []
    for n in (7, 30, 1):
        (x, y), p = rng.integers(0, 34, (2, n)), rng.integers(0, 2, n)
        t = np.sort(rng.integers(0, 300_000, n))
        items.append((structured(x=x, y=y, t=t, p=p), int(n % 10)))
        pairs.append((t, (y * 34 + x) * 2 + p))
    events, labels = data.from_tonic(Like(items, (34, 34, 2)))
    np.testing.assert_array_equal(events, data.pack_events(pairs, 2312))
    assert (labels.tolist(), labels.dtype) == ([7, 0, 1], np.int32)
    got = data.unpack_events(events[0])
    for name, field in (("x", "x"), ("y", "y"), ("polarity", "p"), ("times", "t")):
        np.testing.assert_array_equal(getattr(got, name), items[0][0][field])
    few = data.from_tonic(Like(items, (34, 34, 2)), limit=2)
    assert (few.events.shape, few.labels.tolist()) == ((2, 30), [7, 0])
    assert len(data.from_tonic(Like(items, (34, 34, 2)), limit=9).labels) == 3


def test_tonic_audio_has_channels_alone():
    # As tonic.datasets.SHD: fields t, x, p, where p is always 1; labels are NumPy's.
    item = structured(t=[5, 5, 9], x=[699, 0, 3], p=[1, 1, 1]), np.int64(19)
    events, labels = data.from_tonic(Like([item], (700, 1, 1)))
    assert events.tolist() == [[5 * 700 + 699, 5 * 700, 9 * 700 + 3]]
    assert labels.tolist() == [19]


def test_tonic_shape_is_rows_columns_polarities():
    item = structured(t=np.array([8], "u4"), x=[4], y=[2], p=[True]), 0
    for given in ({"dataset": Like([item], (5, 3, 2))}, {"dataset": [item], "shape": (3, 5, 2)}):
        assert data.from_tonic(**given).events.tolist() == [[8 * 30 + 2 * 10 + 4 * 2 + 1]]
    # One polarity: what it is called does not matter.
    assert data.from_tonic(Like([item], (5, 3, 1))).events.tolist() == [[8 * 15 + 2 * 5 + 4]]


def camera(**changed):
    return structured(**({"t": [1, 2], "x": [0, 4], "y": [2, 0], "p": [0, 1]} | changed))


def lacking(*names):
    return camera()[[name for name in "txyp" if name not in names]]


BAD_ITEMS = [
    (ValueError, r"events without field y, p; expected t, y, x, p, got t, x", lacking("y", "p")),
    (ValueError, "without field t;", lacking("t")),
    (ValueError, r"event 1 has x = 5, outside the sensor; expected x in 0\.\.4", camera(x=[0, 5])),
    (ValueError, r"event 0 has y = -1, .* y in 0\.\.2", camera(y=[-1, 0])),
    (ValueError, r"event 1 has p = 2, .* p in 0\.\.1", camera(p=[0, 2])),
    (ValueError, r"event 0 has p = -1", camera(p=[-1, 1])),
    (ValueError, "event 1 at 3 us comes after 4 us; times must not run back", camera(t=[4, 3])),
    (ValueError, "event 0 at -2 us comes after 0 us", camera(t=[-2, 3])),
    (
        ValueError,
        "event 1 at 143165576 us, expected times of at most 1431",
        camera(t=[0, 143165576]),
    ),
    (ValueError, "an empty recording, expected at least one event", camera()[:0]),
    (TypeError, "t must be integers, got float64", camera(t=[0.5, 1])),
    (TypeError, "x must be integers, got float64", camera(x=[0.5, 1])),
    (TypeError, "structured NumPy array .* t, y, x, p, got ndarray", np.zeros((2, 4))),
    (TypeError, "structured NumPy array .*, got list", [1, 2]),
]


@pytest.mark.parametrize(("error", "message", "events"), BAD_ITEMS)
def test_bad_tonic_events_are_named(error, message, events):
    with pytest.raises(error, match=rf"dataset\[1\]: .*{message}"):
        data.from_tonic(Like([(camera(), 0), (events, 0)], (5, 3, 2)))


@pytest.mark.parametrize(
    ("error", "message", "item"),
    [
        (TypeError, "must be a pair of events and label, got tuple of 3", (camera(), 0, 0)),
        (TypeError, "must be a pair of events and label, got ndarray", camera()),
        (TypeError, "label must be an integer, got 'cat'; let target_transform", (camera(), "cat")),
        (TypeError, "label must be an integer, got 1.0$", (camera(), 1.0)),
        (TypeError, "label must be an integer, got True", (camera(), True)),
        (TypeError, "label must be an integer, got array", (camera(), np.array([1]))),
        (ValueError, "a class index from 0, got -1", (camera(), -1)),
    ],
)
def test_bad_tonic_item_is_named(error, message, item):
    with pytest.raises(error, match=rf"dataset\[0\].* {message}"):
        data.from_tonic(Like([item], (5, 3, 2)))


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (
            TypeError,
            "a length and items .*, got generator",
            lambda: data.from_tonic(n for n in "a"),
        ),
        (ValueError, "no sensor_size, so shape must be given", lambda: data.from_tonic([1])),
        (ValueError, r"sensor_size must be \(x, y, p\)", lambda: data.from_tonic(Like([], (3, 4)))),
        (ValueError, r"shape must be of rows.*got \(3, 4\)", lambda: data.from_tonic([1], (3, 4))),
        (ValueError, "sides of at least 1", lambda: data.from_tonic([1], (3, 0, 2))),
        (TypeError, "must hold integers", lambda: data.from_tonic([1], (3.5,))),
        (ValueError, "dataset is empty", lambda: data.from_tonic([], (5,))),
        (ValueError, "limit must be at least 1, got 0", lambda: data.from_tonic([1], (5,), 0)),
        (TypeError, "limit must be an integer, got 1.5", lambda: data.from_tonic([1], (5,), 1.5)),
        (
            ValueError,
            r"event 1 has p = 1, outside the sensor; expected p in 0\.\.0",
            lambda: data.from_tonic([(camera(), 0)], (3, 5, 1)),
        ),
        (
            ValueError,
            r"event 0 has y = 2, outside the sensor; expected y in 0\.\.0",
            lambda: data.from_tonic([(camera(), 0)], (5,)),
        ),
    ],
)
def test_bad_tonic_arguments(error, message, call):
    with pytest.raises(error, match=message):
        call()
