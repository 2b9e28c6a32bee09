"""Sources of events for a stream: a packed recording, or a live source with a clock.

A source is an iterator of chunks.
"""

import math
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt32

from stbp_jax import arguments
from stbp_jax.core import AnyArray, Shape

Chunk = tuple[Any, Any]
"""`(times, addresses)` or `(time, None)`.

Times are microseconds that do not run backwards, addresses are indices in C order: one integer each
or `[E]` each. `(time, None)` says that the clock has reached that time, with or without events.
"""


_SILENT = np.zeros(0, np.int64)


def parse(chunk: Chunk) -> tuple[np.ndarray, np.ndarray | None]:
    """Times and addresses `[E]` of a chunk as int64; addresses are None for a chunk of the clock.

    Raises:
      TypeError: a chunk that is not a pair; times or addresses that are not integers.
      ValueError: times and addresses of different shapes; values outside of int64.
    """
    if not isinstance(chunk, tuple | list) or len(chunk) != 2:
        raise TypeError(f"a chunk must be (times, addresses) or (time, None), got {chunk!r}")
    masked = np.ma.MaskedArray
    if isinstance(chunk[0], masked) or isinstance(chunk[1], masked):
        raise TypeError(
            "times and addresses must be arrays without a mask, got a masked array: drop its events"
        )
    times = np.atleast_1d(np.asarray(chunk[0]))
    clock = chunk[1] is None
    addresses = _SILENT if clock else np.atleast_1d(np.asarray(chunk[1]))
    if times.ndim != 1 or (times.shape != addresses.shape and not (clock and len(times) == 1)):
        raise ValueError(
            "times and addresses of a chunk must have one shape [E], an address being an index in "
            "C order (np.ravel_multi_index), or one time and None for addresses; got "
            f"{list(times.shape)} and {'None' if clock else list(addresses.shape)}"
        )
    if not len(times):
        return _SILENT, None if clock else _SILENT
    if times.dtype.kind not in "iu" or addresses.dtype.kind not in "iu":
        for values in (times, addresses):
            if values.dtype.kind == "O" and all(type(v) is int for v in values):
                # NumPy makes objects of Python integers beyond 64 bits.
                raise ValueError(f"times and addresses must lie in [-2⁶³, 2⁶³), got {list(values)}")
        raise TypeError(
            f"times and addresses must be integers, got {times.dtype} and {addresses.dtype}"
        )
    for values in (times, addresses):
        if values.dtype.char in "LQ" and len(values) and values.max() >= 2**63:
            raise ValueError(f"times and addresses must lie in [-2⁶³, 2⁶³), got {values.max()}")
    return times.astype(np.int64), None if clock else addresses.astype(np.int64)


def replay(
    words: UInt32[AnyArray, " M"],
    *,
    shape: Shape = (34, 34, 2),
    microseconds: int = 1_000,
    until: int | None = None,
) -> Iterator[Chunk]:
    """A packed recording as a source of chunks, as fast as the consumer takes them.

    Args:
      words: `[M]`, uint32, a row of `data.Recordings.events`.
      shape: shape of the sensor.
      microseconds: length of a chunk; a silent chunk gives the clock alone.
      until: time in microseconds at which the clock ends; None ends with the last event.

    Returns:
      An iterator of `(times [E], addresses [E])`, with `(time, None)` at the end of each chunk,
      except after an unfinished last chunk.

    Raises:
      TypeError: words that are not uint32; `microseconds` or `until` that are not integers.
      ValueError: words of another rank or out of order; `microseconds` below 1; `until` below 0.

    >>> words = np.array([500 * 2312 + 7], np.uint32)
    >>> [(times.tolist(), addresses.tolist()) for times, addresses in replay(words)]
    [([500], [7])]
    """
    microseconds, shape = arguments.count("microseconds", microseconds), arguments.sensor(shape)
    until = None if until is None else arguments.count("until", until, least=0)
    arguments.array("words", words)
    arguments.rank("words", words, "M", "; one recording")
    if words.dtype != np.uint32:
        raise TypeError(f"words must be uint32, got dtype {words.dtype}")
    found = np.asarray(words)
    found = found[found != np.uint32(2**32 - 1)].astype(np.int64)
    times = found // math.prod(shape)
    if (wrong := times[1:] < times[:-1]).any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"words must be in order of time, got {times[at + 1]} us after {times[at]} us"
        )
    return _replay(times, found % math.prod(shape), microseconds, until)


def _replay(
    times: np.ndarray, addresses: np.ndarray, microseconds: int, until: int | None
) -> Iterator[Chunk]:
    end = until if until is not None else int(times[-1]) + 1 if len(times) else 0
    for begin in range(0, end, microseconds):
        stop = min(begin + microseconds, end)
        low, high = np.searchsorted(times, (min(begin, 2**32), min(stop, 2**32)))
        if high > low:
            yield times[low:high], addresses[low:high]
        if until is not None or stop < end:
            yield stop, None


def with_clock(
    source: Iterable[Chunk],
    *,
    microseconds: int = 1_000,
    lag: int = 0,
    timeout: float | None = None,
) -> Iterator[Chunk]:
    """A live source with a clock: the chunks of `source`, and `(time, None)` while it is silent.

    The clock starts at 0 with the first `next` of this iterator. If the times of the source are
    ahead of the clock, no `(time, None)` is yielded until the clock reaches them. A separate thread
    reads the source. The thread ends with the source, or with the next chunk after this iterator is
    closed.

    Args:
      source: iterable of chunks as they happen; it may block.
      microseconds: length of a silence after which the clock is yielded.
      lag: delay of the clock in microseconds. An event that arrives later than this may be behind
        the clock, and then `classify_stream` raises.
      timeout: seconds of silence after which the iterator raises; None waits forever.

    Yields:
      Chunks.

    Raises:
      TimeoutError: nothing came for `timeout` seconds.
      TypeError: a source that cannot be iterated; `microseconds` or `lag` that is not an integer;
        `timeout` that is not a number; a chunk of another form.
      ValueError: `microseconds` below 1; `lag` below 0; `timeout` not above 0.
      Exception: any exception of the source.

    >>> source = [(np.array([500]), np.array([7]))]
    >>> times, addresses = next(with_clock(source, microseconds=10**6))
    >>> addresses
    array([7])
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
        except BaseException as error:  # raised in the consumer's thread
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
