"""Running what is missing: what counts as recorded, when it stops, what a failure leaves."""

import dataclasses

import pytest
from experiments.settings import UsageError, setting
from experiments.study import Plan, Study, Variant

from experiments import harness, reproduce
from experiments import study as studies


@dataclasses.dataclass(frozen=True)
class Settings:
    data: str = setting("digits", "a set")
    limit: int = setting(0, "of examples")
    validation: int = setting(0, "held out")
    num_steps: int = setting(3, "T")
    epochs: int = setting(5, "passes")
    batch_size: int = setting(10, "of an update")


def row(settings, seed):
    return {
        "seed": seed,
        "settings": harness.plain(settings),
        "hparams": {},
        "test_accuracy_last": 0.5,
        "wall_seconds": 1.0,
        "commit": "c",
    }


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A study `digits` of made-up runs; gives the list of (variant, seed) that were run."""
    ran = []

    def made(name, raised=None):
        def run(settings, seeds, folder):
            assert folder.is_dir()
            for seed in seeds:
                if raised is not None and seed == 1:
                    raise raised
                ran.append((name, seed))
                yield [row(settings, seed)]

        return run

    def variant(name, raised=None):
        plans = {"cpu": Plan(2), "full": Plan(3, ("epochs=9",))}
        return Variant(name, Settings(), made(name, raised), plans)

    def use(**raised):
        variants = {name: variant(name, error) for name, error in raised.items()}
        variants["dear"] = Variant("dear", Settings(), made("dear"), {"full": Plan(1)})
        monkeypatch.setattr(reproduce, "study", lambda name: Study("digits", "", variants))

    monkeypatch.setattr(harness, "HERE", tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    use(a=None, b=None)
    return ran, use


def main(*argv):
    return reproduce.main(["digits", *argv])


def test_what_is_missing_is_run_once(fake, capsys, tmp_path):
    ran, _ = fake
    assert main("--list") == 0
    assert capsys.readouterr().out == (
        "missing at budget cpu: 4\n"
        "  digits a: 2 seeds (0, 1)\n"
        "  digits b: 2 seeds (0, 1)\n"
        "  digits dear: more than this budget can pay for\n"
    )
    assert ran == []
    assert main() == 0
    assert ran == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    out = capsys.readouterr().out
    assert "digits b seed 1: test accuracy 0.5000, 1 s" in out
    assert "missing at budget cpu: nothing" in out
    rows = list(harness.read_rows(tmp_path / "home" / "digits" / "results" / "digits.jsonl"))
    assert [(r["study"], r["variant"], r["budget"]) for r in rows[:1]] == [("digits", "a", "cpu")]
    assert main() == 0
    assert len(ran) == 4
    assert main("--budget", "full") == 0
    assert len(ran) == 4 + 7


def test_one_seed_of_one_variant(fake):
    ran, _ = fake
    assert reproduce.main(["digits/b", "--seeds", "1"]) == 0
    assert ran == [("b", 1)]
    assert reproduce.main(["digits/c"]) == 2


def test_a_failure_leaves_the_others(fake, capsys):
    ran, use = fake
    use(a=ValueError("it broke"), b=None)
    assert main() == 1
    assert ran == [("a", 0), ("b", 0), ("b", 1)]
    told = capsys.readouterr()
    assert "it broke" in told.err
    assert "failed: digits a" in told.out
    use(a=None, b=None)
    assert main() == 0  # goes on where it stopped
    assert ran[3:] == [("a", 1)]


def test_an_interrupt_leaves_what_was_recorded(fake, capsys):
    ran, use = fake
    use(a=KeyboardInterrupt(), b=None)
    assert main() == 130
    assert "interrupted" in capsys.readouterr().out
    use(a=None, b=None)
    assert main() == 0
    assert ran == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_no_run_begins_after_the_minutes(fake, capsys, monkeypatch):
    ran, _ = fake
    clock = iter(range(0, 1000, 50))  # each look is 50 s later
    monkeypatch.setattr(reproduce.time, "monotonic", lambda: next(clock))
    assert main("--minutes", "2") == 0
    assert 0 < len(ran) < 4
    out = capsys.readouterr().out
    assert "2 minutes have passed" in out
    assert f"missing at budget cpu: {4 - len(ran)}" in out


def test_results_go_elsewhere_and_come_back(fake, tmp_path, capsys):
    ran, _ = fake
    there, home = tmp_path / "out", tmp_path / "home"
    elsewhere = ["--results", str(there)]
    assert main(*elsewhere) == 0
    assert not home.exists()
    assert {p.name for p in there.iterdir()} == {"rows.jsonl", "runs"}
    assert main(*elsewhere) == 0
    assert len(ran) == 4
    assert main("--merge", str(there / "rows.jsonl")) == 0
    assert main("--merge", str(there / "rows.jsonl")) == 0
    assert capsys.readouterr().out.endswith("4 new rows\n0 new rows\n")
    # The checkout's rows count for another folder too, unless all is to be run afresh.
    assert main("--results", str(tmp_path / "other")) == 0
    assert len(ran) == 4
    assert main("--results", str(tmp_path / "other"), "--afresh") == 0
    assert len(ran) == 8


def test_smoke_rows_stay_out(fake, tmp_path):
    there = tmp_path / "out"
    assert main("--budget", "smoke", "--results", str(there)) == 0
    assert len(list(harness.read_rows(there / "rows.jsonl"))) == 3
    with pytest.raises(UsageError, match="and no smoke"):
        reproduce.merge(there / "rows.jsonl", tmp_path / "home")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["digts"], "no study is called 'digts'. Did you mean 'digits'"),
        (["--budget", "gpu"], "--budget must be one of smoke, cpu, long, full, got 'gpu'"),
        (["--budget", "smoke"], "--budget smoke needs --results DIR"),
        (["--minutes", "0"], "--minutes must be positive, got 0"),
        (["--afresh"], "--afresh needs --results DIR"),
        (["--merge", "nowhere"], "--merge must be a file of rows"),
    ],
)
def test_wrong_usage(argv, message, capsys):
    assert reproduce.main(argv) == 2
    assert message in capsys.readouterr().err


def test_rows_tell_the_command(monkeypatch):
    spec = type("Spec", (), {"name": "experiments.reproduce"})
    main = type("Main", (), {"__spec__": spec})
    monkeypatch.setitem(harness.sys.modules, "__main__", main)
    monkeypatch.setattr(harness.sys, "argv", ["reproduce.py", "--budget", "cpu"])
    assert harness.command() == "python -m experiments.reproduce --budget cpu"
    spec.name = "experiments.__main__"
    assert harness.command() == "python -m experiments --budget cpu"


def test_every_plan_can_be_asked_for():
    for name in studies.STUDIES:
        chosen = studies.study(name)
        for variant in chosen.variants:
            assert studies.planned(chosen, variant, "full").seeds
