"""Rows of the trials: one JSON object for each run of a program in this folder.

`python tests/trials/record.py` writes the table of README.md from the newest row of each trial.
"""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from experiments.engine import provenance, rows  # noqa: E402

HERE = Path(__file__).parent
ROWS = HERE / "rows.jsonl"
BEGIN, END = "<!-- trials: begin -->", "<!-- trials: end -->"


def record(trial: str, target: str, *, tries: int, failures: int, **found: Any) -> None:
    """Append a row, and print it.

    Args:
      trial: what was tried, in words.
      target: what must hold at every try.
      tries: how often it was tried.
      failures: how often it did not hold.
      **found: other findings, such as times.
    """
    row = {"trial": trial, "target": target, "tries": tries, "failures": failures, "found": found}
    row |= provenance.provenance()
    row["command"] = " ".join(["python", str(Path(sys.argv[0]).resolve().relative_to(ROOT))])
    row["command"] = " ".join([row["command"], *sys.argv[1:]])
    rows.append(ROWS, row)
    print(row, flush=True)


def table() -> str:
    """Return the newest row of each trial as a table."""
    newest = {row["trial"]: row for row in rows.read_lines(ROWS)}
    lines = ["| trial | target | tries | failures | found | command, commit |", "|---" * 6 + "|"]
    for row in newest.values():
        found = "; ".join(
            f"{name.replace('_', ' ')} {value}"
            for name, value in row["found"].items()
            if value != []
        )
        cells = [row["trial"], row["target"], f"{row['tries']:,}", row["failures"], found]
        lines.append(
            "| " + " | ".join([*map(str, cells), f"`{row['command']}`, {row['commit']}"]) + " |"
        )
    return "\n".join(lines)


def main() -> None:
    """Write the table into README.md."""
    page = HERE / "README.md"
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
