"""Picture, table and measure of the study, made from its rows."""

from pathlib import Path
from typing import Any

import pandas as pd

from experiments.report import figures, frames, tables
from experiments.report.frames import Frame, Measured

METHODS = {
    "ottt": "OTTT",
    "truncated_1": "cut at every step",
    "truncated_2": "cut every 2 steps",
    "truncated_5": "cut every 5 steps",
    "stbp": "STBP",
}


def draw(runs: Frame, folder: Path) -> None:
    """Draw `online.png`: accuracy of each method, memory and time of a gradient over T."""
    runs = frames.largest(runs)
    parts = _parts(runs)
    figure, (accuracy, memory, seconds) = figures.panels(3, size=(13, 4.2))
    figure.suptitle(figures.setting(runs), fontsize="medium")
    for i, (method, part) in enumerate(parts.items()):
        figures.points(accuracy, [i], [part], color=f"C{i}")
        lines = _costs(part)
        steps = lines["num_steps"]
        style: dict[str, Any] = {"color": f"C{i}", "ms": 4, "label": METHODS[method]}
        memory.plot(steps, lines["temp_bytes"] / 1e6, "o-", **style)
        seconds.plot(steps, 1000 * lines["seconds"], "o-", **style)
    names = [METHODS[method] for method in parts]
    accuracy.set_xticks(range(len(parts)), names, rotation=30, ha="right")
    accuracy.set_ylabel("test accuracy, last epoch (%)\nmean, 95 % interval")
    memory.set(xscale="log", yscale="log", xlabel="T", ylabel="memory of a gradient (MB)")
    seconds.set(xscale="log", yscale="log", xlabel="T", ylabel="time of a gradient (ms)")
    memory.legend(frameon=False, fontsize="small")
    figures.save(figure, folder / "online.png")


def table(runs: Frame) -> str:
    """Return a table with one line for each method."""
    return tables.by_budget(_table, runs)


def _table(runs: Frame) -> str:
    parts = _parts(runs)
    stbp = parts.get("stbp")
    steps = next((list(_costs(part)["num_steps"]) for part in parts.values()), [])
    lines = []
    for method, part in parts.items():
        less = "-" if stbp is None or method == "stbp" else _minus(part, stbp)
        costs = _costs(part)
        lines.append(
            [
                METHODS[method],
                frames.spread(part["accuracy"]),
                less,
                *(f"{1e-6 * number:.2f}" for number in costs["temp_bytes"]),
                *(f"{1e3 * number:.3g}" for number in costs["seconds"]),
                part["seed"].nunique(),
            ]
        )
    head = [
        "gradient",
        "last epoch (%)",
        "minus STBP [95 %]",
        *(f"MB at T = {n:,}" for n in steps),
        *(f"ms at T = {n:,}" for n in steps),
        "seeds",
    ]
    return tables.markdown(head, lines)


def growth(runs: Frame) -> Measured:
    """Return the memory of a gradient at the largest T, as a multiple of that at the smallest."""
    sizes = _costs(runs)["temp_bytes"]
    found = sizes.iloc[-1] / sizes.iloc[0]
    return Measured(f"{found:.2f}", frames.exactly(found))


def _minus(part: Frame, other: Frame) -> frames.Difference:
    return frames.difference(frames.by_seed(part), frames.by_seed(other))


def _parts(runs: Frame) -> dict[str, Frame]:
    found = frames.by(runs, "variant")
    return {method: found[method] for method in METHODS if method in found}


def _costs(runs: Frame) -> Frame:
    """Return `num_steps`, `temp_bytes` and `seconds` of the run that measured them."""
    measured = runs[runs["costs"].map(bool)]
    return pd.DataFrame(measured["costs"].iloc[0] if len(measured) else [])
