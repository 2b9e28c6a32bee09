"""Pages that show their rows; frames, intervals and verdicts on a few made-up rows."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments import report
from experiments.engine import rows, studies
from experiments.engine.config import Config, UsageError
from experiments.engine.models import build
from experiments.engine.programs import load_named
from experiments.engine.studies import Plan, Study, Variant
from experiments.report import figures, frames, tables, targets
from experiments.report.targets import Target

QUICK = Config().but(name="digits", layers="8-10", epochs=3, num_steps=3)
FULL = QUICK.but(epochs=9)
PLANS = {"quick": Plan(3, QUICK), "full": Plan(5, FULL)}
STUDY = Study(
    "mnist_mlp",
    "Table 2",
    "A claim.",
    {name: Variant(name, PLANS, load_named, build) for name in ("stbp", "ann")},
)


@pytest.fixture
def study(monkeypatch):
    monkeypatch.setattr(studies, "load", lambda name: STUDY)
    return STUDY


def row(variant="stbp", seed=0, accuracy=0.98, budget="quick", config=None, **more):
    config = config or PLANS.get(budget, PLANS["quick"]).config
    return {
        "study": STUDY.name,
        "variant": variant,
        "budget": budget,
        "dataset": "digits",
        "network": "64-8-10",
        "num_steps": 3,
        "epochs": config.train.epochs,
        "seed": seed,
        "config": json.loads(json.dumps(config.asdict())),
        "hparams": {"decay": 0.2},
        "num_train": 1438,
        "test_accuracy_last": accuracy,
        "test_accuracy_selected": None,
        "test_accuracy": [accuracy - 0.2, accuracy - 0.01, accuracy],
        "operations": [1200.0, 300.0] if variant == "stbp" else [],
        "multiply_accumulates": 1000,
        "wall_seconds": 10.0,
        "device": "cpu: a, 1 of 2 cores",
        "jax": "0",
        "commit": "c",
        "date": f"2026-01-01T00:00:0{seed}",
    } | more


THREE = [row(seed=s, accuracy=a) for s, a in enumerate((0.97, 0.98, 0.99))]
BASELINE = [row("ann", seed=s, accuracy=a) for s, a in enumerate((0.96, 0.97, 0.96))]


def lines(text):
    return [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]


# Pages -------------------------------------------------------------------------------------------


def test_pages_show_their_rows(capsys):
    assert report.render(check=True) == 0, capsys.readouterr().out


def test_the_front_page_is_one_screen():
    page = (rows.STUDIES.parent / "README.md").read_text()
    assert len(page.splitlines()) < 130
    assert "Does it reproduce the paper?" in page


@pytest.mark.parametrize("words", ["not run", "waits for"])
def test_no_page_speaks_of_missing_runs(words):
    pages = [rows.STUDIES.parent / "README.md", *rows.STUDIES.glob("*/README.md")]
    assert not [page for page in pages if words in page.read_text()]


def test_a_page_changes_between_its_markers(tmp_path):
    text = "a\n<!-- rows: begin -->\nold\n<!-- rows: end -->\nb\n"
    assert report.between(tmp_path, text, "rows", "new") == text.replace("old", "new")
    with pytest.raises(ValueError, match=r"must hold .*front: begin"):
        report.between(tmp_path, text, "front", "new")


def test_a_docstring_has_its_result():
    text = '"""T.\n\nClaim:   c\nResult:  -\nTime:    -\n\nMore.\n"""\n'
    once = report.docstring(text, "98.1 " * 30, "1 s.")
    assert all(len(line) < 100 for line in once.splitlines())
    assert report.docstring(once, "98.1 " * 30, "1 s.") == once
    assert report.docstring(once, "-", "-") == text


# Frames ------------------------------------------------------------------------------------------


def test_the_newer_of_two_runs_of_a_seed_counts():
    runs = frames.frame([row(seed=1, accuracy=0.5, date="2027"), *THREE])
    (part,) = frames.experiments(runs)
    assert frames.by_seed(part).to_dict() == {0: 97.0, 1: 50.0, 2: 99.0}
    assert frames.seeds(part) == "0 to 2"


def test_rows_without_a_config_count_for_nothing():
    assert frames.frame([row() | {"config": None}]).empty
    assert len(frames.frame([row() | {"config": None}, row()])) == 1


def test_a_hyper_parameter_wins_over_the_config():
    assert frames.frame([row(hparams={"decay": 0.7})])["decay"].tolist() == [0.7]


def test_runs_of_a_job(study):
    job = studies.job("mnist_mlp", "stbp", "quick")
    other = row(config=QUICK.but(width=2.0))
    runs = frames.frame([*THREE, *BASELINE, other])
    assert len(frames.of_job(job, runs)) == 3
    assert frames.complete(job, runs)
    assert not frames.complete(job, runs[runs["seed"] > 0])
    two = frames.frame([row(), other])
    assert frames.labels(frames.experiments(two)) == ["width=1", "width=2"]


def test_largest_budget_of_each_variant():
    runs = frames.frame([*THREE, row(budget="full"), *BASELINE])
    assert frames.largest(runs)["budget"].tolist() == ["full", "quick", "quick", "quick"]


def test_intervals_are_those_of_student():
    rng = np.random.default_rng(0)
    one, other = pd.Series(rng.normal(size=6)), pd.Series(rng.normal(size=6))
    found = frames.difference(one, other)
    values = (one - other).to_numpy()
    half = stats.t.ppf(0.975, 5) * values.std(ddof=1) / math.sqrt(6)
    np.testing.assert_allclose(
        found, (values.mean(), values.mean() - half, values.mean() + half, 6)
    )
    np.testing.assert_allclose(frames.difference(one, 2.0).mean, one.mean() - 2)


def test_pairs_are_of_one_seed():
    one, other = pd.Series([1.0, 2.0, 4.0], index=[0, 1, 5]), pd.Series([1.0, 9.0], index=[1, 7])
    found = frames.difference(one, other)
    assert (found.mean, found.pairs) == (1.0, 1)
    assert math.isnan(found.low)
    same = frames.difference(one, one - 0.5)
    assert (same.low, same.high) == (0.5, 0.5)
    assert frames.difference(one, other[7:]).pairs == 0


# What the command line prints --------------------------------------------------------------------


def test_accuracies():
    assert frames.accuracies(THREE) == "test accuracy 98.00 ± 1.00 % (3 seeds)"
    assert frames.accuracies([row() | {"budget": "smoke"}]) == "test accuracy 98.00 %"
    points = [row(hparams={"decay": decay}) for decay in (0.1, 0.2)]
    assert frames.accuracies(points).splitlines()[1] == "test accuracy 98.00 %  decay=0.2"
    assert "nothing was trained" in frames.accuracies([row(test_accuracy_last=None)])


def test_comparison(study, monkeypatch):
    monkeypatch.setattr(rows, "of_study", lambda name: [*THREE, *BASELINE])
    text = frames.comparison("mnist_mlp", ["ann", "stbp"], "quick").splitlines()
    assert text[1:] == [
        "ann: 96.33 ± 0.58",
        "stbp: 98.00 ± 1.00, +1.67 [-1.20, +4.54], 3 pairs",
    ]
    assert "ann: no rows" in frames.comparison("mnist_mlp", [], "full")
    with pytest.raises(UsageError, match="has no variant 'sbtp'. Did you mean 'stbp'"):
        frames.comparison("mnist_mlp", ["stbp", "sbtp"], "quick")
    with pytest.raises(UsageError, match="two variants or more"):
        frames.comparison("mnist_mlp", ["stbp"], "quick")


# The front table ---------------------------------------------------------------------------------


def at(low, high):
    return frames.Difference((low + high) / 2, low, high, 3)


@pytest.mark.parametrize(
    ("rule", "wanted", "low", "high", "word"),
    [
        ("reach", 98, 0.1, 0.3, "surpassed"),
        ("reach", 98, -0.1, 0.3, "reproduced"),
        ("reach", 98, -0.3, -0.1, "not reproduced"),
        ("exceed", 0.2, 0.1, 0.3, "reproduced"),
        ("exceed", 0.2, -0.1, 0.3, "undecided"),
        ("exceed", 0.2, -0.1, 0.1, "not reproduced"),
        ("exceed", 0, 0, 0, "not reproduced"),
        ("below", 0.5, 0.1, 0.4, "reproduced"),
        ("below", 0.5, 0.4, 0.6, "undecided"),
        ("below", 0.5, 0.6, 0.7, "not reproduced"),
    ],
)
def test_the_interval_decides(rule, wanted, low, high, word):
    target = Target("c", "mnist_mlp", "stbp", wanted, "p", rule)
    assert targets.verdict(target, at(low, high), short=False) == word
    marked = f"{word}, short run" if word in ("surpassed", "reproduced") else word
    assert targets.verdict(target, at(low, high), short=True) == marked
    assert targets.verdict(target._replace(stand_in=True), at(low, high), short=True) == "stand-in"
    alone = frames.Difference(1.0, math.nan, math.nan, 1)
    assert targets.verdict(target, alone, short=False) == "one seed"


def test_the_largest_complete_budget_is_shown(study):
    target = Target("c", "mnist_mlp", "stbp", 97.0)
    assert tables.shown(target, frames.frame([])) is None
    some = [row(seed=s, budget="full") for s in (0, 1)]
    short = tables.shown(target, frames.frame([*THREE, *some]))
    assert (short.ours, short.difference) == ("98.00 ± 1.00 (3 seeds)", "+1.00 [-1.48, +3.48]")
    assert short.verdict == "reproduced, short run"
    assert tables.protocol(short).startswith("short run, 64-8-10, T 3, 3 epochs of 1,438")
    whole = [row(seed=s, budget="full") for s in range(5)]
    assert tables.shown(target, frames.frame([*THREE, *whole])).verdict == "surpassed"
    paired = target._replace(than="ann", wanted=0.0, rule="exceed")
    assert tables.shown(paired, frames.frame(THREE)) is None
    both = tables.shown(paired, frames.frame([*THREE, *BASELINE]))
    assert both.ours == "98.00 ± 1.00 minus 96.33 ± 0.58 (3 seeds)"
    answer = tables.answer([short, both])
    assert "1 is reproduced or surpassed and 1 is undecided" in answer
    assert tables.result(short, {})[1] == "10 s a run, budget quick, a, 1 of 2 cores."
    assert tables.result(None, {}) == ("no rows yet.", "no rows yet.")


def test_a_line_an_experiment(study):
    text = tables.experiments_table(STUDY, frames.frame([*BASELINE, *THREE]))
    assert text.startswith("All have data digits, network 64-8-10, T 3, epochs 3")
    head, _, stbp, ann = lines(text)
    stbp, ann = (dict(zip(head, line, strict=True)) for line in (stbp, ann))
    assert stbp["last epoch (%)"] == "98.00 ± 1.00"
    assert (stbp["operations an example"], ann["operations an example"]) == (
        "0.0015 M (1.50 x)",
        "0.001 M (1.00 x)",
    )
    assert tables.study_table(STUDY, frames.frame([])) == "No rows yet."


def test_learning_curves(study, tmp_path):
    runs = frames.frame([*THREE, *BASELINE, row("stbp", budget="full")])
    assert [label for label, _ in figures.shown(STUDY, runs)] == ["stbp, quick", "ann, quick"]
    figures.learning_curves(STUDY, runs, tmp_path)
    first = (tmp_path / figures.CURVES).read_bytes()
    figures.learning_curves(STUDY, runs, tmp_path)
    assert (tmp_path / figures.CURVES).read_bytes() == first


def test_every_target_is_of_a_variant():
    for target in (*targets.PAPER, *targets.BEYOND):
        asked = {target.variant, target.than, *target.others} - {""}
        assert asked <= set(studies.load(target.study).variants), target.claim
        if target.measure:
            assert callable(getattr(tables.figures(target.study), target.measure))
