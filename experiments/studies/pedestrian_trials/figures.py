"""Table of the trials, made from their rows."""

from experiments.report import frames, tables
from experiments.report.frames import Frame
from experiments.studies.pedestrian_trials.study import VARIANTS

NEURON = ("decay", "threshold", "width")


def table(runs: Frame) -> str:
    """Return the held-out accuracies of all trials; the best of each variant is bold."""
    return tables.by_budget(_table, runs)


def _table(runs: Frame) -> str:
    folds = sorted(runs["seed"].unique())
    lines = []
    parts = frames.by(runs, "variant")
    for variant in filter(parts.__contains__, VARIANTS):
        trials = frames.experiments(parts[variant])
        best = max(trial["accuracy"].mean() for trial in trials)
        for trial in trials:
            row, mean = frames.newest(trial), trial["accuracy"].mean()
            accuracies = frames.by_seed(trial)
            lines.append(
                [
                    variant,
                    row["layers"],
                    f"{row['learning_rate']:g}",
                    f"{row['dropout']:g}",
                    *(f"{row[name]:g}" if row["operations"] else "-" for name in NEURON),
                    *(f"{accuracies[fold]:.1f}" for fold in folds),
                    f"**{mean:.2f}**" if mean == best else f"{mean:.2f}",
                ]
            )
    head = ["trials", "network", "learning rate", "dropout", *NEURON]
    head += [*(f"set {fold + 1} held out (%)" for fold in folds), "mean (%)"]
    return tables.markdown(head, lines)
