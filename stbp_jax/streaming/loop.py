"""The loop around a stream: events to bins, bins to steps, scores to decisions.

The loop itself never waits on time: `with_clock` in `sources` adds a clock to a source that may be
silent.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Real

from stbp_jax import arguments
from stbp_jax.streaming.compiled import Stream, StreamState, check_state
from stbp_jax.streaming.sources import Chunk, parse

Rule = Callable[[np.ndarray], bool]
"""Function from the scores so far, `[C]`, to whether they suffice for a decision."""


class Decision(NamedTuple):
    """Scores and label at the end of a bin.

    Attributes:
      time: end of the last bin, microseconds.
      steps: number of bins so far, from `start` on.
      scores: `[C]`.
      label: class of the highest score, the first of equals; 0 before the first output spike.
      ended: reason why this decision is the last: `"rule"`, `"steps"` (all bins are complete) or
        `"source"` (the source ended early); "" for all other decisions.
      left_out: number of events so far outside all bins, before `start` or after the last bin.
      state: state of the stream after these bins. `classify_stream(..., start=time, state=state)`
        goes on from it, and `save` writes it to a file. It is None if the source ended within a
        call of several bins. A list of decisions keeps all their states.

    >>> Decision(1000, 1, np.array([0.1, 0.9]), 1, "").label
    1
    """

    time: int
    steps: int
    scores: np.ndarray
    label: int
    ended: str
    left_out: int = 0
    state: StreamState | None = None

    def __repr__(self) -> str:
        """Its fields, without the arrays of the state."""
        fields = [f"{k}={v!r}" for k, v in self._asdict().items() if k != "state"]
        return f"Decision({', '.join(fields)})"


def margin_rule(least: float) -> Rule:
    """Rule that decides when best score - second score ≥ least.

    Args:
      least: smallest sufficient difference, at least 0; with one class, the smallest score.

    Returns:
      A rule.

    Raises:
      TypeError: `least` is not a number.
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


def no_early_exit(scores: Real[np.ndarray, " C"]) -> bool:
    """Rule that never decides before the last bin.

    >>> no_early_exit(np.array([0.9, 0.1]))
    False
    """
    return False


def classify_stream(
    stream: Stream,
    source: Iterable[Chunk],
    *,
    microseconds: int = 10_000,
    num_steps: int = 30,
    start: int = 0,
    rule: Rule = no_early_exit,
    state: StreamState | None = None,
) -> Iterator[Decision]:
    """Feed events into a network as they arrive; yield a decision every `steps_per_call` bins.

    Bin of an event = ⌊(time - start) / microseconds⌋, as for `by_time`. The first event of a later
    bin, or the clock `(time, None)`, closes a bin. Without either the loop waits for the source;
    `with_clock` adds the clock, and an error after a long silence. Empty bins are steps too, so
    membranes leak in them. Events before `start` and after the last bin are dropped and counted in
    `left_out`. A warning is issued if the clock of the source begins farther from the bins than
    their total length, and if no event lies in any bin.

    If the source ends before the last bin, its last bin is closed early, and the last decision has
    `ended="source"`. If it ends at the border of two bins, the last decision is yielded again, with
    `ended`. To count the silence after the last event, end the source with
    `(start + num_steps · microseconds, None)`.

    To stop and go on, pass the `time` and the `state` of a decision as `start` and `state`, and a
    source that has all events from that time on: the scores equal those without a stop. The chunk
    that closes the last bin has been taken from the source, with the later events in it.

    Args:
      stream: from `make_stream`.
      source: iterator of chunks, `(times, addresses)` or `(time, None)`.
      microseconds: length of a bin.
      num_steps: largest number of bins; a multiple of `stream.steps_per_call`.
      start: start of the first bin in microseconds.
      rule: function of the scores, called for each decision; True ends the loop, for example
        `margin_rule(0.1)`.
      state: state to go on from, of an earlier decision of the same stream, or from `load`; None
        starts at rest.

    Yields:
      Decisions; only the last has `ended`. There are none if the source ends before `start`.

    Raises:
      TypeError: times, addresses, `start` or a number of steps that are not integers; a stream,
        source, rule or state of another type.
      ValueError: times that run backwards, or are behind the clock; addresses outside the sensor;
        times and addresses of different shapes; times or ends of bins outside of int64; a
        `num_steps` that is not a multiple of `steps_per_call`; a state of another stream; scores
        that are NaN.

    Warns:
      UserWarning: events lie outside the bins because the clock of the source differs.

    >>> import jax
    >>> from stbp_jax import dense, lif
    >>> from stbp_jax.streaming import make_stream
    >>> network = dense(2, lif())
    >>> params, _ = network.init(jax.random.key(0), (4,))
    >>> stream = make_stream(network, params, shape=(4,))
    >>> source = [(120, 3), ([9_000, 10_500], [0, 1]), (25_000, None)]
    >>> decisions = list(classify_stream(stream, source))
    >>> [(d.time, d.ended) for d in decisions]
    [(10000, ''), (20000, ''), (30000, 'source')]
    >>> first, rest = decisions[0], source[1:]  # go on after the first bin
    >>> *_, last = classify_stream(stream, rest, start=first.time, state=first.state)
    >>> bool((last.scores == decisions[-1].scores).all())
    True
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
    if state is None:
        state = stream.start()
    else:
        check_state(state, jax.eval_shape(stream.start))
    return _decisions(stream, source, microseconds, num_steps, start, rule, state)


def _decisions(
    stream: Stream,
    source: Iterable[Chunk],
    microseconds: int,
    num_steps: int,
    start: int,
    rule: Rule,
    state: StreamState,
) -> Iterator[Decision]:
    together, num_addresses = stream.steps_per_call, math.prod(stream.shape)
    counts = np.zeros((together, num_addresses), np.int64)
    end = start + num_steps * microseconds
    first = 0  # first bin of the next call; `counts` holds the bins of that call
    latest: int | None = None
    last_bin = -1  # with an event
    binned = left_out = 0  # events
    decision: Decision | None = None

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
                f"scores are NaN at {time} us, got {scores}: look for NaN in the parameters, "
                "and in a state that was passed"
            )
        if ended and left_out and not binned:
            _warn(f"all {left_out} events so far lie outside", start, end, level=4)
        after = state if steps == first else None  # of all bins of the call, begun or not
        return Decision(time, steps, scores, int(scores.argmax()), ended, left_out, after)

    for chunk in source:
        begins = latest is None
        times, addresses, latest = _checked(chunk, num_addresses, latest)
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
            times, addresses = times[inside], addresses[inside]
        binned += len(times)
        bins = (times - start) // microseconds
        if len(bins):
            last_bin = int(bins[-1])
        # Bins before this one are closed: the clock, or an event, has passed them.
        reached = min((latest - start) // microseconds, num_steps)
        while first < num_steps:
            mine = (bins >= first) & (bins < first + together)
            np.add.at(counts, (bins[mine] - first, addresses[mine]), 1)
            if reached < first + together:
                break
            last = advance()[-1]
            ended = "steps" if first == num_steps else "rule" if rule(last) else ""
            decision = decided(last, first, ended)
            yield decision
            if ended:
                return
    if latest is None or latest < start:
        if left_out:
            _warn(f"all {left_out} events of the source lie outside", start, end)
        return
    # A bin has begun if it holds an event, or if the clock is past its start.
    begun = max(-(-(latest - start) // microseconds), last_bin + 1) - first
    if begun:
        steps = first + begun
        ended = "steps" if steps == num_steps else "source"
        yield decided(advance()[begun - 1], steps, ended)
    elif decision is not None:
        yield decided(decision.scores, decision.steps, "source")


def _warn(what: str, start: int, end: int, level: int = 3) -> None:
    """Warn of dropped events, at the line that requests the decision."""
    warnings.warn(
        f"{what} the bins, which go from {start} to {end} us: events outside are left out; "
        "set `start` to where the clock of the source begins",
        stacklevel=level,
    )


def _checked(
    chunk: Chunk, num_addresses: int, latest: int | None
) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Times and addresses `[E]` of a chunk, and the latest time so far."""
    times, found = parse(chunk)
    addresses = times[:0] if found is None else found
    if not len(times):
        return times, addresses, latest
    before = np.concatenate([[times[0] if latest is None else latest], times[:-1]])
    if (wrong := times < before).any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"event at {times[at]} us comes after {before[at]} us; times must not run backwards"
        )
    if (wrong := (addresses < 0) | (addresses >= num_addresses)).any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"addresses must lie in [0, {num_addresses}), got {addresses[at]} in the event at "
            f"{times[at]} us"
        )
    now = int(times[-1])
    return (times[:0] if found is None else times), addresses, now
