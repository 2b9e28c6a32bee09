"""Tables, pictures and docstrings of the studies, rendered from their result rows.

The report replaces the text between two marker lines of a page, such as `<!-- rows: begin -->` and
`<!-- rows: end -->`, and the lines `Result:` and `Time:` in the docstring of a `study.py`. All
other text is written by hand.
"""

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

from experiments.engine import rows, studies
from experiments.report import figures, frames, peers, tables, targets
from experiments.report.frames import Frame
from experiments.report.tables import Shown

ROOT = Path(__file__).parents[2]


def render(*, check: bool = False) -> int:
    """Render all pages and pictures.

    Args:
      check: whether to compare the pages only, and to write nothing.

    Returns:
      The exit code: 1 if `check` is set and a page is out of date, else 0.
    """
    runs = {name: frames.of_study(name) for name in studies.NAMES}
    stale = {path: text for path, text in _files(runs).items() if path.read_text() != text}
    for path, text in stale.items():
        print(f"{'out of date' if check else 'rendered'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_text(text)
    for name in () if check else studies.NAMES:
        draw(name, runs[name])
    return int(check and bool(stale))


def draw(name: str, runs: Frame) -> None:
    """Draw all pictures of a study that are made from rows."""
    if runs.empty:
        return
    folder = rows.STUDIES / name
    figures.learning_curves(studies.load(name), runs, folder)
    own = tables.figures(name)
    if own is not None and hasattr(own, "draw"):
        own.draw(runs, folder)


def _files(runs: Mapping[str, Frame]) -> dict[Path, str]:
    """Return the expected text of all rendered files."""
    paper, beyond = (
        [one for target in asked if (one := tables.shown(target, runs[target.study]))]
        for asked in (targets.PAPER, targets.BEYOND)
    )
    front = rows.STUDIES.parent / "README.md"
    readme = ROOT / "README.md"
    text = between(
        front, front.read_text(), "answer", f"{tables.answer(paper)} {tables.quoted(paper)}"
    )
    text = between(front, text, "paper", tables.front(targets.PAPER, paper, {}, "paper"))
    text = between(
        front, text, "beyond", tables.front(targets.BEYOND, beyond, targets.AIMED, "aim")
    )
    short = f"{tables.answer(paper)}\n\n{tables.short_front(paper)}"
    files = {front: text, readme: between(readme, readme.read_text(), "reproduced", short)}
    for name in studies.NAMES:
        page, code = (rows.STUDIES / name / file for file in ("README.md", "study.py"))
        study = studies.load(name)
        parts = [tables.study_table(study, runs[name])]
        if not runs[name].empty and figures.shown(study, runs[name]):
            parts.append(f"![Test accuracy over epochs]({figures.CURVES})")
        text = between(page, page.read_text(), "rows", "\n\n".join(parts))
        if name in peers.PEERS:
            text = between(page, text, "peers", peers.table(name))
        files[page] = text
        own, words = _first(name, paper), dict[str, str]()
        if own is None:
            own, words = _first(name, beyond), targets.AIMED
        files[code] = docstring(code.read_text(), *tables.result(own, words))
    return files


def _first(name: str, among: list[Shown]) -> Shown | None:
    return next((one for one in among if one.target.study == name), None)


def between(page: Path, text: str, name: str, content: str) -> str:
    """Replace the content between the markers of a name.

    Args:
      page: path of the page, for the error message.
      text: of the page.
      name: of the markers.
      content: new lines between them.

    Raises:
      ValueError: the page has no such markers.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, found, rest = text.partition(begin)
    _, also, tail = rest.partition(end)
    if not (found and also):
        raise ValueError(f"{page} must hold {begin} and {end}, in this order")
    return f"{head}{begin}\n{content}\n{end}{tail}"


def docstring(text: str, result: str, time: str) -> str:
    """Replace the lines `Result:` and `Time:` in the docstring of a study."""
    for name, value in (("Result:", result), ("Time:", time)):
        indent = 9 * " "
        lines = textwrap.fill(
            f"{name:9}{value}", 99, subsequent_indent=indent, break_on_hyphens=False
        )
        begin = re.search(rf"^{name} .*\n({indent}.*\n)*", text, re.M)
        if begin:
            text = f"{text[: begin.start()]}{lines}\n{text[begin.end() :]}"
    return text
