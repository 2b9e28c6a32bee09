"""Rows of the trials: one JSON object for each run of a program in this folder.

`python tests/trials/record.py` writes the table of README.md from the rows.
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
    """Return a line for each trial: all its tries and failures, and the rest of its newest row."""
    trials: dict[str, list[Any]] = {}
    for row in rows.read_lines(ROWS):
        trials.setdefault(row["trial"], []).append(row)
    lines = ["| trial | target | tries | failures | found | command, commit |", "|---" * 6 + "|"]
    for trial, its_rows in trials.items():
        newest = its_rows[-1]
        found = "; ".join(
            f"{name.replace('_', ' ')} {value}"
            for name, value in newest["found"].items()
            if not isinstance(value, list | dict)  # what failed, and counts of parsers, fill pages
        )
        tries, failures = (sum(row[name] for row in its_rows) for name in ("tries", "failures"))
        cells = [trial, newest["target"], f"{tries:,}", failures, found]
        command = f"`{newest['command']}`, {newest['commit']}"
        command += f", the newest of {len(its_rows)} rows" if len(its_rows) > 1 else ""
        lines.append("| " + " | ".join([*map(str, cells), command]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Write the table into README.md."""
    page = HERE / "README.md"
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
