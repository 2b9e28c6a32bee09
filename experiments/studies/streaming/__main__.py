"""Recordings classified in the terminal as their events come: `python -m experiments.streaming`.

Exit codes: 0 done, 2 wrong usage, 130 interrupted.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import stbp_jax as sj
from experiments import harness
from experiments.settings import UsageError, changed
from experiments.streaming import study

UPPER, LOWER, BOTH = "▀▄█"
BAR = 24  # characters of a score of 1


def picture(counts: np.ndarray) -> list[str]:
    """Where a bin has events of either polarity; two rows of the sensor a line.

    Args:
      counts: `[rows, columns, polarities]`.

    Returns:
      Lines of as many characters as there are columns.

    >>> picture(np.array([[[1, 0], [0, 0], [0, 0]], [[0, 1], [1, 0], [0, 0]]]))
    ['█▄ ']
    """
    some = counts.sum(2) > 0
    if len(some) % 2:
        some = np.concatenate([some, np.zeros_like(some[:1])])
    signs = np.array([" ", UPPER, LOWER, BOTH])
    return ["".join(line) for line in signs[some[::2] + 2 * some[1::2]]]


def bars(scores: np.ndarray, label: int) -> list[str]:
    """One line a class; the best is marked."""
    lines = []
    for c, score in enumerate(scores):
        bar = "█" * round(BAR * float(score))
        lines.append(f"{'>' if c == label else ' '} {c} {bar:<{BAR}} {score:.2f}")
    return lines


def frame(
    counts: np.ndarray, decision: sj.streaming.Decision, label: int, seconds: float
) -> list[str]:
    """A bin and what is thought of it, side by side."""
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
    """Chunks when they happen; `speed` times as fast, 0 as fast as they are taken."""
    began = time.perf_counter()
    for times, cells in source:
        if speed:
            due = began + 1e-6 * float(np.max(times)) / speed
            time.sleep(max(0.0, due - time.perf_counter()))
        yield times, cells


def main(argv: list[str]) -> int:
    """Shows some test recordings; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.streaming",
        description="Classifies N-MNIST recordings as their events come.",
    )
    parser.add_argument(
        "--run",
        type=Path,
        default=Path("runs/streaming"),
        metavar="DIR",
        help="run folder of the study; trained there first where it has no params.npz",
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--count", type=int, default=5, help="recordings")
    parser.add_argument("--speed", type=float, default=1.0, help="1: as it happened; 0: at once")
    parser.add_argument("--lead", type=float, help="decide as soon as the best score leads so far")
    args = parser.parse_args(argv)
    try:
        return _show(args)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _show(args: argparse.Namespace) -> int:
    if (args.run / "params.npz").exists():
        config = json.loads((args.run / "config.json").read_text())
        settings = changed(study.Settings(**config["settings"]), args.set)
        params = study.stored(settings, args.run)
    else:
        print(f"no params.npz in {args.run}: training")
        settings = changed(study.STUDY.variants["mlp"].settings, args.set)
        _, params = study.trained(settings, 0, harness.make_folder(args.run))
    stream = sj.streaming.make_stream(
        study.network(settings, sj.layers.event_driven_matmul), params
    )
    _, test = study.load(settings, 0)
    right = 0
    count = min(args.count, len(test.labels))
    if count < 1:
        raise UsageError(f"--count must be at least 1, got {args.count}")
    for n in range(count):
        label = int(test.labels[n])
        last = _one(stream, test.events[n], label, settings, args)
        right += last.label == label
        print(
            f"recording {n}: {last.label} after {last.time / 1000:g} ms, true class {label}"
            f"{'' if last.label == label else '  <- wrong'}"
        )
    print(f"{right} of {count} right")
    return 0


def _one(
    stream: sj.streaming.Stream,
    words: np.ndarray,
    label: int,
    settings: study.Settings,
    args: argparse.Namespace,
) -> sj.streaming.Decision:
    """One recording; on a terminal, each bin's frame replaces the one before."""
    each, steps = settings.microseconds, settings.num_steps
    seen: list[tuple[np.ndarray, float]] = []

    def advance(state: sj.streaming.StreamState, counts: np.ndarray) -> tuple:
        began = time.perf_counter()
        state, scores = stream.advance(state, counts)
        scores.block_until_ready()
        seen.append((counts[-1].copy(), time.perf_counter() - began))
        return state, scores

    source = paced(sj.streaming.replay(words, until=each * steps), args.speed)
    rule = sj.streaming.no_early_exit if args.lead is None else sj.streaming.margin_rule(args.lead)
    watched = stream._replace(advance=advance)
    drawn = 0
    for decision in sj.streaming.classify_stream(
        watched, source, microseconds=each, num_steps=steps, rule=rule
    ):
        if sys.stdout.isatty():
            lines = frame(seen[-1][0], decision, label, seen[-1][1])
            up = f"\x1b[{drawn}A" if drawn else ""
            print(up + "\n".join(f"\x1b[2K{line}" for line in lines), flush=True)
            drawn = len(lines)
    return decision


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
