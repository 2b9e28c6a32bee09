"""Charts as SVG that is embedded in a page and follows its colors, dark or light."""

import html
import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stbp_jax import plots

# Colors with a contrast of 3 or more on white and on the dark page. `plots` marks the correct unit
# and the test set by the fourth, red.
COLORS = (
    "#2f7ed8", "#2a9558", "#c76f0a", "#d64a41", "#9467bd", "#1692a0", "#a0714f", "#cf5fa8",
)  # fmt: skip
INK = "#010203"  # replaced by the color of the page's text, as is the gray of `plots`
GRAY = "#737373"
STYLE: Mapping[str, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "font.size": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
SIZE = 4.0, 2.6  # inches; letters are as large as the captions of a narrow page


def chart(
    draw: Callable[[Axes], object], alt: str, *, name: str, size: tuple[float, float] = SIZE
) -> str:
    """Return a chart as an `<svg>` element.

    Args:
      draw: draws into the axes.
      alt: alternative text.
      name: of the chart; charts of one page need different names.
      size: width and height in inches.
    """
    style: Any = dict(STYLE) | {"svg.hashsalt": name}  # names within the chart depend on it
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        return svg(figure, alt)


def svg(figure: Figure, alt: str) -> str:
    """Return a figure as an `<svg>` element with an alternative text, as wide as its place."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', text)
    head = f'<svg {box[0] if box else ""} role="img" aria-label="{html.escape(alt)}">'
    text = head + text[text.index(">") + 1 :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r'(<g) id="[^"]*"', r"\1", text)  # names that repeat among the charts of a page
    text = (
        text.replace("xlink:href", "href")
        .replace(INK, "currentColor")
        .replace(GRAY, "currentColor")
    )
    text = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", text)
    return re.sub(r">\s+<", "><", text)


def over_epochs(
    lines: Mapping[str, np.ndarray], ylabel: str, *, log: bool = False
) -> Callable[[Axes], None]:
    """Return a function that draws one line for each name, with the epochs on the x axis."""

    def draw(axes: Axes) -> None:
        for name, values in lines.items():
            numbers = np.asarray(values, float)
            numbers = np.where(np.isfinite(numbers) & ((numbers > 0) | (not log)), numbers, np.nan)
            marker = "o" if np.isfinite(numbers).sum() == 1 else ""
            axes.plot(np.arange(1, len(numbers) + 1), numbers, label=name, marker=marker, ms=3)
        epochs_axis(axes)
        axes.set_ylabel(ylabel)
        drawn = any(np.isfinite(line.get_ydata()).any() for line in axes.lines)
        if not drawn:
            axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
            axes.text(0.5, 0.5, "no finite number", ha="center", va="center")
            return
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(ticker.LogFormatter(labelOnlyBase=False))
        if len(lines) > 1:
            axes.legend(fontsize="small")

    return draw


def epochs_axis(axes: Axes) -> None:
    """Label the x axis, with ticks at whole epochs."""
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axes.set_xlabel("epoch")


def raster(spikes: np.ndarray, *, label: int | None = None) -> Callable[[Axes], None]:
    """Return a function that draws spikes `[T, N]`; NaN is not drawn."""

    def draw(axes: Axes) -> None:
        plots.raster(axes, np.nan_to_num(spikes.astype(float)), label=label)
        height = 45 * SIZE[1] / spikes.shape[1]  # of a unit, in points
        marks: Any
        for marks in axes.collections:
            marks.set_sizes([max(4.0, min(60.0, height**2))])

    return draw


def histogram(values: Mapping[str, np.ndarray], xlabel: str) -> Callable[[Axes], None]:
    """Return a function that draws the share of units over 20 bins from 0 to 1, a line a name."""

    def draw(axes: Axes) -> None:
        edges = np.linspace(0, 1, 21)
        for i, (name, numbers) in enumerate(values.items()):
            sound = numbers[np.isfinite(numbers)]
            counts = np.histogram(np.clip(sound, 0, 1), edges)[0] / max(len(numbers), 1)
            axes.stairs(100 * counts, edges, color=COLORS[i % len(COLORS)], label=name, lw=1.5)
        axes.set(xlabel=xlabel, ylabel="units (%)", xlim=(0, 1))
        axes.legend(fontsize="small")

    return draw
