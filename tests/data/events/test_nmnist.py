"""N-MNIST: files by their rules, damaged ones refused by name."""

import zipfile

import jax
import numpy as np
import pytest

from stbp_jax import data
from tests import fuzz_events as fuzz

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


def write_folder(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def assert_same(got, wanted):
    jax.tree.map(np.testing.assert_array_equal, got, wanted)


def test_a_file_bit_by_bit(tmp_path):
    path = tmp_path / "one.bin"
    path.write_bytes(bytes([33, 2, 0x81, 0x02, 0x03, 0, 33, 0x01, 0x02, 0x04]))
    events = data.read_nmnist_file(path)
    assert [v.tolist() for v in events] == [[33, 0], [2, 33], [1, 0], [0x10203, 0x10204]]


def test_row_240_adds_to_all_times_after_it(tmp_path):
    path, wrap = tmp_path / "one.bin", event(200, 240, 1, 0)
    path.write_bytes(wrap + event(1, 1, 0, 5) + wrap + wrap + event(2, 2, 1, 0) + wrap)
    events = data.read_nmnist_file(path)
    assert events.times.tolist() == [8192 + 5, 3 * 8192]
    assert events.x.tolist() == [1, 2]
    # Wraps of one recording leave the next alone.
    files = FILES | {"Train/0/00002.bin": path.read_bytes()}
    train, _ = data.read_nmnist(write_zip(tmp_path / "set.zip", files))
    times = [data.unpack_events(row).times.tolist() for row in train.events]
    assert times == [[300, 300, 336_000], [8192 + 5, 3 * 8192], [7]]


def test_folder_and_zips_give_the_same_in_order_of_numbers(tmp_path):
    train, test = data.read_nmnist(write_zip(tmp_path / "one.zip", FILES))
    assert train.labels.tolist() == [5, 0, 4]
    assert train.labels.dtype == np.int32
    assert train.events.shape == (3, 3)
    assert train.events[1].tolist() == [5 * ADDRESSES + (4 * 34 + 3) * 2, data.PAD, data.PAD]
    assert test.events.shape == (1, 4)
    folder = write_folder(tmp_path / "set", FILES | {"Train/5/.hidden": b"", "README": b"x"})
    assert_same(data.read_nmnist(folder), (train, test))
    for split in ("Train", "Test"):
        some = {name: c for name, c in FILES.items() if name.startswith(split)}
        (tmp_path / "halves").mkdir(exist_ok=True)
        write_zip(tmp_path / "halves" / f"{split}.zip", some)
    assert_same(data.read_nmnist(str(tmp_path / "halves")), (train, test))


BAD_RECORDINGS = {
    "multiple of 5": GOOD + b"x",
    "empty recording": b"",
    "an empty recording, expected at least one event": event(0, 240, 0, 0),
    r"event 1 lies at x = 34, y = 2, outside the sensor.*0\.\.33": GOOD[:5] + event(34, 2, 0, 300),
    "x = 0, y = 34, outside": event(0, 34, 0, 0),
    "event 3 at 335999 us comes after 336000 us; times must not run back": GOOD
    + event(1, 1, 1, 335_999),
    "event 0 at 1857684 us, expected times of at most 1857683 us": event(1, 1, 0, 1_857_684),
}


@pytest.mark.parametrize("message", BAD_RECORDINGS)
def test_bad_recording_is_named(tmp_path, message):
    files = FILES | {"Train/4/00010.bin": BAD_RECORDINGS[message]}
    folder, archive = write_folder(tmp_path / "set", files), write_zip(tmp_path / "s.zip", files)
    for read, path in (
        (data.read_nmnist_file, folder / "Train/4/00010.bin"),
        (data.read_nmnist, folder),
        (data.read_nmnist, archive),
    ):
        with pytest.raises(ValueError, match=rf"Train/4/00010\.bin: .*{message}"):
            read(path)


BAD_NAMES = {
    "Train/ten/00007.bin": "unknown label folder 'ten', expected 0 to 9",
    "Test/10/00007.bin": "unknown label folder '10'",
    "Train/3/seven.bin": "expected a name like 00001.bin",
    "Train/3/00007.txt": "not a recording",
    "Train/00007.bin": "one folder deep for each label",
    "Train/3/3/00007.bin": "one folder deep",
    "Train/3/00001.bin": "recording 1 of Train occurs twice, expected each number once",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_name_is_named(tmp_path, name):
    files = {name: GOOD} | FILES
    for path in (write_folder(tmp_path / "set", files), write_zip(tmp_path / "s.zip", files)):
        with pytest.raises(ValueError, match=BAD_NAMES[name]) as raised:
            data.read_nmnist(path)
        assert name in str(raised.value)


@pytest.mark.parametrize(
    "name",
    ["/Train/3/7.bin", "../Train/3/7.bin", "Train/../../7.bin", "C:/Train/3/7.bin", "..\\3\\7.bin"],
)
def test_zip_with_a_path_that_leaves_it(tmp_path, name):
    with pytest.raises(ValueError, match=r"s\.zip: .*absolute or parent path; expected Train/"):
        data.read_nmnist(write_zip(tmp_path / "s.zip", FILES | {name: GOOD}))


@pytest.mark.parametrize("kept", [0.0, 0.4, 0.99])
def test_truncated_zip(tmp_path, kept):
    path = write_zip(tmp_path / "s.zip", FILES)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"s\.zip: not a readable zip archive, trunc"):
        data.read_nmnist(path)


def test_zip_damaged_inside_and_one_that_would_swell(tmp_path):
    path = write_zip(tmp_path / "s.zip", FILES)
    content = bytearray(path.read_bytes())
    content[40 + len("Train/5/00001.bin")] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"Train/5/00001\.bin: truncated or damaged in its arch"):
        data.read_nmnist(path)
    files = FILES | {"Train/3/00007.bin": bytes(2**24 + 1)}
    with pytest.raises(ValueError, match=r"00007\.bin: unpacks to 16777217 bytes"):
        data.read_nmnist(write_zip(path, files), max_bytes=2**24)


def test_missing_places(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent does not exist"):
        data.read_nmnist(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="holds neither Train/ and Test/ nor a zip"):
        data.read_nmnist(tmp_path)
    files = {name: content for name, content in FILES.items() if "Train" in name}
    for path in (write_folder(tmp_path / "set", files), write_zip(tmp_path / "s.zip", files)):
        with pytest.raises(ValueError, match="no recording under Test/"):
            data.read_nmnist(path)


def test_fuzz(tmp_path):
    counts = fuzz.fuzz(400, 1, tmp_path)
    assert counts.total() == 400
    assert min(counts["recording, accepted"], counts["recording in an archive, accepted"]) > 5
    assert min(counts["recording, refused"], counts["archive, refused"]) > 20


@pytest.mark.parametrize(
    ("times", "addresses", "message"),
    [
        ([], [], r"\[E\] with E >= 1"),
        ([1], [1, 2], r"one shape .*\[1\] and \[2\]"),
        ([1.0], [1], "must be integers, got float64"),
        ([1], [7], r"addresses must lie in \[0, 7\), got 7"),
        ([1], [-1], "got -1 to -1"),
        ([-1], [1], "must not run backwards"),
        ([2, 1], [1, 1], "event 1 at 1 us comes after 2 us"),
        ([613_566_756], [1], "at most 613566755 us"),
    ],
)
def test_packing_names_the_recording(times, addresses, message):
    good = (np.array([1]), np.array([1]))
    with pytest.raises(ValueError, match=rf"recordings\[1\]: .*{message}"):
        data.pack_events([good, (np.array(times), np.array(addresses))], 7)


@pytest.mark.heavy
def test_real_recordings(data_dir):
    path = data_dir / "nmnist" / "nmnist_subset.zip"
    train, test = data.read_nmnist(path)
    assert np.bincount(train.labels).tolist() == [97, 116, 99, 93, 105, 92, 94, 117, 87, 100]
    assert np.bincount(test.labels).tolist() == [8, 14, 8, 11, 14, 7, 10, 15, 2, 11]
    (_, labels), (_, test_labels) = data.load("mnist", path=data_dir / "mnist")
    np.testing.assert_array_equal(train.labels, labels[:1000])
    np.testing.assert_array_equal(test.labels, test_labels[:100])
    counts = np.concatenate([np.sum(part.events != data.PAD, axis=1) for part in (train, test)])
    assert (counts.min(), counts.max(), round(counts.mean())) == (1069, 7152, 4108)
    with zipfile.ZipFile(path) as archive:
        for part, row, name in ((train, 0, "Train/5/00001.bin"), (test, 99, "Test/9/00100.bin")):
            events = data.unpack_events(part.events[row])
            assert fuzz.listed(events) == fuzz.plain_events(archive.read(name))
