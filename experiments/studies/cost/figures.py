"""Picture, table and measures of the study, made from its rows."""

import statistics
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from scipy import stats

from experiments.engine.rows import Row
from experiments.report import figures, frames, tables
from experiments.report.frames import Difference, Frame, Measured

EPOCH = 60_000  # images of an epoch
INPUTS = {"mlp": "Bernoulli", "mlp_direct": "direct", "cnn": "Bernoulli", "cnn_direct": "direct"}


def draw(runs: Frame, folder: Path) -> None:
    """Draw `cost.png`: time, memory and operations over T, each as a multiple of the ANN's."""
    runs = frames.largest(runs)
    figure, (time, memory, operations) = figures.panels(3, size=(13, 4.4), sharex=True)
    figure.suptitle(
        f"A training step over that of the ANN baseline: {frames.newest(runs)['device']}",
        fontsize="medium",
    )
    for i, part in enumerate(_by_variant(runs)):
        lines = _lines(part)
        steps = [row["num_steps"] for row in lines]
        style: dict[str, Any] = {
            "marker": "o" if i % 2 == 0 else "s",
            "ms": 4,
            "color": f"C{i}",
            "label": f"{lines[0]['network']}, {INPUTS[lines[0]['variant']]} input",
        }
        times = [ratio(row) for row in lines]
        halves = np.array([[t.mean - t.low, t.high - t.mean] for t in times]).T
        time.errorbar(steps, [t.mean for t in times], np.nan_to_num(halves), capsize=3, **style)
        memory.plot(steps, [_memory(row) for row in lines], **style)
        operations.plot(steps, [_operations(row) for row in lines], **style)
    panels = {"time": time, "memory": memory, "operations of the forward pass": operations}
    for title, axes in panels.items():
        _axes(axes, title, sorted(set(runs["num_steps"])))
    handles, labels = time.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figures.save(figure, folder / "cost.png")


def _axes(axes: Axes, title: str, steps: list[int]) -> None:
    axes.plot([steps[0], steps[-1]], [steps[0], steps[-1]], "k--", lw=1, label="T times")
    axes.set(xscale="log", yscale="log", xlabel="T", ylabel="times the ANN's")
    axes.set_title(title, fontsize="medium")
    axes.set_xticks(steps, [str(n) for n in steps])
    axes.xaxis.set_minor_locator(ticker.NullLocator())


def table(runs: Frame) -> str:
    """Return a table with one line for each network, input and T."""
    return "\n\n".join(
        f"Budget `{budget}`:\n\n{_table(part)}"
        for budget in tables.LARGEST_FIRST
        if len(part := runs[runs["budget"] == budget])
    )


def _table(runs: Frame) -> str:
    rows = [row for part in _by_variant(runs) for row in _lines(part)]
    lines = []
    for row in rows:
        found, temp = ratio(row), row["temp_bytes"]
        products, additions = row["multiply_accumulates"], sum(row["operations"])
        lines.append(
            [
                row["network"],
                INPUTS[row["variant"]],
                row["num_steps"],
                *(f"{_epoch(row, name):.3g}" for name in ("ann", "spiking")),
                f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]",
                f"{found.mean / row['num_steps']:.2f}",
                *(f"{temp[name] / 1e6:.1f}" for name in ("ann", "spiking")),
                f"{_memory(row):.1f}",
                f"{products / 1e6:.3g}",
                f"{additions / 1e6:.3g}",
                f"{_operations(row):.2f}",
                " ".join(f"{100 * rate:.1f}" for rate in row["firing_rate"]),
            ]
        )
    head = [
        "network",
        "input",
        "T",
        "seconds an epoch: ANN",
        "spiking",
        "ratio [95 %]",
        "ratio / T",
        "memory of a step (MB): ANN",
        "spiking",
        "ratio",
        "operations an example: ANN, products (M)",
        "spiking, additions (M)",
        "ratio",
        "spikes per 100 steps, by layer",
    ]
    first = rows[0]
    turns = ", ".join(map(str, sorted({len(row["seconds"]["ann"]) for row in rows})))
    made = (
        f"Batches of {first['batch_size']}; medians over {turns} turns, each with one timed step "
        "of the spiking network and T of the ANN; rates and operations on "
        f"{first['num_test']} test images after {first['num_train'] // first['batch_size']} "
        "updates. "
    )
    return f"{tables.markdown(head, lines)}\n\n{made}{tables.origin(runs)}"


def worst(runs: Frame) -> Measured:
    """Return the ratio of times, divided by T, at the T at which it is largest."""
    lines = _lines(runs)
    found = {row["num_steps"]: ratio(row) for row in lines}
    steps = max(found, key=lambda n: found[n].mean / n)
    mean, low, high, turns = found[steps]
    over = Difference(mean / steps, low / steps, high / steps, turns)
    every = ", ".join(f"{f.mean:.3g}" for f in found.values())
    return Measured(
        f"{over.mean:.2f} at T = {steps}; {every} times at T = {', '.join(map(str, found))}", over
    )


def ratio(row: Row) -> Difference:
    """Return the median over turns of the spiking network's time over the ANN's.

    The interval is that of order statistics, which assumes no distribution of the times; it is NaN
    for fewer than six turns.
    """
    seconds = row["seconds"]
    found = np.array(seconds["spiking"]) / np.array(seconds["ann"])
    interval = stats.quantile_test(found, p=0.5).confidence_interval(0.95)
    return Difference(
        float(np.median(found)), float(interval.low), float(interval.high), len(found)
    )


def _epoch(row: Row, name: str) -> float:
    """Return the seconds of an epoch by the median step."""
    return statistics.median(row["seconds"][name]) * EPOCH / row["batch_size"]


def _memory(row: Row) -> float:
    temp = row["temp_bytes"]
    return temp["spiking"] / temp["ann"]


def _operations(row: Row) -> float:
    return sum(row["operations"]) / row["multiply_accumulates"]


def _by_variant(runs: Frame) -> list[Frame]:
    found = frames.by(runs, "variant")
    return [found[name] for name in INPUTS if name in found]


def _lines(runs: Frame) -> list[Row]:
    """Return the rows of a variant by T."""
    runs = runs.sort_values("num_steps")
    return [{str(k): v for k, v in row.items()} for row in runs.to_dict("records")]
