"""Signals: exit codes, the second signal, and what is finished first."""

import signal
import subprocess
import sys
import time

import pytest

from experiments.engine import provenance

# It works for ten seconds unless a signal asks it to end.
PROGRAM = """
import hashlib, signal, sys, time
from experiments import interruption

interruption.install()
signal.signal(signal.SIGUSR1, lambda number, frame: None)
if sys.argv[1] == "working":
    try:
        with interruption.working():
            print("ready", flush=True)
            for _ in range(1000):
                time.sleep(0.01)
                if interruption.requested() and sys.argv[2] == "ends":
                    break
            print("saved", flush=True)
    except interruption.Interrupted as interrupted:
        interruption.leave(interrupted.code)
elif sys.argv[1] == "ending":
    import atexit

    atexit.register(time.sleep, 30)  # as a thread that Python would wait for
    print("ready", flush=True)
    print("done")
    interruption.leave(3)
else:
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # like a compiled call: no handler runs
"""


def started(*words):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=provenance.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


NUMBERS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@NUMBERS
def test_work_is_saved_first(number):
    process = started("working", "ends")
    process.send_signal(signal.SIGUSR1)  # another handler of the program, which ends nothing
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (128 + number, "saved\n")
    assert f"{number.name}: the epoch under way ends" in err
    assert "Traceback" not in err


@NUMBERS
def test_a_second_signal_ends_at_once(number):
    process = started("working", "goes on")
    process.send_signal(number)
    assert "the epoch under way ends" in process.stderr.readline() + process.stderr.readline()
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (128 + number, "")
    assert time.monotonic() - began < 5
    assert "Traceback" not in err


@NUMBERS
def test_without_work_a_signal_ends_at_once_even_within_a_call(number):
    process = started("idle")
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in err


def test_a_process_that_leaves_waits_for_nothing():
    with started("ending") as process:
        began = time.monotonic()
        out = process.stdout.read()  # `communicate` would miss what `readline` has read ahead
        assert (process.wait(timeout=30), out, process.stderr.read()) == (3, "done\n", "")
        assert time.monotonic() - began < 20  # of 30 s
