"""A page that compares runs: accuracies with the settings that differ, and curves in one chart."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from experiments.engine import rows
from experiments.engine.rows import Row
from experiments.report import frames
from experiments.report.pages import charts, markup
from experiments.report.pages.folder import Cell, RunFolder

NAMED, BANDS = 8, 5  # lines in a chart that have a legend, and lines that have bands
WIDE = 5.0, 3.1  # inches
PLACE = ("device", "jax", "commit")


class Experiment(NamedTuple):
    """Runs that differ in the seed alone.

    Attributes:
      settings: all settings, by name.
      cells: a point of a run for each seed.
    """

    settings: Row
    cells: list[Cell]

    def over_epochs(self, name: str) -> np.ndarray:
        """Return a metric `[S, E]` up to the epoch that all seeds have reached."""
        found = [cell.series(name) for cell in self.cells]
        length = min(map(len, found))
        return np.stack([one[:length] for one in found])

    @property
    def accuracies(self) -> "pd.Series[float]":
        """Test accuracies of the last epoch in percent, by seed, without diverged runs."""
        sound = {cell.seed: cell.accuracy for cell in self.cells if not cell.diverged}
        return pd.Series(sound, dtype=float).dropna()

    @property
    def epochs(self) -> str:
        """Number of epochs; of an unfinished run with the number that it shall have."""
        done = min(len(cell.run.epochs) for cell in self.cells)
        wanted = self.cells[0].run.job.config.train.epochs
        return str(done) if done == wanted else f"{done} of {wanted}"

    @property
    def diverged(self) -> int:
        """Number of seeds whose run has diverged."""
        return sum(cell.diverged for cell in self.cells)


def experiments(cells: Iterable[Cell]) -> list[Experiment]:
    """Group points and seeds into experiments, in their order.

    A seed that an experiment has already is another experiment, which differs in its `folder`.
    """
    found: dict[str, Experiment] = {}
    for cell in cells:
        settings = cell.settings
        key = json.dumps(settings, sort_keys=True, default=rows.plain)
        if key in found and cell.seed in [one.seed for one in found[key].cells]:
            settings = settings | {"folder": str(cell.run.path)}
            key = json.dumps(settings, sort_keys=True, default=rows.plain)
        found.setdefault(key, Experiment(settings, [])).cells.append(cell)
    return list(found.values())


def differing(groups: Sequence[Experiment]) -> list[str]:
    """Return the names of the settings in which experiments differ."""
    names = dict.fromkeys(name for group in groups for name in group.settings)
    texts = {
        name: {json.dumps(group.settings.get(name), default=rows.plain) for group in groups}
        for name in names
    }
    return [name for name in names if len(texts[name]) > 1]


def shown(value: Any) -> str:
    """Format the value of a setting."""
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def labels(groups: Sequence[Experiment]) -> list[str]:
    """Return a short name for each experiment, from what differs."""
    names = [name for name in differing(groups) if name not in PLACE] or differing(groups)
    return [
        ", ".join(
            shown(group.settings.get(name))
            if name in ("study", "variant", "budget", "folder")
            else f"{name} {shown(group.settings.get(name))}"
            for name in names
        )
        or group.settings["variant"]
        for group in groups
    ]


def accuracy_table(groups: Sequence[Experiment]) -> str:
    """Return a table with a line for each experiment and a column for each setting that differs."""
    names = differing(groups)
    several = len(groups) > 1
    begun = any(" of " in group.epochs for group in groups)  # a run that has not ended
    head = ["", *names, *["done"][:begun], "seeds", "test accuracy (%)"]
    head += ["difference from the first [95 %]"] if several else []
    lines: list[list[Any]] = []
    for number, group in enumerate(groups, 1):
        line: list[Any] = [str(number)]
        line += [shown(group.settings.get(name)) for name in names]
        line += [f"{group.epochs} epochs"][:begun]
        line += [len(group.cells), frames.spread(group.accuracies)]
        if several:
            found = frames.difference(group.accuracies, groups[0].accuracies)
            line.append("–" if number == 1 or not found.pairs else str(found))
        lost = group.diverged
        lines.append([*line, (f"{lost} of {len(group.cells)}", "bad") if lost else "none"])
    return markup.table(
        [*head, "diverged"],
        lines,
        caption="Accuracy of the last epoch, mean ± standard deviation over seeds without diverged "
        "runs; differences are paired by seed.",
    )


def curves(groups: Sequence[Experiment]) -> str:
    """Return a figure with the test accuracy of all experiments over the epochs."""
    kept = [
        (label, values)
        for label, group in zip(labels(groups), groups, strict=True)
        if (values := 100 * group.over_epochs("test_accuracy")).shape[1]
    ]
    if not kept:
        return ""
    many, bands = len(kept) > NAMED, len(kept) <= BANDS

    def draw(axes: Axes) -> None:
        for i, (label, values) in enumerate(kept):
            epochs, mean = np.arange(1, values.shape[1] + 1), values.mean(0)
            style: dict[str, Any] = {"ls": ("-", "--", ":")[i // len(charts.COLORS) % 3]}
            mark: dict[str, Any] = {"marker": "o", "ms": 3} if len(epochs) == 1 else {}
            (line,) = axes.plot(epochs, mean, label=label, lw=1 if many else 1.6, **style, **mark)
            if len(values) > 1 and bands:
                edge = values.std(0, ddof=1)
                band: dict[str, Any] = {"color": line.get_color(), "alpha": 0.18, "lw": 0}
                axes.fill_between(epochs, mean - edge, mean + edge, **band)
        charts.epochs_axis(axes)
        axes.set_ylabel("test accuracy (%)")
        if len(kept) > 1 and not many:
            axes.legend(fontsize="small")

    ends = [float(values[:, -1].mean()) for _, values in kept]
    alt = (
        f"Line chart of test accuracy over epochs, {len(kept)} lines that end between "
        f"{min(ends):.2f} and {max(ends):.2f} percent."
    )
    caption = "Test accuracy over epochs" + (
        "; the band is ± one standard deviation over seeds." if bands else ", means over seeds."
    )
    picture = charts.chart(draw, alt, name="curves", size=WIDE)
    return markup.figure(picture, caption, wide=True)


def by_value(groups: Sequence[Experiment]) -> str:
    """Return a figure of accuracy over the one number that differs; nothing for other differences.

    A second number that differs gives a line for each of its values.
    """
    names = [name for name in differing(groups) if name not in PLACE]
    numeric = [
        name
        for name in names
        if all(isinstance(group.settings.get(name), int | float) for group in groups)
    ]
    if not names or names != numeric or len(names) > 2 or len(groups) < 3:
        return ""
    # The number with more values is on the x axis.
    names.sort(key=lambda name: -len({group.settings[name] for group in groups}))
    lines: dict[str, list[Experiment]] = {}
    for group in groups:
        of = f"{names[1]} {shown(group.settings[names[1]])}" if len(names) == 2 else ""
        lines.setdefault(of, []).append(group)
    values = [group.settings[names[0]] for group in groups]
    log = min(values) > 0 and max(values) > 20 * min(values)

    def draw(axes: Axes) -> None:
        for label, members in lines.items():
            members = sorted(members, key=lambda group: group.settings[names[0]])
            xs = [group.settings[names[0]] for group in members]
            means = [group.accuracies.mean() for group in members]
            spread = np.nan_to_num([group.accuracies.std() for group in members])
            axes.errorbar(xs, means, spread, marker="o", ms=4, capsize=3, label=label)
        axes.set(xlabel=names[0], ylabel="test accuracy (%)", xscale="log" if log else "linear")
        if len(lines) > 1:
            axes.legend(fontsize="small")

    best = max(groups, key=lambda group: float(np.nan_to_num(group.accuracies.mean(), nan=-1.0)))
    alt = (
        f"Test accuracy over {' and '.join(names)}; the best mean is "
        f"{best.accuracies.mean():.2f} percent at "
        f"{', '.join(f'{name} {shown(best.settings[name])}' for name in names)}."
    )
    caption = f"Test accuracy over {names[0]}; bars are ± one standard deviation over seeds."
    picture = charts.chart(draw, alt, name="by-value", size=WIDE)
    return markup.figure(picture, caption, wide=True)


def findings(groups: Sequence[Experiment]) -> str:
    """Return a table of what diverged, is silent or is saturated; a sentence if nothing is."""
    lines = [
        [str(number), cell.seed, (found.kind, "bad"), found.words, found.remedy]
        for number, group in enumerate(groups, 1)
        for cell in group.cells
        for found in cell.findings()
    ]
    if not lines:
        return markup.paragraph(SOUND)
    return markup.table(["line", "seed", "what", "where", "what to try"], lines)


WRONG = "Diverged, silent or saturated"
SOUND = (
    "No update diverged, and in the last epoch no spiking layer was silent, saturated or outside "
    "the window."
)


def body(groups: Sequence[Experiment]) -> list[str]:
    """Return the sections that compare experiments."""
    return [
        markup.section("Accuracy", accuracy_table(groups), by_value(groups)),
        markup.section("Curves", curves(groups)),
        markup.section(WRONG, findings(groups)),
    ]


def write(found: Sequence[RunFolder], path: Path) -> None:
    """Write the page that compares the runs."""
    groups = experiments(cell for run in found for cell in run.cells())
    names = dict.fromkeys(run.name for run in found)
    title = f"{len(groups)} experiments: {', '.join(names)}"
    links = [[str(run.path), run.name, ", ".join(map(str, run.job.seeds))] for run in found]
    last = markup.section("Folders", markup.table(["folder", "study", "seeds"], links))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markup.page(title, [*body(groups), last]), encoding="utf-8")
