"""Tables of the studies' pages, rendered from their rows: `python -m experiments.report`.

A page holds its table between two marker lines; everything else on it is written by hand. With
`--check` nothing is written, and the exit code is 1 where a page does not show its rows.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from experiments import harness

BEGIN, END = "<!-- rows: begin -->", "<!-- rows: end -->"
# What makes two rows the same experiment with another seed.
SAME = ("variant", "dataset", "network", "num_steps", "epochs", "batch_size", "budget", "device")


def table(rows: Iterable[dict[str, Any]]) -> str:
    """One line for each experiment: mean and deviation over its seeds."""
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        same = (*(row[name] for name in SAME), tuple(sorted(row["hparams"].items())))
        groups.setdefault(same, []).append(row)
    lines = [
        "| data | network | T | epochs | test accuracy, last epoch (%) | best epoch (%) | seeds "
        "| seconds (of which compiling) | device, jax | commit |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for group in groups.values():
        row = group[-1]
        cells = [
            row["dataset"],
            row["network"],
            row["num_steps"],
            row["epochs"],
            _spread(group, "test_accuracy_last"),
            _spread(group, "test_accuracy_best"),
            ", ".join(str(r["seed"]) for r in group),
            f"{_mean(group, 'wall_seconds'):.0f} ({_mean(group, 'compile_seconds'):.0f})",
            f"{row['device']}, {row['jax']}",
            row["commit"],
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def rendered(page: str, rows: Iterable[dict[str, Any]]) -> str:
    """The page with the table of its rows between the markers."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table(rows)}\n{END}{tail}"


def _mean(rows: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def _spread(rows: list[dict[str, Any]], name: str) -> str:
    values = 100 * np.array([row[name] for row in rows])
    mean = f"{values.mean():.2f}"
    return mean if len(values) == 1 else f"{mean} ± {values.std(ddof=1):.2f}"


def main(argv: list[str]) -> int:
    """Renders all pages, or only compares them with their rows."""
    stale: list[Path] = []
    for page in sorted(harness.HERE.glob("*/README.md")):
        text = page.read_text()
        if BEGIN not in text:
            continue
        files = sorted(page.parent.glob("results/*.jsonl"))
        wanted = rendered(text, [row for file in files for row in harness.read_rows(file)])
        if wanted != text:
            stale.append(page)
            if "--check" not in argv:
                page.write_text(wanted)
    for page in stale:
        print(f"{'stale' if '--check' in argv else 'rendered'}: {page}")
    return int("--check" in argv and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
