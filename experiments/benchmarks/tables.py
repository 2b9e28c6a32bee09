"""Tables of the page, rendered from the rows: `python -m experiments.benchmarks.tables`.

`--check` writes nothing and exits with 1 if the page does not show its rows.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.benchmarks import shapes, timing
from experiments.benchmarks.ours import FLOORS
from experiments.benchmarks.variants import DEFAULT, VARIANTS
from experiments.engine import rows as result_rows

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
BEGIN, END = "<!-- timings: begin -->", "<!-- timings: end -->"
MEMORY_BEGIN, MEMORY_END = "<!-- memory: begin -->", "<!-- memory: end -->"
SWEEPS_BEGIN, SWEEPS_END = "<!-- sweeps: begin -->", "<!-- sweeps: end -->"

Row = dict[str, Any]


def newest(rows: Iterable[Row]) -> dict[str, dict[str, list[Row]]]:
    """The last row of each implementation by device and workload, in the order of the rows.

    The name of a device includes the JAX release of the default in the same session.
    """
    rows = list(rows)
    releases = {row["date"]: row["jax"] for row in rows if row["implementation"] == DEFAULT}
    found: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        release = releases.get(row["date"], row["jax"])
        key = f"{row['device']}, jax {release}", row["workload"], row["implementation"]
        found.pop(key, None)  # move it to the end, to the rows of its session
        found[key] = row
    grouped: dict[str, dict[str, list[Row]]] = {}
    for (device, workload, _), row in found.items():
        grouped.setdefault(device, {}).setdefault(workload, []).append(row)
    return grouped


def table(rows: list[Row]) -> str:
    """Table of one workload on one device, a line for each implementation.

    A ratio is to the default implementation of the same session; without it there is none.
    """
    defaults = {r["date"]: r["median_seconds"] for r in rows if r["implementation"] == DEFAULT}
    lines = [
        "| implementation | median (ms) | quartiles | times the default | tracing + compiling (s) "
        "| memory of a call (MB) | same as the default |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        low, middle, high = timing.spread(row["samples_seconds"])
        base = defaults.get(row["date"])
        cells = [
            row["implementation"],
            _ms(middle),
            f"{_ms(low)} – {_ms(high)}",
            "–" if base is None else f"{middle / base:.2f}",
            _compiling(row),
            "–" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.0f}",
            "; ".join(filter(None, (row["checked"], row["remark"]))),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _compiling(row: Row) -> str:
    """Seconds of tracing and compiling; rows before both were apart have their sum."""
    if row["compile_seconds"] is None:
        return "–"
    traced = row.get("trace_seconds")
    before = "" if traced is None else f"{traced:.1f} + "
    return f"{before}{row['compile_seconds']:.1f}"


def ratios(rows: list[Row]) -> str:
    """Ratios of the default to the fastest peer and to the floor, a line each.

    Only rows of the default's session count. If another exact variant of stbp_jax is faster than
    the default, the fastest has its ratio too. Without a default the string is empty.
    """
    default = next((row for row in rows if row["implementation"] == DEFAULT), None)
    if default is None:
        return ""
    session = [row for row in rows if row["date"] == default["date"]]
    exact = {name for name, variant in VARIANTS.items() if variant.exact}
    own = [row for row in session if row["implementation"] in exact]
    shown = [default]
    fastest = min(own, key=_median)
    if _median(fastest) < _median(default):
        shown.append(fastest)
    known = VARIANTS.keys() | {"bare lax.scan"} | FLOORS.keys()
    peers = [row for row in session if row["implementation"] not in known]
    floors = [row for row in session if row["implementation"] in FLOORS]
    lines = []
    if peers:
        peer = min(peers, key=_median)
        lines.append(
            "; ".join(
                f"{row['implementation']}: {_median(peer) / _median(row):.2f} times as fast as "
                f"the fastest peer ({peer['implementation']})"
                for row in shown
            )
        )
    if floors:
        floor = max(floors, key=_median)
        lines.append(
            "; ".join(
                f"{row['implementation']}: {_median(row) / _median(floor):.2f} times the "
                f"{floor['implementation']}"
                for row in shown
            )
        )
    return "\n".join(f"- {line}." for line in lines)


def overview(rows: Iterable[Row]) -> str:
    """Table with a line for each device and workload: the default, the fastest peer, the floor.

    Only rows of the default's session count, as in `ratios`.
    """
    known = VARIANTS.keys() | {"bare lax.scan"} | FLOORS.keys()
    lines = [
        "| device | workload | default (ms) | fastest exact variant (ms) | fastest peer (ms) "
        "| peer / default | default / floor |",
        "|---|---|---:|---|---|---:|---:|",
    ]
    for device, workloads in newest(rows).items():
        for name in sorted(workloads, key=_order):
            own = workloads[name]
            default = next((row for row in own if row["implementation"] == DEFAULT), None)
            if default is None:
                continue
            session = [row for row in own if row["date"] == default["date"]]
            exact = [
                row
                for row in session
                if row["implementation"] in VARIANTS and VARIANTS[row["implementation"]].exact
            ]
            peers = [row for row in session if row["implementation"] not in known]
            floors = [_median(row) for row in session if row["implementation"] in FLOORS]
            base, best = _median(default), min(exact, key=_median)
            peer = min(peers, key=_median) if peers else None
            cells = [
                device,
                f"`{name}`",
                _ms(base),
                f"{best['implementation'].removeprefix('stbp_jax ')}, {_ms(_median(best))}",
                "–" if peer is None else f"{peer['implementation']}, {_ms(_median(peer))}",
                "–" if peer is None else f"{_median(peer) / base:.2f}",
                f"{base / max(floors):.2f}" if floors else "–",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def recorded(part: str = "") -> list[Row]:
    """Return the recorded rows of times, or those of a `part` such as `memory`."""
    return _rows(HERE / "results" / part)


def _median(row: Row) -> float:
    return timing.spread(row["samples_seconds"])[1]


def _ms(seconds: float) -> str:
    """Milliseconds with three digits and no exponent."""
    return f"{1e3 * seconds:.0f}" if seconds >= 0.1 else f"{1e3 * seconds:#.3g}"


def rendered(rows: Iterable[Row]) -> str:
    """All tables, a section for each device and a heading for each workload.

    Without rows of a CUDA device a last section says "Not measured."
    """
    parts = []
    found = newest(rows)
    for device, workloads in found.items():
        parts.append(f"### {device}")
        for name in sorted(workloads, key=_order):
            own = workloads[name]
            parts += [f"#### {name}", table(own), ratios(own), _footnote(own)]
    if not any(device.startswith("gpu") for device in found):
        parts += ["### CUDA", "Not measured."]
    return "\n\n".join(filter(None, parts))


def _order(workload: str) -> int:
    names = list(shapes.WORKLOADS)
    return names.index(workload) if workload in names else len(names)


def _footnote(rows: list[Row]) -> str:
    def joined(*names: str) -> str:
        return ", ".join(sorted({str(row[name]) for row in rows for name in names if row[name]}))

    pages = {True: "huge pages on", False: "huge pages off"}
    return (
        f"{joined('version')}; jax {joined('jax')}, Python {joined('python')}; "
        f"{joined('precision')}; "
        f"{', '.join(sorted({pages[row['hugepages']] for row in rows}))}; "
        f"commit {joined('commit')}; {joined('date')}."
    )


def memory_table(rows: Iterable[Row]) -> str:
    """Temporary memory in MB by T: the newest row of each T and implementation."""
    rows = list(rows)
    newest = {(row["num_steps"], row["implementation"]): row for row in rows}
    names = list(dict.fromkeys(row["implementation"] for row in rows))
    lines = ["| T | " + " | ".join(names) + " |", "|---:" * (len(names) + 1) + "|"]
    for steps in sorted({steps for steps, _ in newest}):
        cells = [newest.get((steps, name)) for name in names]
        shown = ["–" if row is None else f"{row['temp_bytes'] / 1e6:.0f}" for row in cells]
        lines.append(f"| {steps} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def sweep_table(rows: Iterable[Row]) -> str:
    """Seconds of sweeps and of the same runs one by one: the newest row of each number of cells."""
    lines = [
        "| cells | one by one (s) | one device (s) | two devices (s) | all at once (s) "
        "| times as fast | with compilation |",
        "|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in sorted({row["cells"]: row for row in rows}.values(), key=lambda row: row["cells"]):
        medians = {name: timing.spread(s)[1] for name, s in row["samples_seconds"].items()}
        names = "alone", "sweep", "spread", "at once"
        ratios = [
            ", ".join(f"{d['alone'] / d[name]:.2f}" for name in names[1:])
            for d in (medians, row["first_seconds"])
        ]
        cells = [str(row["cells"]), *(f"{medians[name]:.2f}" for name in names), *ratios]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(text: str, rows: Iterable[Row], memory: Iterable[Row], sweeps: Iterable[Row]) -> str:
    """The page with the tables of these rows between its markers."""
    text = between(text, BEGIN, END, rendered(rows))
    text = between(text, MEMORY_BEGIN, MEMORY_END, memory_table(memory))
    return between(text, SWEEPS_BEGIN, SWEEPS_END, sweep_table(sweeps))


def between(text: str, begin: str, end: str, content: str) -> str:
    """The text with another content between two markers."""
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}\n\n{content}\n\n{end}{tail}"


def _rows(folder: Path) -> list[Row]:
    return [row for file in sorted(folder.glob("*.jsonl")) for row in result_rows.read_lines(file)]


def main(argv: list[str]) -> int:
    """Render the page, or only compare it with the rows."""
    text = PAGE.read_text()
    wanted = page(text, recorded(), recorded("memory"), recorded("sweeps"))
    if wanted == text:
        return 0
    if "--check" in argv:
        print(f"stale: {PAGE}")
        return 1
    PAGE.write_text(wanted)
    print(f"rendered: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
