"""What a stream tells: whether it decides as `apply` does, when it is right, and how long it takes.

Nothing is timed before the decisions of a few recordings have been compared; the comparison stands
in the row.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

import stbp_jax as sj
from experiments.benchmarks import timing
from experiments.settings import UsageError
from stbp_jax import data

COMPARED, LEAST = 3000, 10  # bins by `apply` at once, and recordings even where those are more
LEADS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


class Bins(NamedTuple):
    """A kind of stream: the length of a bin, bins of a call, and bins of a recording."""

    microseconds: int
    together: int
    steps: int


def measured(
    networks: dict[str, sj.Layer], params: Any, settings: Any, test: data.Recordings
) -> dict[str, Any]:
    """Fields of a row.

    Args:
      networks: the same one, with products by name; the first is that it was trained with.
      params: of each of them.
      settings: `num_steps`, `microseconds`, `timed` and `calls`.
      test: recordings that it was not trained on.

    Returns:
      `accuracy_at` (after each step, by the stream), `early` (accuracy and mean time of decisions
      by the lead of the best score), and one entry of `streams` for each kind and product.
    """
    first, *_ = networks.values()
    streams = []
    for microseconds, together in _kinds(settings.timed):
        whole = settings.num_steps * settings.microseconds // microseconds
        bins = Bins(microseconds, together, -(-whole // together) * together)
        rows = test.events[: max(LEAST, COMPARED // bins.steps)]
        wanted = _prefixes(first, params, rows, bins)
        for name, network in networks.items():
            told = _stream(network, params, rows, bins, wanted, settings)
            streams.append({"product": name} | told)
    scores = np.stack(
        [
            np.stack([d.scores for d in decided])
            for decided in streamed(
                sj.streaming.make_stream(first, params),
                test.events,
                settings.num_steps,
                settings.microseconds,
            )
        ]
    )  # [N, T, C]
    right = scores.argmax(2) == np.asarray(test.labels)[:, None]
    return {
        "microseconds": settings.microseconds,
        "accuracy_at": right.mean(0).round(6),
        "early": [_early(scores, right, least, settings.microseconds) for least in LEADS],
        "streams": streams,
    }


def streamed(
    stream: sj.streaming.Stream, rows: np.ndarray, steps: int, microseconds: int
) -> Iterator[list[sj.streaming.Decision]]:
    """All decisions of each recording."""
    for source in _sources(stream, rows, steps, microseconds):
        yield list(
            sj.streaming.classify_stream(stream, source, microseconds=microseconds, num_steps=steps)
        )


def _sources(
    stream: sj.streaming.Stream, rows: np.ndarray, steps: int, microseconds: int
) -> list[list[sj.streaming.Chunk]]:
    """Each recording, in chunks of the bins of one call."""
    each = microseconds * stream.steps_per_call
    return [
        list(sj.streaming.replay(row, microseconds=each, until=steps * microseconds))
        for row in rows
    ]


def _kinds(timed: str) -> list[tuple[int, int]]:
    """`10000x1,1000x10` as microseconds and steps of a call."""
    try:
        kinds = [(int(a), int(b)) for a, b in (kind.split("x") for kind in timed.split(","))]
    except ValueError:
        raise UsageError(f"timed must be like 10000x1,1000x10, got {timed!r}") from None
    return kinds


def _early(scores: np.ndarray, right: np.ndarray, least: float, microseconds: int) -> dict:
    """Decisions as soon as the best score leads by so much, else at the end."""
    ordered = np.sort(scores, axis=2)
    enough = ordered[:, :, -1] - ordered[:, :, -2] >= least
    enough[:, -1] = True
    at = enough.argmax(1)
    return {
        "lead": least,
        "accuracy": round(float(right[np.arange(len(at)), at].mean()), 6),
        "milliseconds": round(float((at + 1).mean()) * microseconds / 1000, 3),
    }


def _stream(
    network: sj.Layer,
    params: Any,
    rows: np.ndarray,
    bins: Bins,
    wanted: np.ndarray,
    settings: Any,
) -> dict[str, Any]:
    """Compares one kind of stream with the wanted scores `[N, T, C]`, then times it."""
    microseconds, together, steps = bins
    began = time.perf_counter()
    stream = sj.streaming.make_stream(network, params, steps_per_call=together)
    compiling = time.perf_counter() - began
    found = list(streamed(stream, rows, steps, microseconds))
    same = [
        [d.label == prefix[d.steps - 1].argmax() for d in decided]
        for decided, prefix in zip(found, wanted, strict=True)
    ]
    calls = _calls(stream, rows, steps, microseconds)
    count = min(settings.calls, settings.limit or settings.calls)
    return {
        "microseconds": microseconds,
        "steps_per_call": together,
        "compile_seconds": round(compiling, 3),
        "compared": sum(map(len, same)),
        "equal": int(sum(map(sum, same))),
        "compared_at_end": len(same),
        "equal_at_end": int(sum(decided[-1] for decided in same)),
        "events_per_step": round(float(np.mean([c.sum() for c in calls])) / together, 2),
        "call_milliseconds": _told(_timed_calls(stream, calls, count)),
        "loop_milliseconds": _told(_timed_loop(stream, rows, steps, microseconds, count)),
    }


def _prefixes(network: sj.Layer, params: Any, rows: np.ndarray, bins: Bins) -> np.ndarray:
    """Scores of all prefixes by `apply`, `[N, T, C]`, in one batch."""

    def run(params: Any, rows: jax.Array) -> jax.Array:
        xs = sj.events.event_spikes(rows, bins.steps, steps=sj.events.by_time(bins.microseconds))
        outs = sj.apply(network, params, xs)[1]
        readout = sj.streaming.running_rate()
        return readout.unroll((), readout.initial_state(outs.shape[1:], outs.dtype), outs)[1]

    return np.asarray(jax.jit(run)(params, rows)).swapaxes(0, 1)


def _calls(
    stream: sj.streaming.Stream, rows: np.ndarray, steps: int, microseconds: int
) -> list[np.ndarray]:
    """The bins of these recordings, call by call, `[K, *shape]` each."""
    counts = sj.events.event_counts(
        rows, steps, steps=sj.events.by_time(microseconds), dtype=np.uint16
    )
    whole = np.asarray(counts).swapaxes(0, 1)  # [N, T, *shape]
    return list(whole.reshape((-1, stream.steps_per_call, *stream.shape)))


def _timed_calls(stream: sj.streaming.Stream, calls: list[np.ndarray], count: int) -> list[float]:
    """Seconds of `advance`, until its scores are there; the recordings over and over."""
    state, turn = stream.start(), 0

    def call() -> None:
        nonlocal state, turn
        state, scores = stream.advance(state, calls[turn % len(calls)])
        scores.block_until_ready()
        turn += 1

    return timing.sample(call, count)


def _timed_loop(
    stream: sj.streaming.Stream, rows: np.ndarray, steps: int, microseconds: int, count: int
) -> list[float]:
    """Seconds from the events of one call's bins to their decision, the loop's Python included."""
    sources = _sources(stream, rows, steps, microseconds)

    def endless() -> Iterator[sj.streaming.Decision]:
        while True:
            for source in sources:
                yield from sj.streaming.classify_stream(
                    stream, source, microseconds=microseconds, num_steps=steps
                )

    found, each = endless(), steps // stream.steps_per_call
    seconds = timing.sample(lambda: (next(found), None)[1], count)
    # The first call of a recording also puts the network to rest; call 0 was not counted.
    return [s for i, s in enumerate(seconds, 1) if i % each] or seconds


def _told(seconds: list[float]) -> dict[str, float]:
    """Of a call: median, 99th percentile and longest."""
    values = 1e3 * np.asarray(seconds)
    return {
        "median": round(float(np.median(values)), 4),
        "p99": round(float(np.percentile(values, 99)), 4),
        "longest": round(float(values.max()), 4),
    }
