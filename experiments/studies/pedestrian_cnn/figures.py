"""Tables of the study, made from its rows."""

from experiments.engine import studies
from experiments.report import frames, tables
from experiments.report.frames import Frame

# Spiking variants, and the baseline of each.
PAIRS = {
    "tuned": "tuned_ann",
    "deep": "deep_ann",
    "stbp": "ann",
    "integrating": "ann",
    "stbp_full_sets": "ann_full_sets",
}


def table(runs: Frame) -> str:
    """Return a line for each experiment, and the differences from the baselines."""
    study = studies.load("pedestrian_cnn")
    return f"{_differences(runs)}\n\n{tables.experiments_table(study, runs)}"


def _differences(runs: Frame) -> str:
    parts = frames.by(runs, ["variant", "budget"])
    lines = []
    for (variant, budget), part in parts.items():
        baseline = parts.get((PAIRS.get(variant, ""), budget))
        if baseline is not None:
            ours, other = frames.by_seed(part), frames.by_seed(baseline)
            found = frames.difference(ours, other)
            network = frames.newest(part)["network"]
            spreads = frames.spread(ours), frames.spread(other)
            lines.append([variant, budget, network, *spreads, found, found.pairs])
    lines.sort(key=lambda line: [*PAIRS].index(line[0]))
    head = ["variant", "budget", "network", "spiking (%)", "ANN baseline (%)"]
    return tables.markdown([*head, "difference [95 %]", "seeds"], lines)
