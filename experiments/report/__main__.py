"""Renders the studies' pages and pictures from their rows: `python -m experiments.report`.

A study's page holds its table between two marker lines; all else on it is written by hand, the
finding between two others. The page of all studies is rendered whole. With `--check` nothing is
written, and the exit code is 1 where a page does not show its rows; pictures are not compared.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from experiments import harness
from experiments.report import curves, page, tables
from experiments.report.groups import results
from experiments.study import STUDIES, Row, Study, rows_of, study

BEGIN, END = "<!-- rows: begin -->", "<!-- rows: end -->"


def rendered(text: str, study: Study, rows: list[Row], own: ModuleType | None) -> str:
    """A study's page with its rows between the markers.

    Raises:
      ValueError: a marker is missing.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"page of {study.name} must hold {BEGIN} and {END} in this order")
    parts = [tables.study_table(study, rows, own)]
    if curves.lines(study, rows):
        parts.append(f"![Test accuracy over epochs]({curves.NAME})")
    return head + begin + "\n" + "\n\n".join(parts) + "\n" + end + tail


def figures(name: str, below: Path) -> ModuleType | None:
    """A study's own `figures` module: `draw(rows, folder)` and, if it likes, `table(rows)`."""
    there = (below / name / "figures.py").exists()
    return importlib.import_module(f"experiments.{name}.figures") if there else None


def pages(below: Path) -> dict[Path, str]:
    """All pages as they should be."""
    wanted, shown = {}, {}
    for name in STUDIES:
        path = below / name / "README.md"
        chosen, rows, own = study(name), rows_of(name, below), figures(name, below)
        text = path.read_text()
        wanted[path] = rendered(text, chosen, rows, own)
        shown[name] = page.Shown(chosen, rows, page.finding(text), own)
    wanted[below / "README.md"] = page.page(shown)
    return wanted


def draw(below: Path) -> None:
    """All pictures that show rows."""
    for name in STUDIES:
        rows = results(rows_of(name, below))
        if rows:
            curves.draw(study(name), rows, below / name)
            own = figures(name, below)
            if own is not None:
                own.draw(rows, below / name)


def main(argv: list[str], below: Path = harness.HERE) -> int:
    """Renders all pages below the folder, or only compares them with their rows."""
    check = "--check" in argv
    stale = {
        path: text
        for path, text in pages(below).items()
        if not path.exists() or path.read_text() != text
    }
    for path, text in stale.items():
        print(f"{'stale' if check else 'rendered'}: {path}")
        if not check:
            path.write_text(text)
    if not check:
        draw(below)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
