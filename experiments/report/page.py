"""The page of all studies, `experiments/README.md`: the paper, what came since, ours, how far."""

import re
from types import ModuleType
from typing import NamedTuple

from experiments import paper
from experiments.report import tables
from experiments.report.groups import (
    Group,
    groups,
    interval,
    machine,
    of_plan,
    paired,
    spread,
    told_apart,
)
from experiments.study import Row, Study

FINDING = "<!-- finding: begin -->", "<!-- finding: end -->"

HEAD = """# Experiments

Rendered by `make report` from the rows in `*/results/` and what the paper says (`paper.py`); do not
edit. Each study's own page holds its settings, all its rows and its pictures.

    make reproduce BUDGET=cpu                       # run what is missing, then render this page
    python -m experiments.reproduce --list          # only tell what is missing
    python -m experiments mnist_mlp --variant twin  # one run, in a folder of its own

On a machine with a GPU, of which only the folder `$OUT` comes back, the first command runs all
studies as the paper ran them. It begins no run after 8 minutes; merge its rows here, and the next
call goes on where it stopped.

    python -m experiments.reproduce --budget full --minutes 8 --results $OUT
    python -m experiments.reproduce --merge rows.jsonl

How fast the library is, beside others, is told by [`benchmarks`](benchmarks/README.md).

## How to read it

- Accuracies are percent on the test set, mean ± standard deviation over seeds. The last epoch is
  what counts. The best epoch is chosen on the test set and only shown; the one chosen on validation
  has the best accuracy on training examples that were held out.
- The paper tells one run's last epochs. Marks say why a value is believed: {marks}.
- Budget `cpu` is what two cores do in minutes, `long` in hours, `full` the paper's own run. `waits
  for a GPU` stands where two cores cannot pay for it, `not run` where they can.
- Operations an example: one for each synapse that an input other than 0 reaches, summed over T; for
  a network that does not spike (`twin`), one for each multiply-accumulate, zeros too. The multiple
  is of the latter. It is a proxy of energy: memory is left out, and where inputs are no spikes
  (direct input, averages of pooling) they are multiplied in both.
- A claim is what a study puts to the test; whether it holds, its table and its finding say.
- A difference to another variant is taken seed by seed, with the 95 % interval of its mean.
"""

OURS = ("ours", *tables.COLUMNS[1:-1])  # a commit is looked up on the study's page


class Shown(NamedTuple):
    """A study as its page's section needs it.

    Attributes:
      study: whose.
      rows: all recorded ones.
      finding: in plain words; "" while there is none.
      own: its module `figures`, if it has one.
    """

    study: Study
    rows: list[Row]
    finding: str
    own: ModuleType | None


def finding(readme: str) -> str:
    """What a study's page says between the markers, on one line; links would lead nowhere here.

    Raises:
      ValueError: a link.
    """
    text = " ".join(readme.partition(FINDING[0])[2].partition(FINDING[1])[0].split())
    if re.search(r"\]\(", text):
        raise ValueError(f"finding must have no links, for another page repeats it, got {text!r}")
    return text


def page(shown: dict[str, Shown]) -> str:
    """The whole page.

    Args:
      shown: studies by name; those that `paper.py` does not speak of come last.
    """
    marks = "; ".join(f"[{mark}] {why}" for mark, why in paper.MARKS.items())
    known = {section.study for section in paper.SECTIONS}
    others = [paper.Section(name, name) for name in shown if name not in known]
    sections = [_section(s, shown.get(s.study)) for s in (*paper.SECTIONS, *others)]
    return "\n\n".join([HEAD.format(marks=marks).strip(), *sections]) + "\n"


def _section(section: paper.Section, shown: Shown | None) -> str:
    parts = [f"## {section.title}"]
    if shown is not None:
        name = shown.study.name
        parts.append(f"[`{name}`]({name}/README.md) puts to the test: {shown.study.claim}")
    parts += [section.note] if section.note else []
    reported = [_reported(entry) for entry in section.entries if entry.paper]
    if reported:
        parts.append(tables.table(("the paper", "network", "test accuracy (%)"), reported))
    parts += [f"Best since, same network: {section.since}."] if section.since else []
    if shown is None:
        return "\n\n".join([*parts, "Ours: no study yet."])

    among = groups(shown.rows)
    chosen = _of_plans(shown.study, among)
    if among and shown.own is not None and hasattr(shown.own, "table"):
        parts.append(tables.study_table(shown.study, shown.rows, shown.own))
    else:
        parts.append(tables.listed(OURS, shown.study, chosen, among))
    distances = [line for entry in section.entries for line in _distances(entry, shown, among)]
    if distances:
        parts.append(tables.table(("target", "budget", "ours", "difference", ""), distances))
    parts.append(f"Finding: {shown.finding or 'none yet.'}")
    commands = dict.fromkeys(f"    {row.get('command')}" for g in chosen for row in g.rows)
    parts += ["Made by", "\n".join(commands)] if commands else []
    return "\n\n".join(parts)


def _reported(entry: paper.Entry) -> list[str]:
    assert entry.paper is not None
    value = entry.paper
    low_high = "" if value.between is None else f" ({value.between[0]} to {value.between[1]})"
    marks = ", ".join(value.marks)
    return [entry.variant, entry.network, f"{value.percent:g}{low_high} [{marks}]"]


def _of_plans(study: Study, among: list[Group]) -> list[Group]:
    plans = [asked for variant in study.variants for _, asked in tables.plans(study, variant)]
    return [group for asked in plans for group in of_plan(asked, among)]


def _distances(entry: paper.Entry, shown: Shown, among: list[Group]) -> list[list[str]]:
    """Of each of an entry's targets, one line for each budget and machine."""
    if entry.variant not in shown.study.variants:
        return []
    plans = tables.plans(shown.study, entry.variant)
    found = [(budget, group) for budget, asked in plans for group in of_plan(asked, among)]
    apart = told_apart([group for _, group in found])
    lines = []
    for target in entry.targets:
        says = f"{entry.variant}: {target.says}"
        for (budget, group), text in zip(found, apart, strict=True):
            ours = spread(group.values("test_accuracy_last"))
            told = _distance(target, group, _partner(target, budget, group, shown, among))
            lines.append([f"{says} ({text})" if text else says, budget, ours, *told])
        if not found:
            lines.append([says, "", tables.why(shown.study, entry.variant), "", ""])
    return lines


def _partner(
    target: paper.Target, budget: str, group: Group, shown: Shown, among: list[Group]
) -> Group | None:
    """The experiment that is subtracted: of the same budget, if possible on the same machine.

    Of several, cells of a sweep, the one with the same hyper-parameters.
    """
    if target.than not in shown.study.variants:
        return None
    plans = dict(tables.plans(shown.study, target.than))
    found = of_plan(plans[budget], among) if budget in plans else []
    row = group.newest
    found = [g for g in found if machine(g.newest) == machine(row)] or found
    alike = [g for g in found if g.newest.get("hparams") == row.get("hparams")]
    return alike[0] if alike else found[0] if len(found) == 1 else None


def _distance(target: paper.Target, group: Group, than: Group | None) -> tuple[str, str]:
    """The difference in points, and whether it is what was aimed at."""
    if not target.than:
        values = group.values("test_accuracy_last")
        if values is None:
            return "-", ""
        assert target.least is not None
        difference = 100 * float(values.mean()) - target.least
        text, count, reached = f"{difference:+.2f}", len(values), difference >= -1e-9
    else:
        if than is None:
            return "-", f"waits for {target.than}"
        pairs = paired(group, than)
        if not len(pairs):
            return "-", f"no seed in common with {target.than}"
        between, count = interval(pairs), len(pairs)
        text = f"{pairs.mean():+.2f} to {target.than}"
        text += "" if between is None else f" [{between[0]:+.2f}, {between[1]:+.2f}]"
        reached = target.least is not None and float(pairs.mean()) >= target.least - 1e-9
    if count < target.seeds:
        return text, f"{count} of {target.seeds} seeds"
    if target.least is None:
        return text, "told"
    return text, "reached" if reached else "not reached"
