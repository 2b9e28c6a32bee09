"""Studies whose cells share one compiled program: their rows, tables and figures."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import image

import stbp_jax as sj
from experiments import harness, sweeping
from experiments.__main__ import main
from experiments.initialisation import figures as initialisation_figures
from experiments.statistics import paired
from experiments.surrogates import figures as surrogate_figures
from experiments.surrogates import study as surrogates
from experiments.temporal_domain import figures as temporal_figures
from stbp_jax import data

TINY = ("data=digits", "limit=60", "hidden=8", "num_steps=3", "epochs=2", "batch_size=20")


def tiny(name, variant, folder, *more):
    changes = [part for change in (*TINY, *more) for part in ("--set", change)]
    return [name, "--variant", variant, "--seeds", "2", "--out", str(folder), *changes]


@pytest.fixture
def traces(monkeypatch):
    """How often a run is traced, from now on."""
    seen = []
    make_train = sj.make_train

    def counted(*args):
        train = make_train(*args)

        def run(*args):
            seen.append(None)
            return train(*args)

        run.check = train.check
        return run

    monkeypatch.setattr(sj, "make_train", counted)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [0, 2])
def test_all_cells_and_seeds_share_one_program(chunk, tmp_path, traces, capsys):
    arguments = tiny("surrogates", "gaussian", tmp_path, "fwhms=0.5,1", f"chunk={chunk}")
    assert main(arguments) == 0
    assert len(traces) == 2  # one looks at the sets, one makes the program
    rows = list(harness.read_rows(tmp_path / "row.jsonl"))
    assert [(round(row["hparams"]["fwhm"], 2), row["seed"]) for row in rows] == [
        (2.35, 0), (2.35, 1), (0.5, 0), (0.5, 1), (1.0, 0), (1.0, 1),
    ]  # fmt: skip
    assert {row["cells"] for row in rows} == {6}
    assert len({row["wall_seconds"] for row in rows}) == 1
    assert {len(row["test_accuracy"]) for row in rows} == {2}
    assert json.loads((tmp_path / "config.json").read_text())["seeds"] == [0, 1]
    out = capsys.readouterr().out
    assert out.count("mean of 2 seeds") == 3
    assert "fwhm 0.5" in out


@pytest.mark.slow
def test_a_row_has_the_fields_of_a_lone_run(tmp_path):
    assert (
        main(tiny("temporal_domain", "sdbp", tmp_path / "a", "decays=0.2", "train_limit=40")) == 0
    )
    (row, _) = harness.read_rows(tmp_path / "a" / "row.jsonl")
    assert row["num_train"] == 40
    assert row["num_test"] == 60
    lone = ["digits", "--budget", "smoke", "--set", "hidden=8", "--out", str(tmp_path / "b")]
    assert main(lone) == 0
    (other,) = harness.read_rows(tmp_path / "b" / "row.jsonl")
    assert row.keys() == other.keys() | {"cells"}
    assert row["hparams"].keys() == other["hparams"].keys()


@pytest.mark.slow
def test_recorded_cells_are_not_run_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness, "HERE", tmp_path / "home")
    for folder in ("a", "b"):
        arguments = tiny("initialisation", "map", tmp_path / folder, "gains=1,4", "biases=0")
        assert main([*arguments, "--record"]) == 0
    out = capsys.readouterr().out
    assert "seed 1 is recorded already" in out
    assert out.count("in one program") == 1
    rows = list(harness.read_rows(tmp_path / "home" / "initialisation/results/digits.jsonl"))
    assert [(row["hparams"]["gain"], row["seed"]) for row in rows] == [
        (1, 0),
        (1, 1),
        (4, 0),
        (4, 1),
    ]
    assert {len(row["gradient_norm"]) for row in rows} == {2}
    assert not (tmp_path / "b" / "row.jsonl").exists()


def test_cells_of_a_family_hold_each_width_once():
    for name, family in surrogates.FAMILIES.items():
        cells = surrogates.cells_of(family)(surrogates.Settings())
        widths = [cell["width"] for cell in cells]
        assert widths[0] == 1
        assert len(set(widths)) == len(widths) == 6 + (name != "rectangular")
        for cell in cells:
            assert float(family(cell["width"]).fwhm) == pytest.approx(cell["fwhm"], rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["decays=0.2,x"], "decays must be numbers joined by commas, got '0.2,x'"),
        (["decays=0.2,1.5"], "decay must be between 0 and 1, got 1.5"),
        (["train_limit=-1"], "train_limit must be 0 or more, got -1"),
        (["validation=60"], "validation must be from 0 to fewer than the 60 training examples"),
        (["chunk=-1"], "chunk must be at least 1, got -1"),
    ],
)
def test_wrong_usage(changes, message, tmp_path, capsys):
    assert main(tiny("temporal_domain", "stbp", tmp_path, *changes)) == 2
    assert message in capsys.readouterr().err


# Tables and figures -------------------------------------------------------------------------------


def row(variant, hparams, seed, accuracy, **more):
    """A row as a sweep makes it."""
    return {
        "study": "x",
        "variant": variant,
        "dataset": "mnist",
        "network": "784-400-10",
        "num_steps": 8,
        "epochs": 2,
        "batch_size": 100,
        "seed": seed,
        "budget": "cpu",
        "hparams": hparams,
        "settings": {"hidden": "400"},
        "num_train": 10_000,
        "num_test": 10_000,
        "test_accuracy_last": accuracy,
        "test_accuracy": [0.5, accuracy],
        "cells": 4,
        "wall_seconds": 60.0,
        "compile_seconds": 5.0,
        "device": "cpu",
        "jax": "0",
        "commit": "c",
        "command": "python -m experiments",
        **more,
    }


def drawn(figures, rows, folder):
    """Names of the pictures, each larger than a thumbnail and not empty."""
    figures.draw(rows, folder)
    for path in folder.glob("*.png"):
        picture = image.imread(path)
        assert min(picture.shape[:2]) > 400
        assert np.ptp(picture) > 0
    return {path.name for path in folder.glob("*.png")}


def test_surrogates_are_shown(tmp_path):
    rows = [
        row(name, cell, seed, 0.9 + 0.01 * seed)
        for name, family in surrogates.FAMILIES.items()
        for cell in surrogates.cells_of(family)(surrogates.Settings())
        for seed in (0, 1)
    ]
    assert drawn(surrogate_figures, rows, tmp_path) == {"curves.png", "shapes.png", "widths.png"}
    text = surrogate_figures.table(rows)
    assert "| a = 1 |" in text
    assert text.count("90.50 ± 0.71") == 4 * 7  # a = 1 of the rectangular curve is FWHM 1 as well
    assert text.count("| FWHM") == 6
    assert surrogate_figures.table(rows[:2]).count("90.50") == 2  # of one family and cell


def test_temporal_domain_is_shown(tmp_path):
    gains = {0.2: [0.01, 0.02, 0.03], 0.8: [-0.01, 0.0, 0.01]}
    rows = [
        row(variant, {"decay": decay}, seed, 0.9 + 0.001 * seed + gain * (variant == "stbp"))
        for variant in ("stbp", "sdbp")
        for decay, of in gains.items()
        for seed, gain in enumerate(of)
    ]
    assert drawn(temporal_figures, rows, tmp_path) == {"differences.png"}
    text = temporal_figures.table(rows)
    assert (
        "| mnist | 0.2 | SDBP | 92.10 ± 1.10 | 90.10 ± 0.10 | +2.00 [-0.48, +4.48] | 2.0 |" in text
    )
    # A seed that only one of the two has is no pair.
    (found, _) = temporal_figures.comparisons([*rows, row("stbp", {"decay": 0.2}, 9, 0.1)])
    assert found.found.pairs == 3


def test_initialisation_is_shown(tmp_path):
    rows = [
        row(
            "map",
            {"gain": gain, "bias": bias, "threshold": 1.5, "decay": 0.1, "width": 1.0},
            seed,
            None,
            firing_rate=[4e-5 * gain, 0.0],
            gradient_norm=[float(gain > 1), float(gain > 1)],
        )
        for gain in (1.0, 4.0)
        for bias in (0.0, 1.5)
        for seed in (0, 1)
    ]
    assert drawn(initialisation_figures, rows, tmp_path) == {"map.png"}
    text = initialisation_figures.table(rows)
    assert "| 0 | 4e-05 † | 0.00016 |" in text
    assert "fire at 4e-05 per step and the gradient is exactly 0 in every layer (2 seeds)" in text
    rows[0]["gradient_norm"] = [0.5, 0.25]
    assert "the gradient is at most 0.5" in initialisation_figures.finding(rows)


def test_the_newest_settings_of_a_budget_are_shown():
    old = row("a", {}, 0, 0.5)
    new = [row("a", {}, seed, 0.6, settings={"hidden": "800"}) for seed in (0, 1)]
    other, full = row("b", {}, 0, 0.7), row("a", {}, 0, 0.8, budget="full")
    assert sweeping.budgets([old, full, other, *new]) == {"full": [full], "cpu": [*new, other]}
    assert sweeping.largest([old, full, other]) == [full]
    assert sweeping.largest([]) == []


def test_seeds_may_have_sets_of_their_own(tmp_path):
    def told(key, hparams, train_set, test_set):
        return None, jnp.sum(train_set[0]) * hparams["a"] + jnp.sum(test_set[1])

    settings = sweeping.Settings(hidden="4")
    sets = [
        tuple(data.Dataset(np.full((n, 4), s, np.uint8), np.full(n, s)) for n in (2, 3))
        for s in (1, 5)
    ]
    cells = [{"a": 1.0}, {"a": 10.0}]
    found, shared = sweeping.in_one_program(told, cells, settings, [0, 7], sets, tmp_path)
    np.testing.assert_array_equal(found, [[8 + 3, 40 + 15], [80 + 3, 400 + 15]])
    assert (shared["num_train"], shared["num_test"], shared["cells"]) == (2, 3, 4)


# Statistics ---------------------------------------------------------------------------------------


def test_paired_by_hand():
    # Student's sleep data (1908): t = 4.0621 on 9 degrees of freedom, p = .002833.
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired(first, second)
    assert found.pairs == 10
    assert found.mean == pytest.approx(1.58)
    assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858))
    assert found.effect == pytest.approx(4.0621 / 10**0.5, rel=1e-4)
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert paired(second, first).mean == -found.mean
    narrow = paired(first, second, level=0.5)
    assert found.low < narrow.low < found.mean


def test_paired_without_spread():
    found = paired([1.0, 2.0], [2.0, 3.0])
    assert (found.low, found.high, found.effect, found.p) == (1, 1, np.inf, 0)
    same = paired([1.0, 2.0], [1.0, 2.0])
    assert np.isnan(same.effect)
    assert same.p == 1


@pytest.mark.parametrize(
    ("first", "second", "level", "message"),
    [
        ([1.0], [2.0], 0.95, r"two or more pairs, .* shapes \[1\] and \[1\]"),
        ([1.0, 2.0], [2.0], 0.95, "two or more pairs"),
        ([1.0, 2.0], [2.0, 4.0], 95, "level must be between 0 and 1, got 95"),
    ],
)
def test_paired_refuses(first, second, level, message):
    with pytest.raises(ValueError, match=message):
        paired(first, second, level=level)
