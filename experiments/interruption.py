"""SIGINT and SIGTERM: a command saves its work and ends, with the exit code 130 or 143.

The module imports the standard library alone, so that the handlers stand before JAX is imported.
Python runs a signal's handler only between two of its own instructions, and so not during a
compiled call. Therefore a thread reads the signals from a pipe: it can say what happens next, and
end the process at a second signal, while a call goes on.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal has asked the command to end, and its work is saved.

    Attributes:
      code: the exit code, 128 plus the number of the signal.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Process:
    """What this process has received, and whether it has something to save."""

    lock = threading.Lock()
    works = False
    code: int | None = None


def install() -> None:
    """Handle SIGINT and SIGTERM from now on; to be called once, by the main thread.

    A signal outside of `working` ends the process at once. Within it the first signal is noted for
    `requested`, and a second one ends the process at once.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading,), daemon=True).start()
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: None)


def _watch(reading: int) -> None:
    for number in iter(lambda: os.read(reading, 1), b""):
        if number[0] not in SIGNALS:  # the pipe has every signal for which Python has a handler
            continue
        code = 128 + number[0]
        with _Process.lock:
            if not _Process.works or _Process.code is not None:
                _say(f"{signal.Signals(number[0]).name}: ended at once")
                os._exit(code)
            _Process.code = code
        _say(
            f"{signal.Signals(number[0]).name}: the epoch under way ends, then the run is saved; "
            "a second signal ends it at once"
        )


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


@contextlib.contextmanager
def working() -> Iterator[None]:
    """Mark a `with` block that saves its work if a first signal asks it to end.

    Raises:
      Interrupted: at the end of the block, if a signal came within it.
    """
    with _Process.lock:
        _Process.works = True
    try:
        yield
    finally:
        with _Process.lock:
            _Process.works = False
    if _Process.code is not None:
        raise Interrupted(_Process.code)


def requested() -> bool:
    """Return whether a signal within `working` has asked the command to end."""
    return _Process.code is not None


def leave(code: int) -> NoReturn:
    """End the process with an exit code, without the work that Python does at its end.

    Python would first put the default handlers back, so that a signal would then end the process by
    itself, and wait for the threads of other packages.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)
