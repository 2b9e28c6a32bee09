"""Kill commands at random moments, resume them, and compare with an undisturbed run.

    python tests/trials/kills.py run SIGKILL --tries 100
    python tests/trials/kills.py sweep SIGKILL --tries 20
    python tests/trials/kills.py reproduce SIGKILL --tries 20
    python tests/trials/kills.py run SIGINT SIGTERM --tries 100

A try starts the command in a new folder, sends one of the signals in turn after a random time, up
to the length of an undisturbed run, and resumes, which must exit with 0. SIGINT and SIGTERM are
sent as soon as the handlers stand, or later; the exit code must be 130 or 143 (or 0, if the run
ended first). The final parameters (of a sweep and of `reproduce`: the rows) must equal those of the
undisturbed run bit by bit. The first start of every other try compiles all its programs; all other
starts read them from a cache, which saves half of the time.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from record import ROOT, record

from experiments.engine import rows

PYTHON = [sys.executable, "-m", "experiments"]
SHORT = ["--data.num-steps", "5", "--model.layers", "32-10", "--train.epochs", "8"]
TIMES = ("wall_seconds", "compile_seconds", "peak_bytes", "date", "seconds", "command")
# A signal before this time can come before Python has run the first line of the program.
STANDING = 0.5


def command(kind: str, out: Path) -> list[str]:
    """The command of a first start; `reproduce` resumes with the same one."""
    often = ["--save-minutes", "0"]
    if kind == "reproduce":
        which = ["reproduce", "digits", "delayed_recall/stbp", "--budget", "smoke", "--afresh"]
        return [*PYTHON, *which, "--results", str(out), *often]
    if kind == "sweep":
        which = ["reproduce", "digits_widths/rectangular", "--budget", "smoke", "--afresh"]
        return [*PYTHON, *which, "--together", "--results", str(out), *often]
    return [*PYTHON, "run", "digits", *SHORT, "--out", str(out), *often]


def resumed(kind: str, out: Path) -> list[str]:
    """The command that resumes, or starts if the kill came before the folder had its settings."""
    if kind == "run" and (out / "config.json").exists():
        return [*PYTHON, "run", "--resume", str(out), "--save-minutes", "0"]
    if kind == "run":
        shutil.rmtree(out, ignore_errors=True)
    return command(kind, out)


def ended(kind: str, out: Path) -> bool:
    """Whether the last process had ended its work before the signal."""
    return kind == "run" and (out / "row.jsonl").exists()


def result(kind: str, out: Path) -> object:
    """What must be equal: parameters by name as bytes, or rows without times."""
    if kind == "run":
        with np.load(out / "params.npz") as file:
            return {name: file[name].tobytes() for name in file.files}
    found = [
        {name: value for name, value in row.items() if name not in TIMES}
        for row in rows.read_lines(out / "rows.jsonl")
    ]
    return sorted(found, key=repr)


def call(
    words: list[str], cache: Path | None, seconds: float | None = None, number: int = 0
) -> tuple[int, float, str]:
    """Run a command, and send a signal after some seconds: exit code, time to end, errors."""
    environment = os.environ | {
        "JAX_ENABLE_COMPILATION_CACHE": str(cache is not None),
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    process = subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    sent = None
    if seconds is not None:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            sent = time.monotonic()
    _, errors = process.communicate()
    return process.returncode, time.monotonic() - sent if sent else 0.0, errors.decode()


def main() -> None:
    """Try, and record a row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["run", "sweep", "reproduce"])
    parser.add_argument("signals", nargs="+", choices=["SIGKILL", "SIGINT", "SIGTERM"])
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    args = parser.parse_args()
    until = time.monotonic() + 60 * args.minutes
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = folder / "cache"
        lengths = {}
        for name, where in [("first", cache), ("compiled", None), ("cached", cache)]:
            began = time.monotonic()
            code, _, errors = call(command(args.kind, folder / name), where)
            assert code == 0, errors
            lengths[where] = time.monotonic() - began
        want = result(args.kind, folder / "first")
        assert result(args.kind, folder / "compiled") == want
        failures, waits, tries = [], [0.0], 0
        while tries < args.tries and time.monotonic() < until:
            number = signal.Signals[args.signals[tries % len(args.signals)]]
            killed = number == signal.SIGKILL
            where = [cache, None][tries // len(args.signals) % 2]
            out = folder / str(tries)
            after = rng.uniform(0 if killed else STANDING, lengths[where])
            code, wait, errors = call(command(args.kind, out), where, after, number)
            good = code in (0, -9 if killed else 128 + number) and "Traceback" not in errors
            if code != 0 and not ended(args.kind, out):
                code, _, errors = call(resumed(args.kind, out), cache)
                good = good and code == 0
            good = good and result(args.kind, out) == want
            tries += 1
            waits.append(wait)
            if not good:
                failures.append(round(after, 2))
                print(f"failed after {after:.2f} s: exit code {code}\n{errors[-2000:]}", flush=True)
            shutil.rmtree(out, ignore_errors=True)
    what = {"run": "a run of the digits", "sweep": "a sweep"}.get(args.kind, "`reproduce`")
    orderly = "SIGKILL" not in args.signals
    record(
        f"{' and '.join(args.signals)} at random moments of {what}, then resumed",
        "bit-equal to the undisturbed run"
        + (", exit code 130 or 143, no traceback" if orderly else ""),
        tries=tries,
        failures=len(failures),
        **({"longest_wait_s": round(max(waits), 1)} if orderly else {}),
        length_of_a_run_s=round(lengths[None], 1),
        length_with_cached_programs_s=round(lengths[cache], 1),
        failed_after_s=failures,
    )


if __name__ == "__main__":
    main()
