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

from stbp_jax import arguments
from stbp_jax.core import Shape

Chunk = tuple[Any, Any]
"""`(times, cells)`: microseconds that do not run backwards and cells in C order, integers, one of
each or `[E]`. `(time, None)` is the clock alone: it has reached that time, whatever came."""


_SILENT = np.zeros(0, np.int64)


def parse(chunk: Chunk) -> tuple[np.ndarray, np.ndarray | None]:
    """Times and cells `[E]` of a chunk as int64; None for cells where it is the clock alone.

    Raises:
      TypeError: no pair; times or cells that are no integers.
      ValueError: times and cells of different shapes; values that 64 bits with a sign do not hold.
    """
    if not isinstance(chunk, tuple | list) or len(chunk) != 2:
        raise TypeError(f"a chunk must be (times, cells) or (time, None), got {chunk!r}")
    masked = np.ma.MaskedArray
    if isinstance(chunk[0], masked) or isinstance(chunk[1], masked):
        raise TypeError(
            "times and cells must be arrays without a mask, got a masked array: drop its events"
        )
    times = np.atleast_1d(np.asarray(chunk[0]))
    clock = chunk[1] is None
    cells = _SILENT if clock else np.atleast_1d(np.asarray(chunk[1]))
    if times.ndim != 1 or (times.shape != cells.shape and not (clock and len(times) == 1)):
        raise ValueError(
            "times and cells of a chunk must have one shape [E], or one time and None for cells; "
            f"got {list(times.shape)} and {'None' if clock else list(cells.shape)}"
        )
    if not len(times):
        return _SILENT, None if clock else _SILENT
    if times.dtype.kind not in "iu" or cells.dtype.kind not in "iu":
        for values in (times, cells):
            if values.dtype.kind == "O" and all(type(v) is int for v in values):
                # What NumPy makes of Python integers beyond 64 bits.
                raise ValueError(f"times and cells must lie in [-2⁶³, 2⁶³), got {list(values)}")
        raise TypeError(f"times and cells must be integers, got {times.dtype} and {cells.dtype}")
    for values in (times, cells):
        if values.dtype.char in "LQ" and len(values) and values.max() >= 2**63:
            raise ValueError(f"times and cells must lie in [-2⁶³, 2⁶³), got {values.max()}")
    return times.astype(np.int64), None if clock else cells.astype(np.int64)


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
      ValueError: words of another rank or out of order; `microseconds` below 1, `until` below 0.
    """
    microseconds, shape = arguments.count("microseconds", microseconds), arguments.sensor(shape)
    until = None if until is None else arguments.count("until", until, least=0)
    arguments.array("words", words)
    words = np.asarray(words)
    arguments.rank("words", words, "M", "; one recording")
    if words.dtype != np.uint32:
        raise TypeError(f"words must be uint32, got dtype {words.dtype}")
    words = words[words != np.uint32(2**32 - 1)].astype(np.int64)
    times = words // math.prod(shape)
    if (wrong := times[1:] < times[:-1]).any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"words must be in order of time, got {times[at + 1]} us after {times[at]} us"
        )
    return _replay(times, words % math.prod(shape), microseconds, until)


def _replay(
    times: np.ndarray, cells: np.ndarray, microseconds: int, until: int | None
) -> Iterator[Chunk]:
    end = until if until is not None else int(times[-1]) + 1 if len(times) else 0
    for begin in range(0, end, microseconds):
        stop = min(begin + microseconds, end)
        low, high = np.searchsorted(times, (min(begin, 2**32), min(stop, 2**32)))
        if high > low:
            yield times[low:high], cells[low:high]
        if until is not None or stop < end:
            yield stop, None


def with_clock(
    source: Iterable[Chunk],
    *,
    microseconds: int = 1_000,
    lag: int = 0,
    timeout: float | None = None,
) -> Iterator[Chunk]:
    """A source beside a clock: whatever it gives, and `(time, None)` while it gives nothing.

    Time 0 of the source is when this iterator is first asked; a source whose times run ahead of
    that gets no clock until it is caught up with. The source is read in a thread of its own, which
    ends with it, or with the next chunk after this iterator is closed.

    Args:
      source: chunks as they happen; it may block.
      microseconds: of silence after which the clock is given.
      lag: microseconds that the clock is held back. An event that reaches us later than that can
        find its time gone, and `classify_stream` refuses it.
      timeout: seconds of silence after which it raises; None waits for ever.

    Yields:
      Chunks.

    Raises:
      TimeoutError: nothing came for `timeout` seconds.
      TypeError: a source that cannot be iterated; `microseconds` or `lag` no integers, `timeout` no
        number; a chunk of another form.
      ValueError: `microseconds` below 1, `lag` below 0, `timeout` not above 0.
      Exception: whatever the source raises.
    """
    microseconds = arguments.count("microseconds", microseconds)
    lag = arguments.count("lag", lag, least=0)
    arguments.iterable("source", source)
    if timeout is not None:
        arguments.positive("timeout", timeout)
        arguments.scalar("timeout", timeout)
    return _live(source, microseconds, lag, timeout)


def _live(
    source: Iterable[Chunk], microseconds: int, lag: int, timeout: float | None
) -> Iterator[Chunk]:
    # One chunk in a tuple; an empty tuple at the end.
    came: queue.SimpleQueue[tuple[tuple[()] | tuple[Chunk], BaseException | None]]
    came = queue.SimpleQueue()
    closed = threading.Event()

    def read() -> None:
        try:
            for chunk in source:
                came.put(((chunk,), None))
                if closed.is_set():
                    return
            came.put(((), None))
        except BaseException as error:  # handed to whoever waits
            came.put(((), error))

    began = heard = time.monotonic()
    latest = -1
    patience = min(min(microseconds, 10**15) / 10**6, 10**9 if timeout is None else timeout)
    threading.Thread(target=read, daemon=True, name="stbp_jax.live").start()
    try:
        while True:
            try:
                found, error = came.get(timeout=patience)
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
            if not found:
                return
            chunk = found[0]
            heard = time.monotonic()
            latest = max(latest, *parse(chunk)[0][-1:].tolist())
            yield chunk
    finally:
        closed.set()
