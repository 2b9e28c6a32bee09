"""Pictures of test accuracy over epochs, `learning_curves.png` of a study."""

import hashlib
import json
from pathlib import Path

import matplotlib
import numpy as np

from experiments import paper
from experiments.report.groups import Group, groups, of_plan, told_apart
from experiments.report.tables import plans
from experiments.study import Row, Study

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib import ticker

NAME = "learning_curves.png"
MOST = 8  # lines that one picture can tell apart


def lines(study: Study, rows: list[Row]) -> list[tuple[str, Group]]:
    """The plans' experiments of several seeds, by label; none where they are too many to draw."""
    among, found = groups(rows), []
    for variant in study.variants:
        for budget, asked in plans(study, variant):
            for group in of_plan(asked, among):
                if len(group.rows) > 1 and _accuracies(group) is not None:
                    found.append((f"{variant}, {budget}", group))
    if len(found) > MOST:
        return []
    apart = told_apart([group for _, group in found])
    return [
        (f"{label}, {text}" if text else label, group)
        for (label, group), text in zip(found, apart, strict=True)
    ]


def draw(study: Study, rows: list[Row], folder: Path) -> bool:
    """Draws the picture into the study's folder, unless it shows these very rows already.

    Returns:
      Whether a file was written.
    """
    shown = lines(study, rows)
    if not shown:
        return False
    path = folder / NAME
    reported = _reported(study)
    # Another release of matplotlib draws other bytes: what was drawn decides, not how it came out.
    content = [(label, _table(group).tolist()) for label, group in shown], reported
    code = Path(__file__).read_text()
    digest = hashlib.sha256(json.dumps([content, code]).encode()).hexdigest()
    if path.exists() and digest.encode() in path.read_bytes():
        return False

    figure, axes = plt.subplots(figsize=(6.4, 4.6), layout="constrained", dpi=140)
    lowest, highest = [], []
    for i, (label, group) in enumerate(shown):
        values = 100 * _table(group)  # [S, E]
        mean, deviation = values.mean(0), values.std(0, ddof=1)
        epochs = np.arange(1, values.shape[1] + 1)
        axes.plot(epochs, mean, color=f"C{i}", label=f"{label} ({len(values)} seeds)")
        axes.fill_between(
            epochs, mean - deviation, mean + deviation, color=f"C{i}", alpha=0.2, lw=0
        )
        # The first tenth climbs from anywhere; it must not squeeze what is compared.
        settled = slice(min(len(mean) - 1, max(1, len(mean) // 10)), None)
        lowest.append((mean - deviation)[settled].min())
        highest.append((mean + deviation)[settled].max())
    first = {group.newest["variant"]: i for i, (_, group) in reversed([*enumerate(shown)])}
    for name, i in first.items():
        if name in reported:
            told = f"the paper's {name}: {reported[name]:g}"
            axes.axhline(reported[name], color=f"C{i}", lw=1, ls=(0, (4, 3)), label=told)
            lowest.append(reported[name])
            highest.append(reported[name])
    sets = dict.fromkeys(group.newest["dataset"] for _, group in shown)
    margin = 0.06 * (max(highest) - min(lowest)) or 0.5
    axes.set(
        title=f"{study.name} on {', '.join(sets)}: mean ± s.d. over seeds",
        xlabel="epoch",
        ylabel="test accuracy (%)",
        ylim=(min(lowest) - margin, max(highest) + margin),
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    figure.savefig(path, metadata={"Software": None, "Description": digest})
    plt.close(figure)
    return True


def _accuracies(group: Group) -> list[list[float]] | None:
    """By seed and epoch; None where a row lacks them or has another number."""
    found = [row.get("test_accuracy") or [] for row in group.rows]
    return found if found[0] and len({len(values) for values in found}) == 1 else None


def _table(group: Group) -> np.ndarray:
    return np.array(_accuracies(group), np.float64)


def _reported(study: Study) -> dict[str, float]:
    entries = [e for s in paper.SECTIONS if s.study == study.name for e in s.entries]
    return {e.variant: e.paper.percent for e in entries if e.paper and e.variant in study.variants}
