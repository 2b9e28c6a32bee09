"""Where events come from: a recording played back, or anything live beside a clock.

Decides what a source is: an iterator of chunks. Leaves out sensors and what is done with events
(`loop`).
"""

import math
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from stbp_jax import checks
from stbp_jax.core import Shape

Chunk = tuple[Any, Any]
"""`(times, cells)`: microseconds that do not run backwards and cells in C order, integers, one of
each or `[E]`. `(time, None)` is the clock alone: it has reached that time, whatever came."""


def replay(
    words: Any, *, shape: Shape = (34, 34, 2), microseconds: int = 1_000, until: int | None = None
) -> Iterator[Chunk]:
    """A packed recording as a source: chunks of so many microseconds, as fast as they are taken.

    Args:
      words: `[M]`, a row of `data.Recordings.events`.
      shape: of the sensor.
      microseconds: of a chunk; silent ones give the clock alone.
      until: the clock goes on to this time, or stops there; None ends with the last event.

    Returns:
      An iterator of `(times [E], cells [E])`, and `(time, None)` at the end of each chunk but an
      unfinished last.

    Raises:
      TypeError: words that are not uint32; `microseconds` or `until` no integers.
      ValueError: words of another rank; `microseconds` below 1, `until` below 0.
    """
    microseconds = checks.count("microseconds", microseconds)
    until = None if until is None else checks.count("until", until, least=0)
    words = np.asarray(words)
    checks.rank("words", words, "M", "; one recording")
    if words.dtype != np.uint32:
        raise TypeError(f"words must be uint32, got dtype {words.dtype}")
    return _replay(words, shape, microseconds, until)


def _replay(
    words: np.ndarray, shape: Shape, microseconds: int, until: int | None
) -> Iterator[Chunk]:
    words = words[words != np.uint32(2**32 - 1)].astype(np.int64)
    times, cells = np.divmod(words, math.prod(shape))
    end = until if until is not None else int(times[-1]) + 1 if len(times) else 0
    for begin in range(0, end, microseconds):
        stop = min(begin + microseconds, end)
        low, high = np.searchsorted(times, (begin, stop))
        if high > low:
            yield times[low:high], cells[low:high]
        if until is not None or stop < end:
            yield stop, None


def live(
    source: Iterable[Chunk],
    *,
    microseconds: int = 1_000,
    lag: int = 0,
    timeout: float | None = None,
) -> Iterator[Chunk]:
    """A source beside a clock: whatever it gives, and `(time, None)` while it gives nothing.

    Time 0 of the source is when this iterator is first asked. The source is read in a thread of its
    own, which ends with it, or with the next chunk after this iterator is closed.

    Args:
      source: chunks as they happen; it may block.
      microseconds: of silence after which the clock is given.
      lag: microseconds that the clock is held back. An event that reaches us later than that can
        find its time gone, and `decisions` refuses it.
      timeout: seconds of silence after which it raises; None waits for ever.

    Yields:
      Chunks.

    Raises:
      TimeoutError: nothing came for `timeout` seconds.
      ValueError: `microseconds` below 1, `lag` below 0, `timeout` not above 0.
      Exception: whatever the source raises.
    """
    microseconds = checks.count("microseconds", microseconds)
    lag = checks.count("lag", lag, least=0)
    if timeout is not None:
        checks.positive("timeout", timeout)
    return _live(source, microseconds, lag, timeout)


def _live(
    source: Iterable[Chunk], microseconds: int, lag: int, timeout: float | None
) -> Iterator[Chunk]:
    came: queue.SimpleQueue[tuple[Chunk | None, BaseException | None]] = queue.SimpleQueue()
    closed = threading.Event()

    def read() -> None:
        try:
            for chunk in source:
                came.put((chunk, None))
                if closed.is_set():
                    return
            came.put((None, None))
        except BaseException as error:  # handed to whoever waits
            came.put((None, error))

    began = heard = time.monotonic()
    latest = -1
    patience = microseconds * 1e-6 if timeout is None else min(microseconds * 1e-6, timeout)
    threading.Thread(target=read, daemon=True, name="stbp_jax.live").start()
    try:
        while True:
            try:
                chunk, error = came.get(timeout=patience)
            except queue.Empty:
                now = time.monotonic()
                if timeout is not None and now - heard >= timeout:
                    raise TimeoutError(
                        f"the source stalled: nothing came for {now - heard:.3g} s, expected a "
                        f"chunk within {timeout:g} s"
                    ) from None
                reached = int((now - began) * 1e6) - lag
                if reached > latest:
                    latest = reached
                    yield reached, None
                continue
            if error is not None:
                raise error
            if chunk is None:
                return
            heard = time.monotonic()
            latest = max(latest, *np.atleast_1d(chunk[0])[-1:].tolist())
            yield chunk
    finally:
        closed.set()
