"""Renders pages, pictures and docstrings of the studies from their rows.

A page is written by hand but for what lies between two marker lines, such as
`<!-- rows: begin -->` and `<!-- rows: end -->`; of a `study.py`, `Result:` and `Time:` are rendered.
"""

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

from experiments.engine import rows, studies
from experiments.report import figures, frames, tables, targets
from experiments.report.frames import Frame
from experiments.report.tables import Shown

ROOT = Path(__file__).parents[2]


def render(*, check: bool = False) -> int:
    """Renders everything, or with `check` only compares: 1 where a page does not show its rows."""
    runs = {name: frames.of_study(name) for name in studies.NAMES}
    stale = {path: text for path, text in _files(runs).items() if path.read_text() != text}
    for path, text in stale.items():
        print(f"{'stale' if check else 'rendered'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_text(text)
    for name in () if check else studies.NAMES:
        draw(name, runs[name])
    return int(check and bool(stale))


def draw(name: str, runs: Frame) -> None:
    """All pictures of a study that show rows."""
    if runs.empty:
        return
    folder = rows.STUDIES / name
    figures.learning_curves(studies.load(name), runs, folder)
    own = tables.figures(name)
    if own is not None and hasattr(own, "draw"):
        own.draw(runs, folder)


def _files(runs: Mapping[str, Frame]) -> dict[Path, str]:
    """All rendered files as they should be."""
    paper, beyond = (
        [one for target in asked if (one := tables.shown(target, runs[target.study]))]
        for asked in (targets.PAPER, targets.BEYOND)
    )
    front = rows.STUDIES.parent / "README.md"
    readme = ROOT / "README.md"
    text = between(front, front.read_text(), "answer", tables.answer(paper))
    text = between(front, text, "paper", tables.front(paper, {}, "paper"))
    text = between(front, text, "beyond", tables.front(beyond, targets.AIMED, "aim"))
    short = f"{tables.answer(paper)}\n\n{tables.short_front(paper)}"
    files = {front: text, readme: between(readme, readme.read_text(), "reproduced", short)}
    for name in studies.NAMES:
        page, code = (rows.STUDIES / name / file for file in ("README.md", "study.py"))
        study = studies.load(name)
        parts = [tables.study_table(study, runs[name])]
        if not runs[name].empty and figures.shown(study, runs[name]):
            parts.append(f"![Test accuracy over epochs]({figures.CURVES})")
        files[page] = between(page, page.read_text(), "rows", "\n\n".join(parts))
        files[code] = docstring(code.read_text(), *_result(name, paper, beyond))
    return files


def _result(name: str, paper: list[Shown], beyond: list[Shown]) -> tuple[str, str]:
    if any(one.target.study == name for one in paper):
        return tables.result(name, paper, {})
    return tables.result(name, beyond, targets.AIMED)


def between(page: Path, text: str, name: str, content: str) -> str:
    """The text with other content between the markers of that name.

    Raises:
      ValueError: the page lacks a marker.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, found, rest = text.partition(begin)
    _, also, tail = rest.partition(end)
    if not (found and also):
        raise ValueError(f"{page} must hold {begin} and {end}, in this order")
    return f"{head}{begin}\n{content}\n{end}{tail}"


def docstring(text: str, result: str, time: str) -> str:
    """The code of a study with these lines `Result:` and `Time:` in its docstring."""
    for name, value in (("Result:", result), ("Time:", time)):
        lines = textwrap.fill(
            f"{name:9}{value}", 99, subsequent_indent=" " * 9, break_on_hyphens=False
        )
        text = re.sub(
            rf"^{name} .*\n( {{9}}.*\n)*",
            lambda _, lines=lines: f"{lines}\n",
            text,
            count=1,
            flags=re.M,
        )
    return text
