"""`report.html`, the page of a run folder: its curves, layers, spikes, errors and settings."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments.report.pages import charts, comparison, markup
from experiments.report.pages.folder import Cell, RunFolder, read

PAGE = "report.html"
# Pictures that the page draws itself, from the same numbers.
REDRAWN = ("learning_curve.png", "raster.png")


def write(path: Path) -> Path:
    """Write the page of a run folder from the files in it, and return the page's path.

    Raises:
      UsageError: the folder holds no run.
    """
    run = read(path)
    middle = _single(run) if run.is_single else _sweep(run)
    seeds = ", ".join(map(str, run.job.seeds))
    title = f"{run.name}, budget {run.job.budget}, seed{'s'[: len(run.job.seeds) > 1]} {seeds}"
    parts = [markup.paragraph(run.about) if run.about else "", *middle]
    page = markup.page(title, [part for part in [*parts, _pictures(run), _settings(run)] if part])
    (path / PAGE).write_text(page, encoding="utf-8")
    return path / PAGE


def _sweep(run: RunFolder) -> list[str]:
    groups = comparison.experiments(run.cells())
    numbers = {"points": str(len(groups)), "seeds": str(len(run.job.seeds)), **_progress(run)}
    return [markup.numbers(numbers), *(comparison.body(groups) if run.epochs else ())]


def _single(run: RunFolder) -> list[str]:
    (cell,) = run.cells()
    if not run.epochs:
        return [markup.numbers(_progress(run))]
    accuracy = {} if np.isnan(cell.accuracy) else {"test accuracy": f"{cell.accuracy:.2f} %"}
    found = cell.findings()
    bad = markup.table(
        ["what", "where", "what to try"],
        [[(one.kind, "bad"), one.words, one.remedy] for one in found],
    )
    return [
        markup.numbers(accuracy | _selected(run) | _progress(run)),
        markup.section(comparison.WRONG, bad if found else markup.paragraph(comparison.SOUND)),
        markup.section("Curves", markup.charts(_curves(cell))),
        markup.section("Layers", _layers(cell), markup.charts(_layer_charts(cell))),
        markup.section("Spikes of one test example", markup.charts(_rasters(run))),
        markup.section("Confusion matrix", _confusion(run)),
    ]


def _progress(run: RunFolder) -> dict[str, str]:
    done, wanted = len(run.epochs), run.job.config.train.epochs
    numbers = {"epochs": str(done) if done == wanted else f"{done} of {wanted}"} if done else {}
    seconds = run.rows[0].get("wall_seconds") if run.rows else None
    seconds = run.epochs[-1]["seconds"] if seconds is None and run.epochs else seconds
    if seconds is not None:
        numbers["time"] = f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
    if run.rows and run.rows[0].get("network"):
        numbers["network"] = run.rows[0]["network"]
    return numbers


def _selected(run: RunFolder) -> dict[str, str]:
    selected = run.rows[0].get("test_accuracy_selected") if run.rows else None
    return {} if selected is None else {"at the best validation": f"{100 * selected:.2f} %"}


def _curves(cell: Cell) -> Iterator[str]:
    parts = {"training batches": "train", "validation": "validation", "test": "test"}
    errors = {
        name: 100 * (1 - values)
        for name, of in parts.items()
        if len(values := cell.series(f"{of}_accuracy"))
    }
    if errors:
        alt = f"Line chart of the error rate over epochs. {_ends(errors, ' percent')}"
        yield markup.figure(
            charts.chart(charts.over_epochs(errors, "error (%)", log=True), alt, name="error"),
            "Share of wrong examples; an error of 0 interrupts the line.",
        )
    losses = {"training": cell.series("loss"), "test": cell.series("test_loss")}
    alt = f"Line chart of the loss over epochs. {_ends(losses)}"
    yield markup.figure(
        charts.chart(charts.over_epochs(losses, "loss"), alt, name="loss"),
        "Loss: training is the mean over the updates of an epoch, test is after it.",
    )


def _ends(lines: dict[str, np.ndarray], unit: str = "") -> str:
    """Return what a chart shows, in words: the first and the last value of each line."""
    return " ".join(
        f"{name}: from {values[0]:.3g} to {values[-1]:.3g}{unit}."
        for name, values in lines.items()
        if len(values)
    )


def _layers(cell: Cell) -> str:
    names = ("firing_rate", "silent_fraction", "in_window", "operations")
    last = [cell.series(name)[-1] for name in names if len(cell.series(name))]
    if len(last) < len(names) or not len(last[0]):
        return ""
    lines = [
        [f"spiking layer {i}", f"{rate:.4f}", *(f"{100 * x:.1f}" for x in shares), f"{count:,.0f}"]
        for i, (rate, *shares, count) in enumerate(zip(*last, strict=True))
    ]
    head = ["", "spikes a step", "units that never fire (%)", "in the window (%)"]
    return markup.table(
        [*head, "synaptic operations an example"],
        lines,
        caption="On the test set, after the last epoch. The window is the surrogate's full width "
        "at half maximum around the threshold.",
    )


def _layer_charts(cell: Cell) -> Iterator[str]:
    charted = {
        "firing_rate": ("spikes a step", "Mean firing rate of each layer over epochs."),
        "in_window": ("share in the window", "Share of membranes inside the surrogate's window."),
    }
    for name, (ylabel, caption) in charted.items():
        values = cell.series(name)
        if values.ndim != 2 or not values.shape[1]:
            continue
        lines = {f"layer {i}": values[:, i] for i in range(values.shape[1])}
        alt = f"Line chart: {caption} {_ends(lines)}"
        yield markup.figure(
            charts.chart(charts.over_epochs(lines, ylabel), alt, name=name), caption
        )
    rates: dict[str, np.ndarray] = {}
    while (found := cell.run.measured.get(f"rates_{len(rates)}")) is not None:
        rates[f"layer {len(rates)}"] = found
    if rates:
        means = ", ".join(f"{name} {np.mean(values):.3f}" for name, values in rates.items())
        alt = f"Histogram of the firing rates of units. Means: {means}."
        caption = "Firing rates of units: the share of units in each twentieth."
        draw = charts.histogram(rates, "spikes a step")
        yield markup.figure(charts.chart(draw, alt, name="rates"), caption)


def _rasters(run: RunFolder) -> Iterator[str]:
    arrays = run.measured
    if not len(arrays.get("layers", ())):
        return
    label = int(arrays["label"])
    for name in ("before", "after"):
        outs = arrays[name]
        if outs.ndim != 2:
            continue
        caption = f"Output {name} training, {_count(outs)}; unit {label} is that of the class."
        alt = f"Raster plot. {caption}"
        draw = charts.raster(outs, label=label if label < outs.shape[1] else None)
        yield markup.figure(charts.chart(draw, alt, name=f"raster-{name}"), caption)
    for i, units in enumerate(arrays["units"]):
        spikes = arrays[f"spikes_{i}"]
        if np.array_equal(spikes, arrays["after"][: len(spikes)] != 0):
            continue  # the output, which is drawn already
        some = "" if spikes.shape[1] == units else f"{spikes.shape[1]} of "
        caption = f"Spiking layer {i} after training, {some}{units} units, {_count(spikes)}."
        picture = charts.chart(charts.raster(spikes), f"Raster plot. {caption}", name=f"raster-{i}")
        yield markup.figure(picture, caption)


def _count(spikes: np.ndarray) -> str:
    lost = "" if np.isfinite(spikes.astype(float)).all() else ", some are NaN"
    number = int(np.count_nonzero(np.nan_to_num(spikes.astype(float))))
    return f"{number} spike{'s'[: number != 1]}{lost}"


def _confusion(run: RunFolder) -> str:
    counts = run.measured.get("confusion")
    if counts is None:
        return ""
    caption = "Test examples: lines are the true classes, columns the predicted ones."
    pairs = [
        (int(counts[i, j]), i, j) for i, j in np.ndindex(*counts.shape) if i != j and counts[i, j]
    ]
    worst = ", ".join(f"{i} as {j} ({n})" for n, i, j in sorted(pairs, reverse=True)[:3])
    note = markup.paragraph(f"Most frequent errors: {worst}.") if worst else ""
    return markup.matrix(counts, caption=caption) + note


def _pictures(run: RunFolder) -> str:
    found = [path for path in sorted(run.path.glob("*.png")) if path.name not in REDRAWN]
    figures = []
    for path in found:
        words = path.stem.replace("_", " ")
        picture = markup.image(path, f"Picture of the run: {words}")
        figures.append(markup.figure(picture, f"{words} ({path.name})"))
    return markup.section("Pictures", markup.charts(figures))


def _settings(run: RunFolder) -> str:
    tables = []
    for name, values in run.job.config.asdict().items():
        lines = [[key, comparison.shown(value)] for key, value in values.items()]
        tables.append(f"<div>{markup.table(['setting', 'value'], lines, caption=name)}</div>")
    row = run.rows[0] if run.rows else {}
    names = ("device", "jax", "python", "commit", "command", "date")
    found = {name: row.get(name, run.source.get(name)) for name in names}
    lines = [[name, comparison.shown(value)] for name, value in found.items()]
    tables.append(f"<div>{markup.table(['', ''], lines, caption='where and when')}</div>")
    return markup.section("Settings", markup.charts(tables))
