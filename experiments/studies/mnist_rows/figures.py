"""Picture and table of the study, made from its rows."""

from pathlib import Path

from experiments.report import figures, frames, tables
from experiments.report.frames import Frame
from experiments.studies.mnist_rows.study import GRADIENTS, NEURONS, PERMUTED, ROWS, TUNED

ORDERS = {ROWS: "from top to bottom", PERMUTED: "permuted"}
LAYERS = (*NEURONS, TUNED)
METHODS = {"stbp": "STBP", "sdbp": "SDBP", "truncated": "cut every 7 steps"}


def draw(runs: Frame, folder: Path) -> None:
    """Draw `accuracy.png`: means and 95 % intervals, by neuron and order."""
    runs = frames.largest(runs)
    names = {f"{neuron}_{name}": neuron for neuron in LAYERS for name in METHODS}
    layers = [neuron for neuron in LAYERS if neuron in set(runs["variant"].map(names))]
    figure, panels = figures.panels(len(ORDERS), size=(10, 4.2), sharey=True)
    figure.suptitle(figures.setting(runs), fontsize="medium")
    for axes, (order, text) in zip(panels, ORDERS.items(), strict=True):
        for i, (gradient, label) in enumerate(METHODS.items()):
            parts = [_part(runs, order, neuron, gradient) for neuron in layers]
            places = [place for place, part in enumerate(parts) if len(part)]
            for place in places:  # a dot for each neuron, and no line from neuron to neuron
                style = {"color": f"C{i}", "label": label if place == places[0] else None}
                figures.points(axes, [place + 0.12 * (i - 1)], [parts[place]], **style)
        axes.set_title(f"rows {text}", fontsize="medium")
        axes.set_xticks(range(len(layers)), [_words(one) for one in layers], fontsize="small")
        axes.set_xlim(-0.5, len(layers) - 0.5)
    panels[0].set_ylabel("test accuracy, last epoch (%)\nmean, 95 % interval")
    panels[0].legend(frameon=False)
    figures.save(figure, folder / "accuracy.png")


def table(runs: Frame) -> str:
    """Return a table with one line for each order and neuron."""
    return tables.by_budget(_table, runs)


def _table(runs: Frame) -> str:
    lines = []
    for order, text in ORDERS.items():
        for neuron in LAYERS:
            parts = {name: _part(runs, order, neuron, name) for name in GRADIENTS}
            full, *others = (frames.by_seed(part) for part in parts.values())
            if not any(map(len, parts.values())):
                continue
            gains = [
                frames.difference(full, other) if len(full) and len(other) else "-"
                for other in others
            ]
            shown = (frames.spread(part["accuracy"]) for part in parts.values())
            seeds = max(part["seed"].nunique() for part in parts.values())
            lines.append([text, _words(neuron), *shown, *gains, seeds])
    head = [
        "rows",
        "hidden neurons",
        *(f"{label} (%)" for label in METHODS.values()),
        "STBP minus SDBP [95 %]",
        "STBP minus cut [95 %]",
        "seeds",
    ]
    return tables.markdown(head, lines)


def _part(runs: Frame, order: int, neuron: str, gradient: str) -> Frame:
    return runs[(runs["order"] == order) & (runs["variant"] == f"{neuron}_{gradient}")]


def _words(neuron: str) -> str:
    return neuron.replace("_", " ").replace("lif", "LIF").replace("aLIF", "ALIF")
