"""The command line: what it prints, exit codes, wrong usage."""

import os
import subprocess
import sys

import jax
import pytest

from experiments import __main__ as command_line
from experiments.engine import folders, programs, provenance, rows, runs, studies
from experiments.engine.config import UsageError
from experiments.interruption import Interrupted

main = command_line.main
TINY = ("--budget", "smoke", "--model.layers", "16-10", "--model.gain", "3")


def run(folder, *more):
    return main(["run", "digits", *TINY, "--out", str(folder), *more])


def test_a_run_says_what_it_does_and_where_it_is(tmp_path, capsys):
    assert run(tmp_path / "a", "--seeds", "2", "--train.epochs", "1") == 0
    out = capsys.readouterr().out
    for text in ("layers=16-10", "epochs=1", "test accuracy", f"run folder {tmp_path / 'a'}"):
        assert text in out
    found = [next(rows.read(tmp_path / "a" / f"seed{seed}" / "row.jsonl")) for seed in (0, 1)]
    assert [row["seed"] for row in found] == [0, 1]
    assert found[0]["firing_rate"] != found[1]["firing_rate"]
    for page in ("report.html", "seed0/report.html", "seed1/report.html"):
        assert page in out
        assert (tmp_path / "a" / page).exists()
    assert run(tmp_path / "a" / "seed0", "--train.epochs", "1") == 2
    assert "holds a run that has ended" in capsys.readouterr().err
    # As if a kill had come before the second seed ended.
    (tmp_path / "a" / "seed1" / folders.ROW).unlink()
    assert main(["run", "--resume", str(tmp_path / "a")]) == 0
    again = next(rows.read(tmp_path / "a" / "seed1" / "row.jsonl"))
    assert again["test_accuracy"] == found[1]["test_accuracy"]


def test_an_interrupted_run_is_resumed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runs, "FOREVER", 0.0)
    assert run(tmp_path) == 0  # out of time after one epoch: no row
    assert not (tmp_path / folders.ROW).exists()
    monkeypatch.setattr(runs, "FOREVER", float("inf"))
    assert main(["run", "--resume", str(tmp_path)]) == 0
    assert len(list(rows.read(tmp_path / folders.ROW))) == 1
    assert main(["run", "--resume", str(tmp_path / "none")]) == 2
    assert "must be the folder of a run" in capsys.readouterr().err


@pytest.mark.heavy
def test_a_run_that_is_not_finite_names_its_layer_and_operation(tmp_path, capsys):
    try:
        assert run(tmp_path, "--train.learning-rate", "3e38", "--debug-nans") == 1
    finally:
        jax.config.update("jax_debug_nans", False)
    error = capsys.readouterr().err
    assert "error: epoch 1: an update is NaN; update 1: layer 1: the current" in error
    assert "neurons/resets.py" in error  # the line of the operation, in a traceback
    assert "FloatingPointError: invalid value (nan) encountered in mul" in error
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rnu"], "no command is called 'rnu'. Did you mean 'run'"),
        (["run", "digts"], "no study is called 'digts'. Did you mean 'digits'"),
        (["run", "digits", "--variant", "sdp"], "digits has no variant 'sdp'"),
        (["run", "digits", "--budget", "gpu"], "budget must be one of smoke, quick, long, full"),
        (["run", "digits", "--budget", "long"], "has no plan at budget long; it has full, quick"),
        (["run", "digits", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["run", "digits", "--data.name", "digts", "--out", "OUT"], "data.name digts"),
        (["run", "digits", "--model.decay", "1.5", "--out", "OUT"], "decay must be between 0 and"),
        (["run", "--resume", "x", "digits"], "--resume FOLDER takes no other arguments"),
        (["reproduce", "digts"], "no study is called 'digts'. Did you mean 'digits'"),
        (["reproduce", "digits/sdp"], "digits has no variant 'sdp'"),
        (["reproduce", "--budget", "gpu"], "--budget must be one of smoke, quick, long, full"),
        (["reproduce", "--budget", "smoke"], "budget smoke and --afresh need --results FOLDER"),
        (["reproduce", "--minutes", "0"], "--minutes must be positive, got 0"),
        (["reproduce", "--afresh"], "budget smoke and --afresh need --results FOLDER"),
        (["merge", "nowhere"], "file must be a file of result rows, and nowhere does not exist"),
    ],
)
def test_wrong_usage(argv, message, tmp_path, capsys):
    assert main([str(tmp_path / "out") if word == "OUT" else word for word in argv]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [["run", "digits", "--train.epochs", "many"], ["run", "digits", "--train.epoch", "1"]]
)
def test_settings_are_typed(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert "epoch" in capsys.readouterr().err


def test_help_names_commands_and_settings(capsys):
    assert main(["--help"]) == 0
    assert "run | compare | reproduce | report | merge" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["run", "mnist_mlp", "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "--model.layers" in out
    assert "800-10" in out  # the study's own number


def test_rows_name_the_command(monkeypatch):
    spec = type("Spec", (), {"name": "experiments.__main__"})
    monkeypatch.setitem(provenance.sys.modules, "__main__", type("Main", (), {"__spec__": spec}))
    monkeypatch.setattr(provenance.sys, "argv", ["x.py", "reproduce", "--budget", "long"])
    assert provenance.command() == "python -m experiments reproduce --budget long"


def test_rows_name_the_commit_of_a_copy(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.commit() is None
    monkeypatch.setenv("STBP_COMMIT", "0123456789ab")
    assert provenance.commit() == "0123456789ab"


# Running what is missing -------------------------------------------------------------------------


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A study of made-up runs; gives the list of (variant, seed) that were run, and a setter."""
    ran, errors = [], {}
    config = studies.load("digits").variants["stbp"].plans["quick"].config

    def train(job, folder, until):
        if 1 in job.seeds and job.variant in errors:
            raise errors[job.variant]
        ran.append((job.variant, *job.seeds))
        row = {"hparams": {}, "config": job.config.asdict(), "dataset": "digits"}
        made = job.label | row | {"test_accuracy_last": 0.5, "wall_seconds": 1.0}
        return [made | {"seed": seed} for seed in job.seeds]

    plans = {"full": studies.Plan(3, config), "quick": studies.Plan(2, config)}
    dear = {"full": studies.Plan(1, config)}
    variants = {
        name: studies.Variant(name, of, programs.load_named, None, run=train)
        for name, of in (("a", plans), ("b", plans), ("dear", dear))
    }
    study = studies.Study("digits", "", "", variants)
    monkeypatch.setattr(studies, "load", lambda name: study)
    monkeypatch.setattr(rows, "of_study", lambda name: list(_read(home)))
    home = tmp_path / "home.jsonl"
    monkeypatch.setattr(rows, "home", lambda study, data: home)
    monkeypatch.chdir(tmp_path)
    return ran, errors


def _read(path):
    return rows.read(path) if path.exists() else []


def reproduce(*argv):
    return main(["reproduce", "digits", *argv])


def test_what_is_missing_is_run_once(fake, capsys):
    ran, _ = fake
    assert reproduce("--list") == 0
    missing = "missing at budget quick:\n  digits/a: seeds 0, 1\n  digits/b: seeds 0, 1\n"
    assert capsys.readouterr().out == missing
    assert ran == []
    assert reproduce() == 0
    assert ran == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert "missing at budget quick: nothing" in capsys.readouterr().out
    assert reproduce() == 0
    assert len(ran) == 4
    assert reproduce("--budget", "full") == 0
    assert len(ran) == 4 + 7


def test_one_seed_of_one_variant(fake):
    ran, _ = fake
    assert main(["reproduce", "digits/b", "--seeds", "1"]) == 0
    assert ran == [("b", 1)]


def test_seeds_share_a_program_when_asked(fake):
    ran, _ = fake
    assert reproduce("--together") == 0
    assert ran == [("a", 0, 1), ("b", 0, 1)]
    assert len(rows.of_study("digits")) == 4


@pytest.mark.parametrize(
    ("error", "code"),
    [(ValueError("it broke"), 1), (Interrupted(130), 130), (Interrupted(143), 143)],
)
def test_what_breaks_is_run_again(fake, capsys, error, code):
    ran, errors = fake
    errors["a"] = error
    assert reproduce() == code
    assert ran == [("a", 0), ("b", 0), ("b", 1)][: 3 if code == 1 else 1]
    errors.clear()
    assert reproduce() == 0  # the same command goes on
    assert sorted(ran) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_results_go_elsewhere_and_come_back(fake, tmp_path, capsys):
    ran, _ = fake
    elsewhere = ("--results", str(tmp_path / "out"))
    assert reproduce(*elsewhere) == 0
    assert not (tmp_path / "home.jsonl").exists()
    assert reproduce(*elsewhere) == 0
    assert len(ran) == 4
    assert reproduce() == 0  # the checkout has none of them
    assert len(ran) == 8
    assert reproduce("--results", str(tmp_path / "other")) == 0  # the checkout's rows count
    assert len(ran) == 8
    assert reproduce("--results", str(tmp_path / "other"), "--afresh") == 0
    assert len(ran) == 12


def test_smoke_runs_are_no_results(fake, tmp_path):
    assert reproduce("--budget", "smoke", "--results", str(tmp_path / "out")) == 0
    file = tmp_path / "out" / "rows.jsonl"
    assert len(list(rows.read(file))) == 3
    with pytest.raises(UsageError, match="not to the budget smoke"):
        rows.merge(file)


# A plain installation ----------------------------------------------------------------------------

WITHOUT = """
import runpy, sys
sys.modules[{missing!r}] = None
sys.argv = ["experiments", *{words!r}]
runpy.run_module("experiments", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("missing", "words"),
    [("tyro", []), ("matplotlib", ["--help"]), ("tqdm", ["run", "digits"])],
    ids=["none", "help", "run"],
)
def test_a_plain_installation_has_help_and_advice(missing, words):
    code = WITHOUT.format(missing=missing, words=words)
    env = os.environ | {"PYTHONPATH": str(provenance.ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    said = done.stderr if words[:1] == ["run"] else done.stdout
    assert f'{missing}, which is not installed: pip install -e ".[experiments]"' in said
    assert done.returncode == (1 if words[:1] == ["run"] else 0)
    assert ("run | compare | reproduce" in said) == (words[:1] != ["run"])
    assert "Traceback" not in done.stderr
