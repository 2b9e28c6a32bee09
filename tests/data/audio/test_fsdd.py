"""Spoken digits: names, order, archives, and the real set."""

import io
import wave
import zipfile

import numpy as np
import pytest

from stbp_jax import data

RATE = 8000


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


GOOD = wav([0, 1, 2, 3])


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
    write_zip(path, FILES | {"recordings/3_ann_1.wav": wav(range(600))})
    with pytest.raises(ValueError, match=r"3_ann_1\.wav: unpacks to 1244 bytes, more than max_by"):
        data.read_fsdd(path, max_bytes=1243)
    with pytest.raises(
        ValueError, match=r"3_ann_10\.wav: the sounds up to this one take more than"
    ):
        data.read_fsdd(path, max_bytes=4 * 605)
    assert len(data.read_fsdd(path, max_bytes=4 * 606).sounds) == 4
