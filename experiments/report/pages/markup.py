"""The markup of the pages: one HTML file with its styles and pictures, and no script."""

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

CSS = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --soft: #f2f4f7;
  --line: #d5dae1; --quiet: #5a6472; --accent: 47 126 216; --bad: #b3261e; --link: #1a5fb4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --paper: #15181d; --soft: #1f242b;
  --line: #3a424d; --quiet: #a2acb9; --bad: #ff8a80; --link: #8ab8f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem clamp(0.8rem, 3vw, 2.5rem) 4rem;
  background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.6rem 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.6rem; border-bottom: 1px solid var(--line); }
a { color: var(--link); }
p, ul { max-width: 46rem; }
.key { display: flex; flex-wrap: wrap; gap: 0.6rem; margin: 1rem 0; }
.key div { background: var(--soft); border-radius: 6px; padding: 0.5rem 0.9rem; }
.key b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.charts { display: grid; gap: 1.2rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figure.wide { grid-column: 1 / -1; max-width: 44rem; }
figure svg, figure img { display: block; width: 100%; height: auto; }
figure img { background: #ffffff; border-radius: 4px; }
svg text { fill: currentColor; font-family: system-ui, sans-serif; }
figcaption, .quiet { color: var(--quiet); font-size: 0.88rem; }
.scroll { overflow-x: auto; max-width: 100%; margin-bottom: 1rem; }
p.quiet { margin: 0.8rem 0 0.2rem; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid var(--line); text-align: left; }
td.n, th.n { text-align: right; }
table.matrix td { text-align: center; min-width: 2.4rem; border: 0; }
.bad { color: var(--bad); font-weight: 600; }
code { font-size: 0.92em; overflow-wrap: anywhere; }
"""

# A number with its spread, its interval or its total; a dash is a number that is missing.
NUMBER = re.compile(r"[-–]|[-+]?[\d.,]+(e[-+]?\d+)?( ± [\d.]+)?( \[.*\])?( of \d+)?")


def page(title: str, body: Iterable[str]) -> str:
    """Return a whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{text(title)}</h1>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
    )


def text(value: Any) -> str:
    """Escape text for HTML."""
    return html.escape(str(value))


def section(title: str, *parts: str) -> str:
    """Return a section with a heading, or nothing if all parts are empty."""
    kept = [part for part in parts if part]
    return "\n".join([f"<section>\n<h2>{text(title)}</h2>", *kept, "</section>"]) if kept else ""


def paragraph(words: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{text(words)}</p>"


def numbers(values: Mapping[str, str]) -> str:
    """Return the main numbers of a page, each with its name."""
    cells = [f"<div><b>{text(value)}</b>{text(name)}</div>" for name, value in values.items()]
    return f'<div class="key">{"".join(cells)}</div>'


def figure(picture: str, caption: str, *, wide: bool = False) -> str:
    """Return a figure; `picture` is an element."""
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}>{picture}<figcaption>{text(caption)}</figcaption></figure>"


def charts(figures: Iterable[str]) -> str:
    """Return figures side by side, as many as fit."""
    kept = [one for one in figures if one]
    return f'<div class="charts">{"".join(kept)}</div>' if kept else ""


def image(path: Path, alt: str) -> str:
    """Return a PNG as an element that holds its bytes."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{text(alt)}">'


def table(head: Sequence[str], lines: Iterable[Sequence[Any]], *, caption: str = "") -> str:
    """Return a table; the first cell of a line names it, and cells of numbers align right.

    A cell is text, a number, or a pair of a cell and `"bad"`.
    """
    rows = [[_cell(value) for value in line] for line in lines]
    # A column of numbers has a heading that aligns right.
    right = [bool(rows) and all(row[i][1] for row in rows) for i in range(len(head))]
    heads = "".join(
        f'<th scope="col"{_class("n" if right[i] else "")}>{text(name)}</th>'
        for i, name in enumerate(head)
    )
    body = "".join(
        f'<tr><th scope="row"{_class(row[0][2])}>{row[0][0]}</th>'
        + "".join(
            f"<td{_class(' '.join(filter(None, ('n' if right[i] else '', kind))))}>{words}</td>"
            for i, (words, _, kind) in enumerate(row[1:], 1)
        )
        + "</tr>"
        for row in rows
    )
    return _scroll(f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody>", caption)


def _cell(value: Any) -> tuple[str, bool, str]:
    """Return the text of a cell, whether it is a number, and its class."""
    kind = ""
    if isinstance(value, tuple):
        value, kind = value
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return text(shown), bool(NUMBER.fullmatch(shown)), kind


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def matrix(counts: Any, *, caption: str) -> str:
    """Return a confusion matrix `[C, C]`; a cell is as dark as its share of the line."""
    size = len(counts)
    heads = "".join(f'<th scope="col" class="n">{j}</th>' for j in range(size))
    lines = []
    for i, line in enumerate(counts):
        total = max(int(sum(line)), 1)
        cells = "".join(
            f'<td style="background: rgb(var(--accent) / {0.75 * int(n) / total:.2f})">'
            f"{int(n) or ''}</td>"
            for n in line
        )
        lines.append(f'<tr><th scope="row">{i}</th>{cells}</tr>')
    head = f'<thead><tr><th scope="col">class</th>{heads}</tr></thead>'
    return _scroll(f"{head}<tbody>{''.join(lines)}</tbody>", caption, "matrix")


def _scroll(content: str, caption: str, kind: str = "") -> str:
    """Return a table that scrolls sideways where it is too wide, below its caption."""
    named = f' aria-label="{text(caption)}"' if caption else ""
    above = f'<p class="quiet" aria-hidden="true">{text(caption)}</p>' if caption else ""
    table = f"<table{_class(kind)}{named}>{content}</table>"
    return f'{above}<div class="scroll" tabindex="0">{table}</div>'
