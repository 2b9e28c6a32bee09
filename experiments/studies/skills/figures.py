"""Picture, table and measure of the study, made from its rows."""

from pathlib import Path

from experiments.report import figures, frames, tables
from experiments.report.frames import Difference, Frame, Measured

PLAIN = "plain"


def draw(runs: Frame, folder: Path) -> None:
    """Draw `gains.png`: the gain of each skill over plain training, with 95 % intervals."""
    runs = frames.largest(runs)
    gains = _gains(runs)
    figure, (axes,) = figures.panels(1, size=(7.5, 0.9 + 0.5 * len(gains)))
    figure.suptitle(figures.setting(runs), fontsize="medium")
    for place, found in enumerate(gains.values()):
        error = [[found.mean - found.low], [found.high - found.mean]]
        axes.errorbar(found.mean, place, xerr=error, fmt="o", color="C0", capsize=5)
    axes.axvline(0, color="0.3", lw=0.8)
    axes.set_yticks(range(len(gains)), [name.replace("_", " ") for name in gains])
    axes.set(xlabel="test accuracy minus that of plain training (points)")
    axes.invert_yaxis()
    figures.save(figure, folder / "gains.png")


def table(runs: Frame) -> str:
    """Return a table with one line for each skill."""
    return tables.by_budget(_table, runs)


def _table(runs: Frame) -> str:
    gains, parts = _gains(runs), frames.by(runs, "variant")
    lines = [
        [
            name.replace("_", " "),
            frames.spread(parts[name]["accuracy"]),
            gains.get(name, ""),
            parts[name]["seed"].nunique(),
        ]
        for name in (PLAIN, *gains)
    ]
    head = ["skill", "test accuracy, last epoch (%)", "minus plain [95 %]", "seeds"]
    return tables.markdown(head, lines)


def largest_gain(runs: Frame) -> Measured:
    """Return the gain of the best skill over plain training."""
    gains = _gains(runs)
    best = max(gains, key=lambda name: gains[name].mean)
    return Measured(f"{gains[best].mean:+.2f} by {best.replace('_', ' ')}", gains[best])


def _gains(runs: Frame) -> dict[str, Difference]:
    parts = {name: frames.by_seed(part) for name, part in frames.by(runs, "variant").items()}
    plain = parts.pop(PLAIN)
    return {name: frames.difference(part, plain) for name, part in parts.items()}
