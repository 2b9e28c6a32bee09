"""Picture, table and measure of the study, made from its rows."""

from pathlib import Path

import numpy as np

from experiments.report import figures, frames, tables
from experiments.report.frames import Frame, Measured


def draw(runs: Frame, folder: Path) -> None:
    """Draw `accuracy.png`: accuracy over time since onset, and accuracy of early decisions."""
    row = frames.newest(runs)
    figure, (axes,) = figures.panels(1, size=(6.4, 4.2))
    right = 100 * np.array(row["accuracy_at"])
    milliseconds = row["microseconds"] / 1000 * np.arange(1, len(right) + 1)
    axes.plot(milliseconds, right, "o-", ms=3, label="all recordings, decided at this time")
    early = row["early"]
    axes.plot(
        [e["milliseconds"] for e in early],
        [100 * e["accuracy"] for e in early],
        "s--",
        ms=4,
        label="early decisions, at the given margin",
    )
    for e in early:
        where = e["milliseconds"], 100 * e["accuracy"]
        axes.annotate(
            f"{e['lead']:g}", where, xytext=(4, -10), textcoords="offset points", fontsize="small"
        )
    axes.set(
        xlabel="time since onset (ms), mean for early decisions",
        ylabel="test accuracy (%)",
        ylim=(0, 100),
    )
    axes.set_title(
        f"{row['network']} on {row['dataset']}, {row['num_test']} test recordings",
        fontsize="medium",
    )
    axes.legend(loc="lower right", fontsize="small")
    figures.save(figure, folder / "accuracy.png")


def median_step(runs: Frame) -> Measured:
    """Return the median time of a step in ms, with bins of 10 ms; infinite if decisions differ."""
    streams = frames.newest(runs)["streams"]
    equal, compared = (sum(s[name] for s in streams) for name in ("equal", "compared"))
    step = min(
        s["call_milliseconds"]["median"] / s["steps_per_call"]
        for s in streams
        if s["microseconds"] == 10_000 and s["steps_per_call"] == 1
    )
    ours = f"{step:.2f} ms, {equal:,} of {compared:,} decisions equal"
    return Measured(ours, frames.exactly(step if equal == compared else np.inf))


def table(runs: Frame) -> str:
    """Return tables of the newest row: latency of each stream, and accuracy over time."""
    row = frames.newest(runs)
    lines = [
        [
            f"{s['microseconds'] / 1000:g}",
            str(s["steps_per_call"]),
            s["matmul"],
            f"{s['events_per_step']:.0f}",
            _times(s["call_milliseconds"]),
            f"{s['call_milliseconds']['median'] / s['steps_per_call']:.3f}",
            _times(s["loop_milliseconds"]),
            f"{s['compile_seconds']:.2f}",
            f"{s['equal_at_end']} of {s['compared_at_end']}; {s['equal']} of {s['compared']}",
        ]
        for s in row["streams"]
    ]
    head = [
        "bin (ms)",
        "steps per call",
        "matmul",
        "events per step",
        "call: median, 99th percentile (ms)",
        "step: median (ms)",
        "loop: median, 99th percentile (ms)",
        "compiling (s)",
        "same decision as `apply`: at the end; at all calls",
    ]
    each = row["microseconds"] / 1000
    at = [t for t in range(len(row["accuracy_at"])) if (t + 1) % 5 == 0 or t == 0]
    over = tables.markdown(
        ["time since onset (ms)", *(f"{each * (t + 1):g}" for t in at)],
        [["test accuracy (%)", *(f"{100 * row['accuracy_at'][t]:.1f}" for t in at)]],
    )
    early = tables.markdown(
        ["decided at a margin of", *(f"{e['lead']:g}" for e in row["early"])],
        [
            ["test accuracy (%)", *(f"{100 * e['accuracy']:.1f}" for e in row["early"])],
            ["mean time (ms)", *(f"{e['milliseconds']:.0f}" for e in row["early"])],
        ],
    )
    made = (
        f"{row['network']}, T = {row['num_steps']} x {each:g} ms, {row['epochs']} epochs of "
        f"{row['num_train']} recordings, {row['num_test']} test recordings; {row['device']}, jax "
        f"{row['jax']}, {row['commit']}."
    )
    return "\n\n".join([tables.markdown(head, lines), over, early, made])


def _times(found: dict[str, float]) -> str:
    return f"{found['median']:.3f}, {found['p99']:.3f}"
