"""The tables of the page, from the rows: `python -m experiments.benchmarks.compiled.tables`."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.benchmarks import tables as timed
from experiments.benchmarks.compiled.targets import TARGETS

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
RESULTS = timed.HERE / "results" / "compiled"
BEGIN, END = "<!-- counts: begin -->", "<!-- counts: end -->"

Row = dict[str, Any]
Medians = dict[tuple[str, str], float]


def estimate(row: Row) -> float:
    """Seconds of one run by launches and a roofline: an estimate, no measurement.

    Each launch takes its time, and to these adds the larger of the times of the bytes and of the
    products, on each device.
    """
    target = TARGETS[row["target"]]
    moved = row["bytes_moved"] / target.bandwidth
    products = row["flops"] / row["devices"] / target.flops
    return row["launches"] * target.launch + max(moved, products)


def line(row: Row) -> str:
    """A row in a few words."""
    return (
        f"{row['launches']} launches, {row['bytes_moved'] / 1e6:.0f} MB moved, "
        f"{row['collectives']} collectives, compiled in {row['compile_seconds']:.1f} s"
    )


def table(rows: list[Row], measured: Medians) -> str:
    """A table of one target; a line for each program.

    Args:
      rows: of one target.
      measured: medians in seconds on this device, by workload and implementation.
    """
    lines = [
        "| program | by | devices | launches | library calls | moved (MB) | collectives "
        "| temporary (MB) | tracing + compiling (s) | estimated (ms) | measured (ms) |",
        "|---|---|---:|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        seconds = measured.get((row["workload"], row["implementation"]))
        given = f", {row['collective_bytes'] / 1e6:.1f} MB" if row["collectives"] else ""
        cells = [
            f"`{row['workload']}`",
            row["implementation"].removeprefix("stbp_jax "),
            f"{row['devices']}",
            f"{row['launches']:,}",
            f"{row['custom_calls']:,}",
            f"{row['bytes_moved'] / 1e6:,.0f}",
            f"{row['collectives']}{given}",
            f"{row['temp_bytes'] / 1e6:,.0f}",
            f"{row['trace_seconds']:.1f} + {row['compile_seconds']:.1f}",
            f"{1e3 * estimate(row):#.3g}",
            "" if seconds is None or row["devices"] > 1 else f"{1e3 * seconds:#.3g}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def constants() -> str:
    """A table of the constants of the estimates."""
    lines = [
        "| target | memory (TB/s) | products (TFLOP/s) | a launch (µs) |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {t.bandwidth / 1e12:.2f} | {t.flops / 1e12:.0f} | {t.launch * 1e6:.0f} |"
        for name, t in TARGETS.items()
    ]
    return "\n".join(lines)


def medians(target: str, rows: Iterable[Row]) -> Medians:
    """The newest medians that were measured on a device of this name."""
    own = [r for r in rows if r["device"].startswith("gpu") and r["device"].endswith(f" {target}")]
    return {(r["workload"], r["implementation"]): r["median_seconds"] for r in own}


def rendered(rows: list[Row], timings: list[Row]) -> str:
    """All tables, a section for each target, with the newest row of each program."""
    parts = [constants()]
    for target in TARGETS:
        newest = {
            (r["workload"], r["implementation"], r["devices"]): r
            for r in rows
            if r["target"] == target
        }
        if newest:
            own = sorted(newest.values(), key=lambda r: r["devices"])
            versions = sorted({f"jax {r['jax']}, {r['compiler']}" for r in own})
            commits = sorted({r["commit"] for r in own})
            note = f"{'; '.join(versions)}; commit {', '.join(commits)}."
            parts += [f"### {target}", table(own, medians(target, timings)), note]
    return "\n\n".join(parts)


def page(text: str, rows: list[Row], timings: list[Row]) -> str:
    """The page with the tables of these rows between its markers."""
    return timed.between(text, BEGIN, END, rendered(rows, timings))


def slug(target: str) -> str:
    """The name of a target as that of a file."""
    return re.sub(r"[^a-z0-9]+", "-", target.lower())


def main(argv: list[str]) -> int:
    """Render the page; with `--check` only say whether it shows its rows."""
    text = PAGE.read_text()
    wanted = page(text, timed.recorded("compiled"), timed.recorded())
    if "--check" in argv:
        return int(wanted != text)
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
