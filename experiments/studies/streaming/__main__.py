"""Streaming classification in the terminal: `python -m experiments.studies.streaming`.

Exit codes: 0 done, 2 wrong usage, 130 interrupted.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

import stbp_jax as sj
from experiments.engine import runs, studies
from experiments.engine.config import UsageError
from experiments.studies.streaming import study
from experiments.studies.streaming.measure import MICROSECONDS
from stbp_jax.streaming import Decision

UPPER, LOWER, BOTH = "▀▄█"
BAR = 24  # characters of a score of 1


def picture(counts: np.ndarray) -> list[str]:
    """Draw the pixels with events in a bin; each line of text shows two rows of the sensor.

    Args:
      counts: `[rows, columns, polarities]`.

    Returns:
      Lines with one character for each column.

    >>> picture(np.array([[[1, 0], [0, 0], [0, 0]], [[0, 1], [1, 0], [0, 0]]]))
    ['█▄ ']
    """
    some = counts.sum(2) > 0
    if len(some) % 2:
        some = np.concatenate([some, np.zeros_like(some[:1])])
    signs = np.array([" ", UPPER, LOWER, BOTH])
    return ["".join(line) for line in signs[some[::2] + 2 * some[1::2]]]


def bars(scores: np.ndarray, label: int) -> list[str]:
    """Draw one line for each class, with a mark on the best."""
    lines = []
    for c, score in enumerate(scores):
        bar = "█" * round(BAR * float(score))
        lines.append(f"{'>' if c == label else ' '} {c} {bar:<{BAR}} {score:.2f}")
    return lines


def frame(counts: np.ndarray, decision: Decision, label: int, seconds: float) -> list[str]:
    """Draw a bin and the scores after it, side by side."""
    left = picture(counts)
    right = [
        f"{decision.time / 1000:7.1f} ms, bin {decision.steps}, {int(counts.sum())} events",
        "",
        *bars(decision.scores, decision.label),
        "",
        f"true class {label}; from events to scores {1000 * seconds:.2f} ms",
    ]
    right += [""] * (len(left) - len(right))
    return [f"{a}  {b}".rstrip() for a, b in zip(left, right, strict=False)]


def paced(source: Iterator[sj.streaming.Chunk], speed: float) -> Iterator[sj.streaming.Chunk]:
    """Yield chunks at the times of their events, `speed` times as fast; 0 does not wait."""
    began = time.perf_counter()
    for times, addresses in source:
        if speed:
            due = began + 1e-6 * float(np.max(times)) / speed
            time.sleep(max(0.0, due - time.perf_counter()))
        yield times, addresses


@dataclass
class Play:
    """Classify N-MNIST recordings as their events come."""

    run: Path = Path("runs/streaming")
    """run folder of the study; without params.npz in it, a network is trained first"""
    count: int = 5
    """number of recordings"""
    speed: float = 1.0
    """1 for real time; 0 does not wait"""
    margin: float | None = None
    """decide when the best score exceeds the second by this margin; default: at the end"""


def main(argv: list[str]) -> int:
    """Classify some test recordings, and return the exit code."""
    args = tyro.cli(Play, args=argv, prog="python -m experiments.studies.streaming")
    try:
        return _play(args)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _play(args: Play) -> int:
    if args.count < 1:
        raise UsageError(f"--count must be at least 1, got {args.count}")
    if args.speed < 0:
        raise UsageError(f"--speed must be 0 or more, got {args.speed:g}")
    if not (args.run / "params.npz").exists():
        print(f"no params.npz in {args.run}: training", flush=True)
        job = studies.job("streaming", "mlp", "quick")
        assert job is not None  # the study has a quick plan
        runs.train(job, args.run)
    config, params = study.stored(args.run)
    stream = sj.streaming.make_stream(study.network(config, sj.layers.event_driven_matmul), params)
    _, test = study.load(config, 0)
    right = 0
    count = min(args.count, len(test.labels))
    for n in range(count):
        label = int(test.labels[n])
        last = _one(stream, test.events[n], label, config.data.num_steps, args)
        right += last.label == label
        print(
            f"recording {n}: {last.label} after {last.time / 1000:g} ms, true class {label}"
            f"{'' if last.label == label else '  <- wrong'}"
        )
    print(f"{right} of {count} right")
    return 0


def _one(
    stream: sj.streaming.Stream, words: np.ndarray, label: int, num_steps: int, args: Play
) -> Decision:
    """Classify one recording; on a terminal, each bin replaces the picture of the previous one."""
    seen: list[tuple[np.ndarray, float]] = []

    def advance(state: sj.streaming.StreamState, counts: np.ndarray) -> tuple:
        began = time.perf_counter()
        state, scores = stream.advance(state, counts)
        scores.block_until_ready()
        seen.append((counts[-1].copy(), time.perf_counter() - began))
        return state, scores

    source = paced(sj.streaming.replay(words, until=MICROSECONDS * num_steps), args.speed)
    streaming, watched = sj.streaming, stream._replace(advance=advance)
    rule = streaming.no_early_exit if args.margin is None else streaming.margin_rule(args.margin)
    drawn = 0
    for decision in streaming.classify_stream(
        watched, source, microseconds=MICROSECONDS, num_steps=num_steps, rule=rule
    ):
        if sys.stdout.isatty():
            lines = frame(seen[-1][0], decision, label, seen[-1][1])
            up = f"\x1b[{drawn}A" if drawn else ""
            print(up + "\n".join(f"\x1b[2K{line}" for line in lines), flush=True)
            drawn = len(lines)
    return decision


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
