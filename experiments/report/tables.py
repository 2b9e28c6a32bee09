"""The table of one study's rows, with a line for each plan that has none."""

from types import ModuleType

from experiments.report.groups import (
    Group,
    groups,
    of_plan,
    operations,
    results,
    spread,
    told_apart,
)
from experiments.study import BUDGETS, Asked, Row, Study, planned

COLUMNS = (
    "variant",
    "budget",
    "data",
    "network",
    "T",
    "epochs",
    "last epoch (%)",
    "best (%)",
    "chosen on validation (%)",
    "seeds",
    "operations an example (of the twin's)",
    "seconds (of which compiling)",
    "device, jax",
    "commit",
)


def table(columns: tuple[str, ...] | list[str], lines: list[list[str]]) -> str:
    """Markdown."""
    rule = ["---"] * len(columns)
    return "\n".join(
        "| " + " | ".join(cells) + " |" for cells in ([*columns], rule, *lines)
    ).replace("| --- " * len(columns) + "|", "|---" * len(columns) + "|")


def study_table(study: Study, rows: list[Row], own: ModuleType | None) -> str:
    """All experiments of a study; by its own `table(rows)` where it has one and rows.

    Args:
      study: whose.
      rows: all recorded ones.
      own: its module `figures`.
    """
    among = groups(rows)
    if own is None or not hasattr(own, "table") or not among:
        return listed(COLUMNS, study, among, among)
    missing = unrun(study, among, 3)
    rest = f"\n\n{table(('variant', 'budget', ''), missing)}" if missing else ""
    return own.table(results(rows)) + rest


def listed(columns: tuple[str, ...], study: Study, chosen: list[Group], among: list[Group]) -> str:
    """Some experiments, and the plans that none of `among` meets.

    Args:
      columns: the first of `COLUMNS`.
      study: whose.
      chosen: experiments to show.
      among: all there are.
    """
    beside = any(name.startswith("twin") for name in study.variants)
    names = [*columns]
    lines = [cells(group, beside_twin=beside)[: len(columns)] for group in chosen]
    apart = told_apart(chosen)
    if any(apart):
        names.insert(2, "with")
        for line, text in zip(lines, apart, strict=True):
            line.insert(2, text)
    return table(names, [*lines, *unrun(study, among, len(names))])


def cells(group: Group, *, beside_twin: bool = False) -> list[str]:
    """One line of `COLUMNS`; operations are compared where there is a twin to compare with."""
    row = group.newest
    commits = sorted({str(r.get("commit")) for r in group.rows})
    return [
        str(row.get("variant", "-")),
        str(row.get("budget", "-")),
        str(row.get("dataset", "-")),
        str(row.get("network", "-")),
        str(row.get("num_steps", "-")) if row.get("operations") != [] else "-",  # no spikes
        str(row.get("epochs", "-")),
        spread(group.values("test_accuracy_last")),
        spread(group.values("test_accuracy_best")),
        spread(group.values("test_accuracy_selected")),
        seeds(group),
        energy(group, beside_twin),
        seconds(group),
        f"{row.get('device', '-')}, {row.get('jax', '-')}",
        ", ".join(commits),
    ]


def seeds(group: Group) -> str:
    """`0 to 4`, or a list where one is missing."""
    have = [row["seed"] for row in group.rows]
    if len(have) > 2 and have == list(range(have[0], have[-1] + 1)):
        return f"{have[0]} to {have[-1]}"
    return ", ".join(map(str, have))


def energy(group: Group, beside_twin: bool) -> str:
    """Synaptic operations an example, and as a multiple of the twin's multiply-accumulates."""
    ours, twin = group.values(operations), group.values("multiply_accumulates")
    if ours is None:
        return "-"
    share = "" if twin is None or not beside_twin else f" ({ours.mean() / twin.mean():.2f} x)"
    return f"{ours.mean() / 1e6:.3g} M{share}"


def seconds(group: Group) -> str:
    """Of one run, the mean over seeds; of a sweep's program, with the runs that shared it."""
    wall, compiling = group.values("wall_seconds"), group.values("compile_seconds")
    if wall is None or compiling is None:
        return "-"
    runs = group.newest.get("cells", 1)
    shared = f" for {runs} runs at once" if runs > 1 else ""
    return f"{wall.mean():.0f} ({compiling.mean():.0f}){shared}"


def unrun(study: Study, among: list[Group], width: int) -> list[list[str]]:
    """A line for each plan without rows: variant, budget and why."""
    lines = []
    for variant in study.variants:
        for budget, asked in plans(study, variant):
            if not of_plan(asked, among):
                lines.append([variant, budget, why(study, variant), *[""] * (width - 3)])
    return lines


def why(study: Study, variant: str) -> str:
    """What stands where a plan has no rows."""
    afforded = {"cpu", "long"} & {*study.variants[variant].plans}
    return "not run" if afforded else "waits for a GPU"


def plans(study: Study, variant: str) -> list[tuple[str, Asked]]:
    """The variant's plans by budget, but for a full one that asks for no more than cpu's."""
    found: list[tuple[str, Asked]] = []
    for budget in BUDGETS[1:]:  # all but smoke
        asked = planned(study, variant, budget)
        if asked and all((a.settings, a.seeds) != (asked.settings, asked.seeds) for _, a in found):
            found.append((budget, asked))
    return found
