"""Picture and table of the study, made from its rows."""

from pathlib import Path

from experiments.report import figures, frames, tables
from experiments.report.frames import Frame
from experiments.studies.surrogates.figures import widths
from experiments.studies.surrogates.study import FAMILIES


def draw(runs: Frame, folder: Path) -> None:
    """Draw `widths.png`: accuracy over width, a line and a band for each curve."""
    figures.save(widths(frames.largest(runs)), folder / "widths.png")


def table(runs: Frame) -> str:
    """Return a table with a line for each width and a column for each curve."""
    return tables.by_budget(_table, runs)


def _table(runs: Frame) -> str:
    names = [name for name in FAMILIES if (runs["variant"] == name).any()]
    lines = []
    for fwhm, part in runs.groupby("fwhm"):
        cells = [frames.spread(part.loc[part["variant"] == name, "accuracy"]) for name in names]
        lines.append([f"{fwhm:g}", *cells])
    head = [f"width (FWHM); test accuracy (%), {runs['seed'].nunique()} seeds", *names]
    return tables.markdown(head, lines)
