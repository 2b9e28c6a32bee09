"""Fail every file operation of a save in turn, and fill a disk: the last good state is loadable.

    python tests/trials/faults.py

`faults.c` replaces the C library's functions that change files, for Python and for Orbax's C++
alike; it needs gcc. Operation n fails with "no space left", alone or with all that follow, as after
a loss of power. The part with a small tmpfs needs the right to mount one.
"""

import ctypes
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
LIBRARY = "STBP_FAULTS"

if LIBRARY not in os.environ:
    with tempfile.TemporaryDirectory() as built:
        library = f"{built}/faults.so"
        build = ["gcc", "-shared", "-fPIC", "-O1", "-o", library, str(HERE / "faults.c"), "-ldl"]
        subprocess.run(build, check=True)
        preloaded = os.environ | {LIBRARY: library, "LD_PRELOAD": library}
        sys.exit(subprocess.run([sys.executable, *sys.argv], env=preloaded).returncode)

import jax  # noqa: E402
import numpy as np  # noqa: E402
from record import record  # noqa: E402

import stbp_jax as sj  # noqa: E402
from experiments.engine import checkpoints, rows  # noqa: E402

NETWORK = sj.serial(sj.dense(40, sj.lif()), sj.dense(10, sj.lif()))
SHAPES = jax.eval_shape(lambda key: NETWORK.init(key, (64,))[0], jax.random.key(0))
ABOUT = {"config": {}}
OLD, NEW = (NETWORK.init(jax.random.key(seed), (64,))[0] for seed in (1, 2))


class Case(NamedTuple):
    """A save: a folder with the old state, the save of the new one, and what is read then."""

    name: str
    prepare: Callable[[Path], None]
    save: Callable[[Path], None]
    read: Callable[[Path], object]
    good: Callable[[object], bool]


def equal(found: object, state: object) -> bool:
    """Whether two trees have the same arrays."""
    one, other = jax.tree.leaves(found), jax.tree.leaves(state)
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def checkpoint(states: dict[int, object]) -> Callable[[Path], None]:
    """A function that saves states as checkpoints."""

    def save(folder: Path) -> None:
        with checkpoints.opened(folder, ABOUT) as saved:
            for epoch, state in states.items():
                saved.save(epoch, state, None)

    return save


def restored(folder: Path) -> object:
    """The newest good checkpoint."""
    with checkpoints.opened(folder, ABOUT) as saved:
        return saved.restore(SHAPES)


def either(found: object) -> bool:
    """Whether parameters are the old or the new ones."""
    return equal(found, OLD) or equal(found, NEW)


CASES = [
    Case(
        "a checkpoint",
        checkpoint({1: NEW, 2: OLD}),
        checkpoint({3: NEW}),
        restored,
        lambda found: equal(found[1], {2: OLD, 3: NEW}[found[0]]),
    ),
    Case(
        "a network (`sj.save`)",
        lambda folder: sj.save(folder / "params.npz", NETWORK, OLD),
        lambda folder: sj.save(folder / "params.npz", NETWORK, NEW),
        lambda folder: sj.load(folder / "params.npz", NETWORK, SHAPES),
        either,
    ),
    Case(
        "a result row",
        lambda folder: rows.append(folder / "rows.jsonl", {"n": 1}),
        lambda folder: rows.append(folder / "rows.jsonl", {"n": 2}),
        lambda folder: [row["n"] for row in rows.read_lines(folder / "rows.jsonl")],
        lambda found: found in ([1], [1, 2]),
    ),
]


def tried(case: Case, folder: Path, *, failing: Callable[[], None]) -> bool:
    """Save with faults; whether the old or the new state is then read."""
    try:
        failing()
        case.save(folder)
    except OSError:
        pass
    finally:
        FAULTS.faults_arm(b"", 0, 0)
    try:
        return case.good(case.read(folder))
    except Exception as error:
        print(f"{case.name}: {type(error).__name__}: {error}", flush=True)
        return False


FAULTS = ctypes.CDLL(os.environ[LIBRARY])
FAULTS.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_long]
FAULTS.faults_seen.restype = ctypes.c_long
MANY = 10**9


def main() -> None:
    """Try each case, and record a row for it."""
    warnings.simplefilter("ignore")
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        for case in CASES:
            old = Path(name) / "old"
            shutil.rmtree(old, ignore_errors=True)
            old.mkdir()
            case.prepare(old)

            def fresh(old: Path = old) -> Path:
                # After a failed save, threads of Orbax may still write into its folder.
                return shutil.copytree(old, old.with_name(f"new{next(numbers)}"))

            new = fresh()
            FAULTS.faults_arm(bytes(new), 0, 0)
            case.save(new)
            count = FAULTS.faults_seen()
            failed = []
            for until in ("alone", "and all after it"):
                for n in range(1, count + 1):
                    new, to = fresh(), n if until == "alone" else MANY
                    arm = lambda new=new, n=n, to=to: FAULTS.faults_arm(bytes(new), n, to)  # noqa: E731
                    if not tried(case, new, failing=arm):
                        failed.append(f"{n} {until}")
            record(
                f"failure at every file operation of a save of {case.name}",
                "the last good state or the new one is loaded",
                tries=2 * count,
                failures=len(failed),
                operations=count,
                failed_at=failed,
            )
            full(case, Path(name) / "disk")


def full(case: Case, disk: Path) -> None:
    """Save on a small tmpfs that has less and less space left."""
    disk.mkdir(exist_ok=True)
    failed, tries = [], 0
    for left in range(0, 200_000, 4096):
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)]
        if subprocess.run(mount, capture_output=True).returncode:
            print("no right to mount a tmpfs", flush=True)
            return
        try:
            run = disk / "run"
            run.mkdir()
            case.prepare(run)
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
            (disk / "filler").write_bytes(b"x" * max(0, free - left))
            tries += 1
            if not tried(case, run, failing=lambda: None):
                failed.append(left)
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    record(
        f"a disk that fills during a save of {case.name}",
        "the last good state or the new one is loaded",
        tries=tries,
        failures=len(failed),
        failed_with_bytes_left=failed,
    )


if __name__ == "__main__":
    main()
