"""Tables of the study, made from its rows: networks, and the comparison of the cameras."""

from experiments.engine import studies
from experiments.report import frames, tables
from experiments.report.frames import Frame

NUMBERS = {
    "events": "events per recording",
    "events_deviation": "their standard deviation over recordings",
    "share_on": "share of on events",
    "spread_y": "standard deviation of y (pixels)",
    "spread_x": "standard deviation of x (pixels)",
    "pause_ms": "ms between events of an address: 1, 10, 25, 50, 75 % quantile",
    "spikes_10_steps": "spikes in 10 steps of 30 ms",
    "spikes_30_steps": "spikes in 30 steps of 10 ms",
}
SHARED = {
    "correlation_of_events": "correlation of the numbers of events over images",
    "cosine_of_frames": "cosine of spikes in steps of 10 ms, same image",
    "cosine_of_others_frames": "the same, the next image",
}


def table(runs: Frame) -> str:
    """Return the table of the networks and the newest comparison of the cameras."""
    trained, compared = (runs[(runs["variant"] == "camera") == flag] for flag in (False, True))
    parts = []
    if len(trained):
        parts.append(tables.experiments_table(studies.load("simulated_recordings"), trained))
    if len(compared):
        row = frames.newest(compared)
        both = row["real"], row["simulated"]
        lines = [[text, *(_number(of[name]) for of in both)] for name, text in NUMBERS.items()]
        lines += [[text, "", _number(row["between"][name])] for name, text in SHARED.items()]
        head = (f"{row['num_train']} recordings of the same images", "real", "simulated")
        parts.append(tables.markdown(head, lines))
        parts.append(
            f"Commit {row['commit']}, seed {row['seed']}; {1000 * row['seconds_an_image']:.1f} ms "
            f"per image on {row['device']}."
        )
    return "\n\n".join(parts)


def _number(value: float | list[float]) -> str:
    return ", ".join(f"{v:.3g}" for v in value) if isinstance(value, list) else f"{value:.4g}"
