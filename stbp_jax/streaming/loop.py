"""The loop that feeds a stream: events into bins, bins into steps, scores into decisions.

Decides when a bin is full, what is refused, and when an answer is given. Leaves out waiting: a
source that may stay silent brings a clock with it (`sources`).
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from stbp_jax import arguments
from stbp_jax.streaming.compiled import Stream
from stbp_jax.streaming.sources import Chunk, parse

Rule = Callable[[np.ndarray], bool]
"""Scores `[C]` so far -> whether they suffice to decide."""


class Decision(NamedTuple):
    """What is known at the end of a bin.

    Attributes:
      time: of the end of the last bin that counts, microseconds.
      steps: bins so far.
      scores: `[C]`.
      label: of the highest score, the first of equals; with no output spike yet that is 0.
      ended: why it is the last one: `"rule"`, `"steps"` (all bins are there) or `"source"` (it
        ended early); "" before.
      left_out: events of the chunks so far that lie in no bin, before `start` or after the last.
    """

    time: int
    steps: int
    scores: np.ndarray
    label: int
    ended: str
    left_out: int = 0


def margin_rule(least: float) -> Rule:
    """Decides as soon as the best score is so much above the second.

    Args:
      least: the difference of scores that suffices, at least 0; with one class, the score itself.

    Returns:
      A rule.

    Raises:
      TypeError: `least` is no number.
      ValueError: `least` is NaN or below 0.

    >>> margin_rule(0.2)(np.array([0.1, 0.4, 0.2]))
    True
    """
    arguments.real("least", least)
    if not least >= 0:  # true for NaN
        raise ValueError(f"least must be at least 0, got {least}")

    def rule(scores: np.ndarray) -> bool:
        if np.ndim(scores) != 1 or not len(scores):
            raise ValueError(f"scores must have shape [C], got {list(np.shape(scores))}")
        second, best = np.partition(scores, -2)[-2:] if len(scores) > 1 else (0, scores[0])
        return bool(best - second >= least)

    return rule


def no_early_exit(scores: np.ndarray) -> bool:
    """Decides at the end alone."""
    return False


def classify_stream(
    stream: Stream,
    source: Iterable[Chunk],
    *,
    microseconds: int = 10_000,
    num_steps: int = 30,
    start: int = 0,
    rule: Rule = no_early_exit,
) -> Iterator[Decision]:
    """Feeds events into a network as they come; a decision every `steps_per_call` bins.

    Bin t holds start + t · microseconds <= time < that + microseconds, as `by_time`. It is closed
    by the first event of a later bin or by the clock, `(time, None)`: a source that is silent can
    go on with that, else the loop waits for it (`with_clock` gives the clock, and an error after
    too long a silence). Empty bins are steps like any other, so that membranes leak. Events before
    `start` and after the last bin are left out and counted, as `left_out`. A warning says so where
    the clock of the source begins farther from the bins than they are long, and where no event is
    in any.

    Where the source ends before the last bin, the bin that it ended in is closed as it is, and the
    decision of the bins so far is the last one, `ended="source"`; where the clock stood between two
    bins, the last decision comes once more, with `ended`. To count the silence after it,
    let the source end with `(start + num_steps · microseconds, None)`.

    Args:
      stream: from `make_stream`.
      source: iterator of chunks, `(times, cells)` or `(time, None)`.
      microseconds: length of a bin.
      num_steps: bins at most; a multiple of `stream.steps_per_call`.
      start: time at which the first bin begins.
      rule: of the scores, whether they suffice; `margin_rule(0.1)` for one. Tried at each decision.

    Yields:
      Decisions; the last one alone has `ended`. None where the source ends before `start`.

    Raises:
      TypeError: times, cells, `start` or a count of steps that are no integers; a stream, source or
        rule of another type.
      ValueError: times that run backwards, also behind the clock; cells outside the sensor; times
        and cells of different shapes; times, or ends of bins, that 64 bits do not hold;
        `num_steps` no multiple of `steps_per_call`; scores that are NaN.

    Warns:
      UserWarning: events are left out because the clock of the source is another.

    >>> import jax
    >>> from stbp_jax import dense, lif
    >>> from stbp_jax.streaming import make_stream
    >>> network = dense(2, lif())
    >>> params, _ = network.init(jax.random.key(0), (4,))
    >>> stream = make_stream(network, params, shape=(4,))
    >>> source = [(120, 3), ([9_000, 10_500], [0, 1]), (25_000, None)]
    >>> [(d.time, d.ended) for d in classify_stream(stream, source)]
    [(10000, ''), (20000, ''), (30000, 'source')]
    """
    if not isinstance(stream, Stream):
        raise TypeError(f"stream must be a Stream of make_stream, got {type(stream).__name__}")
    arguments.iterable("source", source)
    arguments.function("rule", rule)
    microseconds = arguments.count("microseconds", microseconds)
    num_steps, together = arguments.count("num_steps", num_steps), stream.steps_per_call
    start = arguments.integer("start", start)
    if start < -(2**63) or max(start, 0) + num_steps * microseconds >= 2**63:
        raise ValueError(
            "start and the end of the last bin, start + num_steps · microseconds, must lie in "
            f"[-2⁶³, 2⁶³), got {start} and {start + num_steps * microseconds}"
        )
    if num_steps % together:
        raise ValueError(
            f"num_steps must be a multiple of the stream's steps_per_call, {together}, got "
            f"{num_steps}"
        )
    return _decisions(stream, source, microseconds, num_steps, start, rule)


def _decisions(
    stream: Stream,
    source: Iterable[Chunk],
    microseconds: int,
    num_steps: int,
    start: int,
    rule: Rule,
) -> Iterator[Decision]:
    together, num_cells = stream.steps_per_call, math.prod(stream.shape)
    state, counts = stream.start(), np.zeros((together, num_cells), np.int64)
    end = start + num_steps * microseconds
    first = 0  # bin of the next call; `counts` holds it and those that go with it
    latest: int | None = None
    last_bin = -1  # with an event
    binned = left_out = 0  # events
    told: Decision | None = None

    def advance() -> np.ndarray:
        nonlocal state, first
        state, found = stream.advance(state, counts.reshape((together, *stream.shape)))
        scores = np.asarray(found)
        counts.fill(0)
        first += together
        return scores

    def decided(scores: np.ndarray, steps: int, ended: str) -> Decision:
        time = start + steps * microseconds
        if np.isnan(scores).any():
            raise ValueError(
                f"scores are NaN at {time} us, got {scores}: look for NaN in the parameters"
            )
        if ended and left_out and not binned:
            _warn(f"all {left_out} events so far lie outside", start, end, level=4)
        return Decision(time, steps, scores, int(scores.argmax()), ended, left_out)

    for chunk in source:
        begins = latest is None
        times, cells, latest = _checked(chunk, num_cells, latest)
        if latest is None:
            continue
        if begins:
            begun_at = int(times[0]) if len(times) else latest
            if begun_at < 2 * start - end or begun_at > 2 * end - start:
                _warn(f"the source's clock begins at {begun_at} us, far from", start, end)
        if len(times) and (times[0] < start or latest >= end):
            # Outside, a difference of 64 bits could wrap.
            inside = (times >= start) & (times < end)
            left_out += len(times) - int(inside.sum())
            times, cells = times[inside], cells[inside]
        binned += len(times)
        bins = (times - start) // microseconds
        if len(bins):
            last_bin = int(bins[-1])
        # Bins before this one are closed: the clock, or an event, has passed them.
        reached = min((latest - start) // microseconds, num_steps)
        while first < num_steps:
            mine = (bins >= first) & (bins < first + together)
            np.add.at(counts, (bins[mine] - first, cells[mine]), 1)
            if reached < first + together:
                break
            last = advance()[-1]
            ended = "steps" if first == num_steps else "rule" if rule(last) else ""
            told = decided(last, first, ended)
            yield told
            if ended:
                return
    if latest is None or latest < start:
        if left_out:
            _warn(f"all {left_out} events of the source lie outside", start, end)
        return
    # A bin has begun with an event in it, or where the clock stands past its start.
    begun = max(-(-(latest - start) // microseconds), last_bin + 1) - first
    if begun:
        steps = first + begun
        ended = "steps" if steps == num_steps else "source"
        yield decided(advance()[begun - 1], steps, ended)
    elif told is not None:
        yield decided(told.scores, told.steps, "source")


def _warn(what: str, start: int, end: int, level: int = 3) -> None:
    """Says that events are left out, at the line that asks for the decision."""
    warnings.warn(
        f"{what} the bins, which go from {start} to {end} us: events outside are left out; "
        "set `start` to where the clock of the source begins",
        stacklevel=level,
    )


def _checked(
    chunk: Chunk, num_cells: int, latest: int | None
) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Times and cells `[E]` of a chunk, and the latest time so far."""
    times, found = parse(chunk)
    cells = times[:0] if found is None else found
    if not len(times):
        return times, cells, latest
    before = np.concatenate([[times[0] if latest is None else latest], times[:-1]])
    if (wrong := times < before).any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"event at {times[at]} us comes after {before[at]} us; times must not run backwards"
        )
    if (wrong := (cells < 0) | (cells >= num_cells)).any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"cells must lie in [0, {num_cells}), got {cells[at]} in the event at {times[at]} us"
        )
    now = int(times[-1])
    return (times[:0] if found is None else times), cells, now
