"""Measures of a stream: equality with `apply`, accuracy over time, and seconds of a call.

Decisions of a few recordings are compared before anything is timed; the row holds the comparison.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

import stbp_jax as sj
from experiments.benchmarks import timing
from experiments.engine.config import Config
from stbp_jax.data import Recordings

MICROSECONDS = 10_000  # length of a step, as the network is trained
TIMED = ((10_000, 1), (10_000, 5), (1_000, 1), (1_000, 10))  # microseconds, steps of a call
CALLS = 2000  # that are timed, of each kind; the config's limit bounds them too
COMPARED, LEAST = 3000, 10  # bins by `apply` at once, and recordings even where those are more
LEADS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


class Bins(NamedTuple):
    """A kind of stream: the length of a bin, bins of a call, and bins of a recording."""

    microseconds: int
    together: int
    steps: int


def measured(
    networks: dict[str, sj.Layer], params: Any, config: Config, test: Recordings
) -> dict[str, Any]:
    """Fields of a row.

    Args:
      networks: the same network by the name of its matmul; the first is the one that was trained.
      params: of each of them.
      config: `num_steps` of a recording; `limit` bounds the timed calls.
      test: recordings that it was not trained on.

    Returns:
      `accuracy_at` (after each step, by the stream), `early` (accuracy and mean time of decisions
      by the lead of the best score), and one entry of `streams` for each kind and matmul.
    """
    first, *_ = networks.values()
    num_steps = config.data.num_steps
    calls = min(CALLS, config.data.limit or CALLS)
    streams = []
    for microseconds, together in TIMED:
        whole = num_steps * MICROSECONDS // microseconds
        bins = Bins(microseconds, together, -(-whole // together) * together)
        events = test.events[: max(LEAST, COMPARED // bins.steps)]
        wanted = _prefixes(first, params, events, bins)
        for name, network in networks.items():
            found = _stream(network, params, events, bins, wanted, calls)
            streams.append({"matmul": name} | found)
    stream = sj.streaming.make_stream(first, params)
    decisions = streamed(stream, test.events, num_steps, MICROSECONDS)
    scores = np.stack([np.stack([d.scores for d in of]) for of in decisions])  # [N, T, C]
    right = scores.argmax(2) == np.asarray(test.labels)[:, None]
    return {
        "microseconds": MICROSECONDS,
        "accuracy_at": right.mean(0).round(6),
        "early": [early(scores, right, least) for least in LEADS],
        "streams": streams,
    }


def streamed(
    stream: sj.streaming.Stream, events: np.ndarray, steps: int, microseconds: int
) -> Iterator[list[sj.streaming.Decision]]:
    """All decisions of each recording."""
    for source in _sources(stream, events, steps, microseconds):
        yield list(
            sj.streaming.classify_stream(stream, source, microseconds=microseconds, num_steps=steps)
        )


def _sources(
    stream: sj.streaming.Stream, events: np.ndarray, steps: int, microseconds: int
) -> list[list[sj.streaming.Chunk]]:
    """Each recording, in chunks of the bins of one call."""
    each = microseconds * stream.steps_per_call
    return [
        list(sj.streaming.replay(words, microseconds=each, until=steps * microseconds))
        for words in events
    ]


def early(scores: np.ndarray, right: np.ndarray, least: float) -> dict[str, float]:
    """Decisions as soon as the best score leads the second by `least`, else at the end.

    Args:
      scores: `[N, T, C]`, after each step.
      right: `[N, T]`, whether the best score is that of the true class.
      least: difference of the two best scores that suffices.
    """
    ordered = np.sort(scores, axis=2)
    enough = ordered[:, :, -1] - ordered[:, :, -2] >= least
    enough[:, -1] = True
    at = enough.argmax(1)
    return {
        "lead": least,
        "accuracy": round(float(right[np.arange(len(at)), at].mean()), 6),
        "milliseconds": round(float((at + 1).mean()) * MICROSECONDS / 1000, 3),
    }


def _stream(
    network: sj.Layer,
    params: Any,
    events: np.ndarray,
    bins: Bins,
    wanted: np.ndarray,
    count: int,
) -> dict[str, Any]:
    """Compares one kind of stream with the wanted scores `[N, T, C]`, then times `count` calls."""
    microseconds, together, steps = bins
    began = time.perf_counter()
    stream = sj.streaming.make_stream(network, params, steps_per_call=together)
    compiling = time.perf_counter() - began
    found = list(streamed(stream, events, steps, microseconds))
    same = [
        [d.label == prefix[d.steps - 1].argmax() for d in decided]
        for decided, prefix in zip(found, wanted, strict=True)
    ]
    calls = _calls(stream, events, steps, microseconds)
    return {
        "microseconds": microseconds,
        "steps_per_call": together,
        "compile_seconds": round(compiling, 3),
        "compared": sum(map(len, same)),
        "equal": int(sum(map(sum, same))),
        "compared_at_end": len(same),
        "equal_at_end": int(sum(decided[-1] for decided in same)),
        "events_per_step": round(float(np.mean([c.sum() for c in calls])) / together, 2),
        "call_milliseconds": _milliseconds(_timed_calls(stream, calls, count)),
        "loop_milliseconds": _milliseconds(_timed_loop(stream, events, steps, microseconds, count)),
    }


def _prefixes(network: sj.Layer, params: Any, events: np.ndarray, bins: Bins) -> np.ndarray:
    """Scores of all prefixes by `apply`, `[N, T, C]`, in one batch."""

    def run(params: Any, events: jax.Array) -> jax.Array:
        xs = sj.events.event_spikes(events, bins.steps, steps=sj.events.by_time(bins.microseconds))
        outs = sj.apply(network, params, xs)[1]
        readout = sj.streaming.running_rate()
        return readout.unroll((), readout.initial_state(outs.shape[1:], outs.dtype), outs)[1]

    return np.asarray(jax.jit(run)(params, events)).swapaxes(0, 1)


def _calls(
    stream: sj.streaming.Stream, events: np.ndarray, steps: int, microseconds: int
) -> list[np.ndarray]:
    """The bins of these recordings, call by call, `[K, *shape]` each."""
    counts = sj.events.event_counts(
        events, steps, steps=sj.events.by_time(microseconds), dtype=np.uint16
    )
    whole = np.asarray(counts).swapaxes(0, 1)  # [N, T, *shape]
    return list(whole.reshape((-1, stream.steps_per_call, *stream.shape)))


def _timed_calls(stream: sj.streaming.Stream, calls: list[np.ndarray], count: int) -> list[float]:
    """Seconds of `advance`, until its scores are there; after the last recording, the first."""
    state, turn = stream.start(), 0

    def call() -> None:
        nonlocal state, turn
        state, scores = stream.advance(state, calls[turn % len(calls)])
        scores.block_until_ready()
        turn += 1

    return timing.sample(call, count)


def _timed_loop(
    stream: sj.streaming.Stream, events: np.ndarray, steps: int, microseconds: int, count: int
) -> list[float]:
    """Seconds from the events of a call's bins to their decision, the loop's Python included."""
    sources = _sources(stream, events, steps, microseconds)

    def endless() -> Iterator[sj.streaming.Decision]:
        while True:
            for source in sources:
                yield from sj.streaming.classify_stream(
                    stream, source, microseconds=microseconds, num_steps=steps
                )

    found, each = endless(), steps // stream.steps_per_call
    seconds = timing.sample(lambda: (next(found), None)[1], count)
    # The first call of a recording also resets the network; `sample` leaves out call 0.
    return [s for i, s in enumerate(seconds, 1) if i % each] or seconds


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    """Median, 99th percentile and longest of the calls."""
    values = 1e3 * np.asarray(seconds)
    return {
        "median": round(float(np.median(values)), 4),
        "p99": round(float(np.percentile(values, 99)), 4),
        "longest": round(float(values.max()), 4),
    }
