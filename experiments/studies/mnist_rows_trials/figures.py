"""Picture and tables of the study, made from its rows."""

from pathlib import Path

import numpy as np

from experiments.engine.rows import Row
from experiments.report import figures, frames, tables
from experiments.report.frames import Frame
from experiments.studies.mnist_rows.study import UNCLIPPED

SETTINGS = ["recurrent_gain", "width", "learning_rate", "clip"]
METHODS = {"stbp": "STBP", "sdbp": "SDBP"}


def draw(runs: Frame, folder: Path) -> None:
    """Draw `growth.png`: the error at each step on its way back from the last one."""
    found = _grown(runs)
    if not found:
        return
    figure, panels = figures.panels(len(found), size=(3 * len(found), 4), sharey=True)
    for axes, row in zip(panels, found, strict=True):
        errors = np.array(row["growth"]["error"])
        steps = np.arange(1, errors.shape[1] + 1)
        for i, error in enumerate(errors):
            color = str(0.75 * (1 - i / len(errors)))
            axes.semilogy(steps, error, color=color, label=f"{_updates(row, i):,}")
        title = f"width {row['width']:g}, rate {row['learning_rate']:g}"
        title += "" if row["clip"] == UNCLIPPED else f",\nclipped at {row['clip']:g}"
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("step t")
    panels[0].set_ylabel("error that reaches step t from step 28\nroot mean square over images")
    panels[-1].legend(title="updates", frameon=False, fontsize="small")
    figures.save(figure, folder / "growth.png")


def table(runs: Frame) -> str:
    """Return a table of the growth, and tables of the trials; the best of a method is bold."""
    trials = tables.by_budget(_trials, runs[runs["variant"] != "growth"])
    found = _grown(runs)
    return "\n\n".join(part for part in (_growth(found) if found else "", trials) if part)


def _grown(runs: Frame) -> list[Row]:
    parts = frames.experiments(runs[runs["variant"] == "growth"])
    return [frames.newest(part) for part in parts]


def _updates(row: Row, epochs: int) -> int:
    return epochs * (row["num_train"] // row["batch_size"])


def _growth(found: list[Row]) -> str:
    lines = []
    for row in found:
        grown = row["growth"]
        accuracies = ["-", *(f"{100 * x:.1f}" for x in row["test_accuracy"])]
        for i, (error, norms, radius) in enumerate(
            zip(grown["error"], grown["gradient_norm"], grown["spectral_radius"], strict=True)
        ):
            lines.append(
                [
                    f"{row['width']:g}",
                    f"{row['learning_rate']:g}",
                    _largest(row["clip"]),
                    f"{_updates(row, i):,}",
                    accuracies[i],
                    f"{radius:.2f}",
                    f"{error[0] / error[-1]:.2g}",
                    *(f"{norms[name][k]:.2g}" for name in METHODS for k in (0, 1)),
                ]
            )
    head = ["width", "learning rate", "clipped at", "updates", "held out (%)", "spectral radius"]
    head += ["error at step 1 over that at step 28"]
    head += [f"gradient of {of}, {text}" for of in METHODS.values() for text in ("median", "max")]
    row = found[0]
    return (
        f"{tables.markdown(head, lines)}\n\n`growth`: {row['network']}, T = {row['num_steps']}, "
        f"{row['epochs']} of {row['config']['train']['epochs']} epochs of {row['num_train']:,} "
        f"examples; {row['device']}, jax {row['jax']}, {row['commit']}."
    )


def _trials(runs: Frame) -> str:
    parts = {
        method: runs[runs["variant"].isin([method, f"{method}_small_gain"])] for method in METHODS
    }
    best = {method: part["accuracy"].max() for method, part in parts.items()}
    lines = []
    for row in runs.drop_duplicates(SETTINGS).to_dict("records"):
        point = [row[name] for name in SETTINGS]
        shown = []
        for method, part in parts.items():
            mine = part[(part[SETTINGS] == point).all(axis=1)]["accuracy"]
            text = frames.spread(mine)
            shown.append(f"**{text}**" if len(mine) and mine.max() == best[method] else text)
        lines.append([*(f"{number:g}" for number in point[:-1]), _largest(point[-1]), *shown])
    head = ["recurrent gain", "width", "learning rate", "clipped at"]
    return tables.markdown([*head, *(f"{of}, held out (%)" for of in METHODS.values())], lines)


def _largest(clip: float) -> str:
    return "-" if clip == UNCLIPPED else f"{clip:g}"
