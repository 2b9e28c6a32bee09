"""Mutated N-MNIST files against a slow reader of their rules: `python -m tests.fuzz_events`.

A file that breaks a rule must raise a ValueError that names the file. Any other file must be read
as exactly the events in its bytes. Any other error, and any difference, ends the run.
"""

import argparse
import io
import re
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from stbp_jax import data

LAST = (2**32 - 1) // (34 * 34 * 2) - 1  # microseconds that fit a packed word
NAME = re.compile(r"(Train|Test)/([0-9])/([0-9]{1,9})\.bin")


def plain_events(content):
    """Events `(x, y, polarity, time)`, rule by rule; None if the file breaks a rule."""
    if len(content) % 5:
        return None
    events, wraps, before = [], 0, 0
    for at in range(0, len(content), 5):
        x, y, high, middle, low = content[at : at + 5]
        if y == 240:
            wraps += 1
            continue
        time = ((high % 128) * 256 + middle) * 256 + low + 8192 * wraps
        if x > 33 or y > 33 or time < before or time > LAST:
            return None
        before = time
        events.append((x, y, high // 128, time))
    return events or None


def plain_archive(path):
    """`{split: {number: (label, events)}}` as zipfile reads it; None if a rule is broken."""
    found = {"Train": {}, "Test": {}}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.orig_filename
                if name[:1] in ("", "/") or ".." in name.split("/") or set(name) & set("\\\0"):
                    return None
                if ":" in name.split("/")[0]:
                    return None
                split, *rest = name.split("/")
                hidden = any(part.startswith(".") for part in (split, *rest))
                if split not in found or name.endswith("/") or hidden:
                    continue
                match, content = NAME.fullmatch(name), archive.read(info)
                events = match and len(content) == info.file_size and plain_events(content)
                if not events or int(match[3]) in found[split]:
                    return None
                found[split][int(match[3])] = (int(match[2]), events)
    except Exception:
        return None
    return found if all(found.values()) else None


def recording(rng):
    """A few events, sometimes with wraps of the clock or at the largest time."""
    count = int(rng.integers(1, 40))
    out = bytearray()
    times = np.sort(rng.integers(0, 340_000, count))
    if rng.random() < 0.1:
        times[-1] = LAST + rng.integers(-1, 3)
    for time in times:
        if rng.random() < 0.02:
            out += bytes([int(rng.integers(256)), 240, *rng.bytes(3)])
        x, y, on = rng.integers(0, (34, 34, 2))
        out += bytes([x, y, (on << 7) | (time >> 16), (time >> 8) & 255, time & 255])
    return bytes(out)


def mutate(rng, content):
    """Bytes flipped, cut, inserted or moved; whole events too, which keeps lengths legal."""
    out = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(out) + 1))
        event = at - at % 5
        kind = rng.integers(0, 9)
        if kind == 0 and at < len(out):
            out[at] = rng.integers(0, 256)
        elif kind == 1 and at < len(out):
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 2:
            del out[at : at + int(rng.integers(1, 9))]
        elif kind == 3:
            out[at:at] = rng.bytes(int(rng.integers(1, 9)))
        elif kind == 4:
            del out[at:]
        elif kind == 5:
            del out[event : event + 5]
        elif kind == 6:
            out[event:event] = out[event : event + 5]
        elif kind == 7:
            out[event:event] = bytes([int(rng.integers(256)), 240, *rng.bytes(3)])
        elif kind == 8:
            out[event : event + 10] = out[event + 5 : event + 10] + out[event : event + 5]
    return bytes(out)


def attempt(read, path):
    """The result of `read`, or None if it raises a ValueError that names the file."""
    try:
        return read(path)
    except ValueError as error:
        if str(path) not in str(error):
            raise AssertionError(f"the error does not name {path}") from error
        return None


def listed(events):
    return list(zip(*(v.tolist() for v in events), strict=True))


def compare_file(path):
    """Whether the file is accepted; both readers must agree, to the last event."""
    got, wanted = attempt(data.read_nmnist_file, path), plain_events(path.read_bytes())
    assert (None if got is None else listed(got)) == wanted
    return wanted is not None


def compare_archive(path):
    """As `compare_file`, of a whole archive."""
    got, wanted = attempt(data.read_nmnist, path), plain_archive(path)
    if (got is None) != (wanted is None):
        data.read_nmnist(path)  # the error says why
        raise AssertionError("an archive that breaks a rule was accepted")
    if got is not None:
        for (rows, labels), part in zip(got, wanted.values(), strict=True):
            pairs = [part[number] for number in sorted(part)]
            read = [listed(data.unpack_events(row)) for row in rows]
            assert list(zip(labels.tolist(), read, strict=True)) == pairs
    return wanted is not None


def archive(rng, contents):
    out = io.BytesIO()
    how = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[int(rng.integers(2))]
    with zipfile.ZipFile(out, "w", how) as file:
        for n, content in enumerate(contents):
            file.writestr(f"{('Train', 'Test')[n % 2]}/{n % 10}/{n:05}.bin", content)
    return out.getvalue()


def fuzz(files, seed, folder):
    """Read many mutated files.

    Returns:
      The number of accepted and of refused files of each kind.
    """
    rng, counts = np.random.default_rng(seed), Counter()
    single, whole = folder / "00001.bin", folder / "mutated.zip"
    for n in range(files):
        if n % 4:
            single.write_bytes(mutate(rng, recording(rng)))
            kind, accepted = "recording", compare_file(single)
        else:
            contents = [recording(rng) for _ in range(4)]
            if n % 8:
                kind, packed = "archive", mutate(rng, archive(rng, contents))
            else:
                kind, contents[2] = "recording in an archive", mutate(rng, contents[2])
                packed = archive(rng, contents)
            whole.write_bytes(packed)
            accepted = compare_archive(whole)
        counts[f"{kind}, {'accepted' if accepted else 'refused'}"] += 1
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind, count in sorted(fuzz(args.files, args.seed, Path(folder)).items()):
            print(f"{count:7} {kind}")
