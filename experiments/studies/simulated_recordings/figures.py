"""Tables of the study, from its rows alone: networks, and the simulated beside the real camera."""

from pathlib import Path

from experiments.report import tables
from experiments.report.groups import groups
from experiments.study import Row

NUMBERS = {
    "events": "events a recording",
    "events_deviation": "their standard deviation over recordings",
    "share_on": "share of on events",
    "spread_y": "standard deviation of y (pixels)",
    "spread_x": "standard deviation of x (pixels)",
    "pause_ms": "ms between events of a cell: 1, 10, 25, 50, 75 % quantile",
    "spikes_10_steps": "spikes in 10 steps of 30 ms",
    "spikes_30_steps": "spikes in 30 steps of 10 ms",
}
SHARED = {
    "correlation_of_events": "correlation of the numbers of events over images",
    "cosine_of_frames": "cosine of spikes in steps of 10 ms, same image",
    "cosine_of_others_frames": "the same, the next image",
}


def draw(rows: list[Row], folder: Path) -> None:
    """No picture of its own: `camera.png` needs recordings."""


def table(rows: list[Row]) -> str:
    """Networks as on any page, then the newest comparison of the cameras."""
    among = groups(row for row in rows if row["variant"] != "camera")
    parts = [tables.table(tables.COLUMNS, [tables.cells(group) for group in among])] * bool(among)
    compared = [row for row in rows if row["variant"] == "camera"]
    if compared:
        row = max(compared, key=lambda row: row["date"])
        both = row["real"], row["simulated"]
        lines = [[says, *(_told(told[name]) for told in both)] for name, says in NUMBERS.items()]
        lines += [[says, "", _told(row["between"][name])] for name, says in SHARED.items()]
        head = (f"{row['num_train']} recordings of the same images", "real", "simulated")
        parts.append(tables.table(head, lines))
        parts.append(
            f"Commit {row['commit']}, seed {row['seed']}; {1000 * row['seconds_an_image']:.1f} ms "
            f"an image on {row['device']}."
        )
    return "\n\n".join(parts)


def _told(value: float | list[float]) -> str:
    return ", ".join(f"{v:.3g}" for v in value) if isinstance(value, list) else f"{value:.4g}"
