"""Sums beside a data set, and caps on what a file unpacks to."""

import gzip
import hashlib
import os
import struct
import zipfile

import numpy as np
import pytest

from stbp_jax import data
from tests import fuzz_parsers
from tests.data.images.making import idx_bytes, image_files, made, write_folder, write_npz

LABELS = idx_bytes(np.arange(5, dtype=np.uint8))


def listed(folder, *files, name="SHA256SUMS"):
    """A list of the files, as `sha256sum` writes it."""
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder).as_posix()}\n"
        for file in files
    ]
    (folder / name).write_text("".join(lines))


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def wav_of(samples):
    header = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    body = b"fmt " + struct.pack("<I", 16) + header + b"data" + struct.pack("<I", len(samples))
    return b"RIFF" + struct.pack("<I", 4 + len(body) + len(samples)) + b"WAVE" + body + samples


def readers(folder):
    """Each reader: files of a set, in a folder of its own, and the call that reads them."""
    events, npz = fuzz_parsers.EVENTS, write_npz(folder / "npz" / "m.npz", made(shape=(2, 2)))
    png = write_folder(folder / "png", image_files((2, 2), train=1, test=1))
    return {
        "idx": ([write(folder / "idx" / "a", LABELS)], data.read_idx),
        "npz": ([npz], lambda path: data.load("m", path=path)),
        "npz in a folder": ([npz], lambda path: data.load("m", path=path.parent)),
        "png": (sorted(png.rglob("*.png")), lambda path: data.load("m", path=folder / "png")),
        "event": ([write(folder / "bin" / "1.bin", events)], data.read_nmnist_file),
        "nmnist": (
            [write(folder / "n" / part / "3" / "1.bin", events) for part in ("Test", "Train")],
            lambda path: data.read_nmnist(folder / "n"),
        ),
        "zip": ([write(folder / "z" / "a.zip", fuzz_parsers.nmnist_seeds()[0])], data.read_nmnist),
        "wav": (
            [write(folder / "wav" / "a.wav", wav_of(bytes(8)))],
            lambda path: data.read_wav(path, rate=8000),
        ),
        "shd": ([write(folder / "shd" / "a.h5", fuzz_parsers.shd_seeds()[0])], data.read_shd),
    }


@pytest.mark.parametrize(
    "name", ["idx", "npz", "npz in a folder", "png", "event", "nmnist", "zip", "wav", "shd"]
)
def test_every_reader_checks_the_sums_before_it_parses(tmp_path, name):
    if name == "shd":
        pytest.importorskip("h5py")
    files, read = readers(tmp_path)[name]
    folder = files[0].parents[2] if name in ("png", "nmnist") else files[0].parent
    plain = read(files[0])
    listed(folder, *files)
    again = read(files[0])
    assert repr(again) == repr(plain)

    changed = files[-1]
    content = changed.read_bytes()
    changed.write_bytes(b"not of any format")
    found, wanted = (hashlib.sha256(b).hexdigest() for b in (b"not of any format", content))
    message = f"{changed}: its SHA-256 is {found}, expected {wanted} by {folder / 'SHA256SUMS'}"
    with pytest.raises(ValueError) as raised:
        read(files[0])
    assert str(raised.value) == message
    listed(folder, *files[:-1])
    with pytest.raises(ValueError, match="not in .*SHA256SUMS, which must list every file"):
        read(files[0])


def test_lines_of_sha256sum(tmp_path):
    path, found = write(tmp_path / "a", LABELS), hashlib.sha256(LABELS).hexdigest()
    odd = write(tmp_path / "b\\c\nd", LABELS)  # sha256sum escapes such a name
    sums = tmp_path / "SHA256SUMS"
    for line in (f"{found.upper()} *./a\r\n", f"# a comment\n\n{found}  a"):
        sums.write_text(line)
        assert data.read_idx(path).tolist() == [0, 1, 2, 3, 4]
    sums.write_text(f"\\{found}  b\\\\c\\nd\n")
    assert len(data.read_idx(odd)) == 5
    for line in (found, f"{found[1:]}  a", "a: OK", f"{found} a", f"SHA256 (a) = {found}"):
        sums.write_text(f"{found}  a\n{line}\n")
        with pytest.raises(ValueError, match=r"SHA256SUMS: line 2 is not of the form of sha256sum"):
            data.read_idx(path)
    sums.write_text(f"{found}  a\n{'0' * 64}  a\n")
    with pytest.raises(ValueError, match="line 2 has a second sum for a"):
        data.read_idx(path)


def test_what_unpacks_to_more_than_the_cap(tmp_path):
    large = np.zeros(2**20, np.uint8)
    packed = gzip.compress(idx_bytes(large)) + gzip.compress(bytes(2**20))  # two members
    path = write(tmp_path / "a", packed)
    for most in (2**20 - 1, 2**20 + 8):
        with pytest.raises(ValueError, match=f"a: unpacks to more than max_bytes = {most}; raise"):
            data.read_idx(path, max_bytes=most)
    write(path, idx_bytes(large))
    with pytest.raises(ValueError, match="a: has 1048584 bytes, more than max_bytes"):
        data.read_idx(path, max_bytes=2**20)
    assert data.read_idx(path, max_bytes=2**20 + 8).sum() == 0

    x = np.zeros((2**18, 2, 2), np.uint8)
    np.savez_compressed(tmp_path / "m.npz", x_train=x, y_train=x[:, 0, 0], x_test=x, y_test=x)
    with pytest.raises(ValueError, match=r"x_train\.npy: unpacks to 1048704 bytes, more than"):
        data.load("m", path=tmp_path / "m.npz", max_bytes=2**19)


def test_a_zip_that_declares_less_than_it_holds(tmp_path):
    """A directory that declares 5 bytes must not let the file unpack to more."""
    files = {"Train/3/1.bin": bytes(2**24), "Test/3/1.bin": fuzz_parsers.EVENTS}
    packed = bytearray(fuzz_parsers.zipped(files))
    at = packed.index(b"PK\x01\x02")
    packed[at + 24 : at + 28] = (5).to_bytes(4, "little")
    path = write(tmp_path / "a.zip", packed)
    with pytest.raises(ValueError, match=r"1\.bin: truncated or damaged in its archive, at byte 0"):
        data.read_nmnist(path, max_bytes=2**16)
    write(path, fuzz_parsers.zipped(files, zipfile.ZIP_LZMA))
    with pytest.raises(ValueError, match=r"1\.bin: compressed by method 14 at byte 0"):
        data.read_nmnist(path, max_bytes=2**25)


def test_one_long_recording_makes_all_rows_long(tmp_path):
    event = fuzz_parsers.EVENTS[:5]
    for number in range(100):
        write(tmp_path / "Train" / "3" / f"{number}.bin", event * (2000 if number == 99 else 1))
    write(tmp_path / "Test" / "3" / "1.bin", event)
    with pytest.raises(ValueError, match=r"99\.bin: 100 recordings of up to 2000 events take more"):
        data.read_nmnist(tmp_path, max_bytes=100 * 4 * 2000 - 1)
    assert data.read_nmnist(tmp_path, max_bytes=100 * 4 * 2000)[0].events.shape == (100, 2000)


def test_images_are_capped_before_they_are_unpacked(tmp_path):
    image = pytest.importorskip("PIL.Image")
    folder = write_folder(tmp_path / "set", image_files((3, 3), train=1, test=1))
    assert len(data.load("m", path=folder, max_bytes=1000)[0].labels) == 3
    for file in folder.rglob("*.png"):
        image.new("L", (1000, 1000)).save(file)  # a kilobyte
    with pytest.raises(ValueError, match=r"\[1000, 1000\]; all images of its split would take mo"):
        data.load("m", path=folder, max_bytes=3 * 10**6 - 1)
    assert data.load("m", path=folder, max_bytes=3 * 10**6)[0].images.shape == (3, 1000, 1000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_in_a_folder_does_not_wait(tmp_path):
    path = write(tmp_path / "Train" / "3" / "1.bin", fuzz_parsers.EVENTS)
    (tmp_path / "Test" / "3").mkdir(parents=True)
    os.mkfifo(tmp_path / "Test" / "3" / "1.bin")
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        data.read_nmnist(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        data.read_nmnist_file(path)


def test_max_bytes_is_a_count(tmp_path):
    path = write(tmp_path / "a", LABELS)
    for bad, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="max_bytes must be"):
            data.read_idx(path, max_bytes=bad)


class TestHDF5:
    def test_a_file_that_never_ends(self, tmp_path, monkeypatch):
        """A heap whose first object has no size: HDF5 2.0 looks for the next one forever."""
        pytest.importorskip("h5py")
        monkeypatch.setattr("stbp_jax.data.events.hdf5._SECONDS", 3)
        content = bytearray(fuzz_parsers.shd_seeds()[0])
        at = content.index(b"GCOL") + 16
        content[at : at + 16] = bytes(16)
        path = write(tmp_path / "a.h5", content)
        with pytest.raises(ValueError, match=r"a\.h5: not a readable HDF5 file"):
            data.read_shd(path)

    def test_what_refers_to_other_files_or_declares_too_much(self, tmp_path):
        h5py = pytest.importorskip("h5py")
        secret = write(tmp_path / "secret", bytes(16))
        base = {"labels": [0], "extra/speaker": [0], "extra/keys": [b"a"]}

        def refused(message, **options):
            with h5py.File(tmp_path / "a.h5", "w") as file:
                for name, values in base.items():
                    file[name] = values
                file["spikes/units"] = np.array([[1, 2]], "u2")
                file.create_dataset("spikes/times", dtype="f4", **options)
            with pytest.raises(ValueError, match=message):
                data.read_shd(tmp_path / "a.h5", max_bytes=2**20)

        refused("times lies in another file", shape=(1, 2), external=[(str(secret), 0, 8)])
        refused("times takes more than the rest of max_bytes, 1048576", shape=(2**40,))
        refused("times takes more", shape=(1, 2), chunks=(1, 2**20), maxshape=(None, None))
        layout = h5py.VirtualLayout((1, 2), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "x", (1, 2))
        with h5py.File(tmp_path / "b.h5", "w") as file:
            file.create_virtual_dataset("spikes/times", layout)
            for name, values in (base | {"spikes/units": np.array([[1, 2]], "u2")}).items():
                file[name] = values
        with pytest.raises(ValueError, match="times lies in another file"):
            data.read_shd(tmp_path / "b.h5")
