"""Measures of streaming: equality with `apply`, accuracy over time, and latency.

The decisions are compared before any timing, and the row stores the result.
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

MICROSECONDS = 10_000  # length of a step in training
TIMED = ((10_000, 1), (10_000, 5), (1_000, 1), (1_000, 10))  # microseconds of a bin, steps per call
CALLS = 2000  # timed calls of each kind of stream; `data.limit` is an upper bound
COMPARED, LEAST = 3000, 10  # bins in one batch of `apply`; smallest number of recordings in it
LEADS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


class Bins(NamedTuple):
    """A kind of stream.

    Attributes:
      microseconds: length of a bin.
      together: bins per call.
      steps: bins per recording.
    """

    microseconds: int
    together: int
    steps: int


def measured(
    networks: dict[str, sj.Layer], params: Any, config: Config, test: Recordings
) -> dict[str, Any]:
    """Measure equality, accuracy and latency of a trained network.

    Args:
      networks: the network with each matmul, by the name of the matmul; training used the first.
      params: parameters, the same for all networks.
      config: `data.num_steps` is the number of steps per recording; `data.limit` bounds the timed
        calls.
      test: test recordings.

    Returns:
      Fields of a row: `accuracy_at` (after each step), `early` (accuracy and mean time of early
      decisions, by margin), and `streams`, one entry for each kind of stream and matmul.
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
    """Yield all decisions of each recording."""
    for source in _sources(stream, events, steps, microseconds):
        yield list(
            sj.streaming.classify_stream(stream, source, microseconds=microseconds, num_steps=steps)
        )


def _sources(
    stream: sj.streaming.Stream, events: np.ndarray, steps: int, microseconds: int
) -> list[list[sj.streaming.Chunk]]:
    """Split each recording into chunks; a chunk has the bins of one call."""
    each = microseconds * stream.steps_per_call
    return [
        list(sj.streaming.replay(words, microseconds=each, until=steps * microseconds))
        for words in events
    ]


def early(scores: np.ndarray, right: np.ndarray, least: float) -> dict[str, float]:
    """Decide when the best score exceeds the second by a margin, or else at the end.

    Args:
      scores: `[N, T, C]`, scores after each step.
      right: `[N, T]`, whether the best score belongs to the true class.
      least: the margin.

    Returns:
      The margin as `lead`, accuracy, and the mean time of the decision in milliseconds.
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
    """Compare a stream with the expected scores `[N, T, C]`, then time `count` calls."""
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
    """Compute the scores of all prefixes by `apply`, `[N, T, C]`, in one batch."""

    def run(params: Any, events: jax.Array) -> jax.Array:
        xs = sj.events.event_spikes(events, bins.steps, steps=sj.events.by_time(bins.microseconds))
        outs = sj.apply(network, params, xs)[1]
        readout = sj.streaming.running_rate()
        return readout.unroll((), readout.initial_state(outs.shape[1:], outs.dtype), outs)[1]

    return np.asarray(jax.jit(run)(params, events)).swapaxes(0, 1)


def _calls(
    stream: sj.streaming.Stream, events: np.ndarray, steps: int, microseconds: int
) -> list[np.ndarray]:
    """Return the bins of the recordings, one array `[K, *shape]` for each call."""
    counts = sj.events.event_counts(
        events, steps, steps=sj.events.by_time(microseconds), dtype=np.uint16
    )
    whole = np.asarray(counts).swapaxes(0, 1)  # [N, T, *shape]
    return list(whole.reshape((-1, stream.steps_per_call, *stream.shape)))


def _timed_calls(stream: sj.streaming.Stream, calls: list[np.ndarray], count: int) -> list[float]:
    """Time `advance` until its scores are ready, in seconds; the calls repeat from the start."""
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
    """Time a call from its events to the decision in seconds, with the Python of the loop."""
    sources = _sources(stream, events, steps, microseconds)

    def endless() -> Iterator[sj.streaming.Decision]:
        while True:
            for source in sources:
                yield from sj.streaming.classify_stream(
                    stream, source, microseconds=microseconds, num_steps=steps
                )

    found, each = endless(), steps // stream.steps_per_call
    seconds = timing.sample(lambda: (next(found), None)[1], count)
    # The first call of a recording also resets the network; `sample` does not return call 0.
    return [s for i, s in enumerate(seconds, 1) if i % each] or seconds


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    """Return median, 99th percentile and maximum in milliseconds."""
    values = 1e3 * np.asarray(seconds)
    return {
        "median": round(float(np.median(values)), 4),
        "p99": round(float(np.percentile(values, 99)), 4),
        "longest": round(float(values.max()), 4),
    }
