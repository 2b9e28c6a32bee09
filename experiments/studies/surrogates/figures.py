"""Pictures, table and measures of the study, made from its rows."""

from pathlib import Path

from matplotlib.figure import Figure

from experiments.report import figures, frames, tables
from experiments.report.frames import Frame, Measured
from experiments.studies.surrogates.study import FAMILIES
from stbp_jax import plots

SIDES = {"width": "a = 1, as in the paper", "fwhm": "equal widths, FWHM 1"}


def draw(runs: Frame, folder: Path) -> None:
    """Draw `curves.png` (the paper's Fig. 3), `shapes.png` (6A) and `widths.png` (6B)."""
    for budget in tables.LARGEST_FIRST:
        part = runs[runs["budget"] == budget]
        if len(part):
            pictures = {"curves": _curves, "shapes": _shapes, "widths": widths}
            for name, picture in pictures.items():
                figures.save(picture(part), folder / f"{name}.png")
            return


def table(runs: Frame) -> str:
    """Return the table of test accuracies: a line for each width, a column for each family."""
    return tables.by_budget(_table, runs)


def _table(runs: Frame) -> str:
    families = [name for name in FAMILIES if (runs["variant"] == name).any()]
    lines = [["a = 1", *_accuracies(runs[runs["width"] == 1], families)]]
    # At a = 1 each family has another width; these runs are in the line above.
    others = runs[(runs["width"] != 1) | (runs["variant"] == "rectangular")]
    for fwhm, part in others.groupby("fwhm"):
        lines.append([f"FWHM {fwhm:g}", *_accuracies(part, families)])
    head = [f"test accuracy, last epoch (%), {runs['seed'].nunique()} seeds", *families]
    return tables.markdown(head, lines)


def _accuracies(runs: Frame, families: list[str]) -> list[str]:
    return [frames.spread(runs.loc[runs["variant"] == name, "accuracy"]) for name in families]


def curves_apart(runs: Frame) -> Measured:
    """Return the difference of the best and the worst curve at a = 1, by seed."""
    at_one = frames.by(runs[runs["width"] == 1], "variant")
    values = {name: frames.by_seed(part) for name, part in at_one.items()}
    best, worst = (pick(values, key=lambda n: values[n].mean()) for pick in (max, min))
    found = frames.difference(values[best], values[worst])
    return Measured(f"{found.mean:.2f} from {best} to {worst}", found)


def ends_worse(runs: Frame) -> Measured:
    """Return the worst width from 1 to 5 minus the better end, by seed, for the rectangle."""
    rectangle = frames.by(runs[runs["variant"] == "rectangular"], "width")
    values = {width: frames.by_seed(part) for width, part in rectangle.items()}
    middle = [width for width in values if 1 <= width <= 5]
    means = {width: float(of.mean()) for width, of in values.items()}
    best, worst = (pick(middle, key=means.__getitem__) for pick in (max, min))
    found = frames.difference(values[worst], values[max((0.1, 10.0), key=means.__getitem__)])
    ours = (
        f"{means[best] - means[worst]:.2f} among widths 1 to 5 (best {means[best]:.2f}); "
        f"0.1: {means[0.1]:.2f}, 10: {means[10.0]:.2f}"
    )
    return Measured(ours, found)


def _curves(runs: Frame) -> Figure:
    figure, panels = figures.panels(2, size=(10, 3.6), sharey=True)
    figure.suptitle("Surrogate curves", fontsize="medium")
    for axes, (name, title) in zip(panels, SIDES.items(), strict=True):
        at_one = runs[runs[name] == 1].drop_duplicates("variant")
        found = zip(at_one["variant"], at_one["width"], strict=True)
        plots.curves(axes, [FAMILIES[family](width) for family, width in found])
        axes.set_title(title, fontsize="medium")
    return figure


def _shapes(runs: Frame) -> Figure:
    figure, panels = figures.panels(2, size=(10, 3.6), sharey=True)
    title = f"Four shapes: {figures.setting(runs)}, mean and s.d."
    figure.suptitle(title, fontsize="medium")
    for axes, (name, title) in zip(panels, SIDES.items(), strict=True):
        for family, part in runs[runs[name] == 1].groupby("variant", sort=False):
            figures.band(axes, part, label=family, marker=".")
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("epoch")
        axes.legend(frameon=False, loc="lower right")
    panels[0].set_ylabel("test accuracy (%)")
    return figure


def widths(runs: Frame) -> Figure:
    """Return a picture of the accuracy over widths, a line for each family (Fig. 6B)."""
    figure, (axes,) = figures.panels(1, size=(6.5, 4.2))
    figure.suptitle(figures.setting(runs), fontsize="medium")
    for family, part in runs.groupby("variant", sort=False):
        values = part.groupby("fwhm")["accuracy"]
        mean, deviation = values.mean(), values.std().fillna(0)
        (line,) = axes.plot(mean.index, mean, label=family, marker="o", ms=4)
        band = mean - deviation, mean + deviation
        axes.fill_between(mean.index, *band, color=line.get_color(), alpha=0.15, lw=0)
    axes.set(
        xscale="log",
        xlabel="width of the curve (FWHM, in units of the membrane)",
        ylabel="test accuracy, last epoch (%)\nmean and s.d. over seeds",
    )
    ticks = sorted(runs.loc[runs["variant"] == "rectangular", "fwhm"].unique())
    if ticks:
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
    axes.legend(frameon=False)
    return figure
