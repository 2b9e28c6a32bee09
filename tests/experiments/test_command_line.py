"""The command line of the studies: run folders, exit codes, wrong usage, tables."""

import concurrent.futures
import dataclasses
import json
import threading

import jax
import numpy as np
import pytest
from experiments.notation import Conv, Dense, Pool, parse
from experiments.settings import UsageError, changed, setting
from experiments.study import SMOKE, STUDIES, study

import stbp_jax as sj
from experiments import classification, harness, images
from experiments.__main__ import main


@dataclasses.dataclass(frozen=True)
class Settings:
    data: str = setting("digits", "a set")
    epochs: int = setting(3, "passes")
    rate: float = setting(0.5, "of learning")
    hidden: tuple[int, ...] = setting((4,), "units")


def quick(folder, *more):
    """The same settings as often as can be: each has programs of its own."""
    return ["digits", "--budget", "smoke", "--set", "hidden=16", "--out", str(folder), *more]


def test_run_folder(tmp_path, capsys):
    assert main(quick(tmp_path / "run")) == 0
    assert "test accuracy 0." in capsys.readouterr().out
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert names == {
        "config.json",
        "metrics.jsonl",
        "params.npz",
        "row.jsonl",
        "learning_curve.png",
        "surrogates.png",
        "raster.png",
    }
    (row,) = harness.read_rows(tmp_path / "run" / "row.jsonl")
    epochs = list(harness.read_rows(tmp_path / "run" / "metrics.jsonl"))
    assert [e["epoch"] for e in epochs] == [1, 2]
    assert row["test_accuracy_last"] == pytest.approx(epochs[-1]["test_accuracy"], abs=1e-5)
    assert row["network"] == "64-16-10"
    assert row["seed"] == 0
    assert row["jax"] == jax.__version__
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["hidden"] == "16"

    # The stored parameters are those of the network that the row tells of.
    with np.load(tmp_path / "run" / "params.npz") as params:
        assert params["[1].synapse.kernel"].shape == (64, 16)
        assert params["[2].synapse.kernel"].shape == (16, 10)


# Every study, and of convolutional networks each variant; `make smoke` runs all variants of all.
SMOKED = [
    (name, variant)
    for name in STUDIES
    for variant in (study(name).variants if name == "mnist_cnn" else [*study(name).variants][:1])
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fires nowhere on the test set")  # after so few updates
@pytest.mark.parametrize(("name", "variant"), SMOKED)
def test_every_study_passes_smoke(name, variant, tmp_path, request):
    if study(name).variants[variant].settings.data != "digits":
        request.getfixturevalue("data_dir")  # skips where there is none
    assert main([name, "--variant", variant, "--budget", "smoke", "--out", str(tmp_path)]) == 0


def test_a_twin_does_not_spike(tmp_path, data_dir):
    folder = tmp_path / "run"
    arguments = ["--budget", "smoke", "--data", "mnist", "--out", str(folder)]
    assert main(["mnist_mlp", "--variant", "twin", *arguments]) == 0
    (row,) = harness.read_rows(folder / "row.jsonl")
    assert row["operations"] == []
    assert row["multiply_accumulates"] == 784 * 800 + 800 * 10
    assert not (folder / "raster.png").exists()


def test_multiply_accumulates_of_a_convolutional_network():
    settings = images.Settings(hidden="15C5-P2-40C5-P2-300")
    first, second = 24 * 24 * 15 * 25, 8 * 8 * 40 * 25 * 15
    wanted = first + second + 640 * 300 + 300 * 10
    assert images.multiply_accumulates(settings, (28, 28)) == wanted


def test_seeds_get_folders_and_differ(tmp_path):
    assert main(quick(tmp_path, "--seeds", "2")) == 0
    rows = [next(harness.read_rows(tmp_path / f"seed{s}" / "row.jsonl")) for s in (0, 1)]
    assert [row["seed"] for row in rows] == [0, 1]
    assert rows[0]["firing_rate"] != rows[1]["firing_rate"]


def test_interrupt_leaves_a_usable_folder(tmp_path, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        yield next(sj.train_epochs(*args, **kwargs))
        raise KeyboardInterrupt

    fake = type("sj", (), {**vars(sj), "train_epochs": staticmethod(interrupted)})
    monkeypatch.setattr(classification, "sj", fake)
    assert main(quick(tmp_path)) == 130
    assert "interrupted" in capsys.readouterr().out
    assert len(list(harness.read_rows(tmp_path / "metrics.jsonl"))) == 1
    with np.load(tmp_path / "params.npz") as params:
        assert "[1].synapse.kernel" in params
    assert (tmp_path / "raster.png").exists()
    assert not (tmp_path / "row.jsonl").exists()  # an unfinished run is no result


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["digts"], "no study is called 'digts'. Did you mean 'digits'"),
        (
            ["digits", "--set", "treshold=1"],
            "no setting is called 'treshold'. Did you mean 'th",
        ),
        (["digits", "--set", "epochs"], "--set takes name=value, got 'epochs'"),
        (["digits", "--epochs", "many"], "epochs must be of type int, got 'many'"),
        (["digits", "--variant", "sdp"], "digits has no variant called 'sdp'"),
        (
            ["digits", "--budget", "gpu"],
            "--budget must be one of smoke, cpu, long, full, got 'gpu'",
        ),
        (["digits", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["digits", "--data", "mnits"], "mnist"),
        (["digits", "--set", "decay=1.5"], "decay must be between 0 and 1, got 1.5"),
        (["digits", "--set", "num_steps=0"], "num_steps must be at least 1, got 0"),
        (["digits", "--set", "batch_size=0"], "batch_size must be at least 1, got 0"),
        (["digits", "--set", "batch_size=5000"], "train_set images must have shape"),
        (["digits", "--set", "width=0"], "width must be positive"),
    ],
)
def test_wrong_usage(argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("STBP_DATA", raising=False)
    assert main([*argv, "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err


def test_out_must_be_writable(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(quick(tmp_path / "file" / "run")) == 2
    assert "--out must be a folder that can be written to" in capsys.readouterr().err


def test_out_must_not_hold_a_run(tmp_path, capsys):
    harness.write_json(tmp_path / "config.json", {})
    assert main(quick(tmp_path)) == 2
    assert "holds a run already" in capsys.readouterr().err


def test_help_lists_studies_and_settings(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for word in (*STUDIES, "learning_rate=", "exit codes"):
        assert word in text


def test_settings_are_typed():
    new = changed(Settings(), ["epochs=7", "rate=1", "hidden=400-300", "data=x"])
    assert new == Settings("x", 7, 1.0, (400, 300))
    with pytest.raises(UsageError, match="rate must be of type float, got 'fast'"):
        changed(Settings(), ["rate=fast"])


def test_silent_layer_is_told(tmp_path):
    with pytest.warns(UserWarning, match="fires nowhere on the test set"):
        assert main(quick(tmp_path, "--set", "threshold=100")) == 0


@pytest.mark.parametrize("hidden", ["4", "3C3-P2-4"])
def test_inputs_are_dropped_while_training_alone(hidden):
    settings = images.Settings(hidden=hidden, num_steps=2, input_dropout=0.5)
    plain, dropped = (
        images.build(chosen, coding=images.DIRECT)(images.hparams(chosen), 10).network
        for chosen in (dataclasses.replace(settings, input_dropout=0.0), settings)
    )
    shape = (8, 8) if hidden == "4" else (8, 8, 1)
    xs = sj.constant(np.full((3, *shape), 0.7, np.float32), 2)
    params, _ = plain.init(jax.random.key(0), shape)
    whole = sj.apply(plain, params, xs)[1]
    np.testing.assert_array_equal(sj.apply(dropped, ((), *params), xs)[1], whole)
    mask = sj.apply(dropped, ((), *params), xs, key=jax.random.key(1))[0][0]
    assert mask.shape == (3, *shape)
    assert set(np.unique(mask)) == {0.0, 2.0}


def test_hparams_are_what_build_reads():
    settings = images.Settings(num_steps=2, hidden="4")
    pipeline = images.build(settings)(images.hparams(settings), 10)
    assert pipeline.network.init(jax.random.key(0), (28, 28))[1] == (10,)
    assert changed(settings, SMOKE).epochs == 2


def test_validation_chooses_an_epoch(tmp_path):
    assert main(quick(tmp_path)) == 0  # which holds 40 out
    (row,) = harness.read_rows(tmp_path / "row.jsonl")
    epochs = list(harness.read_rows(tmp_path / "metrics.jsonl"))
    assert row["num_train"] == row["settings"]["limit"] - 40
    assert row["test_accuracy_selected"] in [round(e["test_accuracy"], 6) for e in epochs]


@pytest.mark.parametrize("count", [-1, 100_000])
def test_validation_must_leave_something(count, tmp_path, capsys):
    assert main(quick(tmp_path, "--set", f"validation={count}")) == 2
    assert "validation must be from 0 to fewer than" in capsys.readouterr().err


def test_recorded_seeds_are_not_run_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness, "HERE", tmp_path / "home")
    assert main(quick(tmp_path / "a", "--record")) == 0
    assert main(quick(tmp_path / "b", "--record", "--seeds", "2")) == 0
    assert "seed 0 is recorded already" in capsys.readouterr().out
    rows = list(harness.read_rows(tmp_path / "home" / "digits" / "results" / "digits.jsonl"))
    assert [row["seed"] for row in rows] == [0, 1]
    # Other settings are another run.
    with pytest.warns(UserWarning, match="fires nowhere"):
        assert main(quick(tmp_path / "c", "--record", "--set", "threshold=100")) == 0
    assert "recorded already" not in capsys.readouterr().out


# Networks -----------------------------------------------------------------------------------------


def test_notation():
    assert parse("15C5-P2-40C3-AP2-300-10") == [
        Conv(15, 5),
        Pool(2),
        Conv(40, 3),
        Pool(2),
        Dense(300),
        Dense(10),
    ]


@pytest.mark.parametrize(
    "network", ["", "15C", "C5", "300-P2", "300-15C5", "P", "0", "15c5", "3.5"]
)
def test_notation_refuses(network):
    with pytest.raises(ValueError, match="network must"):
        parse(network)


def test_networks_of_a_notation():
    settings = images.Settings(num_steps=2, hidden="3C3-P2-4C3-12")
    assert images.network(settings, (12, 12)) == "3C3-P2-4C3-12-10"
    pipeline = images.build(settings)(images.hparams(settings), 10)
    xs = pipeline.encode(jax.random.key(0), np.zeros((5, 12, 12), np.uint8))
    assert xs.shape == (2, 5, 12, 12, 1)
    params, out = pipeline.network.init(jax.random.key(0), xs.shape[2:])
    assert out == (10,)
    kernels = [
        p.synapse.kernel.shape for p in params if isinstance(p.synapse, sj.initializers.Weights)
    ]
    assert kernels == [(3, 3, 1, 3), (3, 3, 3, 4), (36, 12), (12, 10)]


def test_a_wrong_network_is_told(tmp_path, capsys):
    assert main(quick(tmp_path, "--set", "hidden=3-P2")) == 2
    assert "hidden: network must end in its dense layers, got 'P2'" in capsys.readouterr().err


def in_parallel(function, calls=8):
    """What every call gives, or its error, all started at once."""
    barrier = threading.Barrier(calls)

    def one(n):
        barrier.wait()
        try:
            return function(n)
        except UsageError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(calls) as pool:
        return list(pool.map(one, range(calls)))


def test_runs_started_together_get_folders_of_their_own(tmp_path):
    folders = in_parallel(lambda n: harness.new_folder(tmp_path / "runs", "digits"))
    assert len(set(folders)) == len(folders)
    assert all(folder.is_dir() for folder in folders)


def test_one_of_several_runs_claims_a_folder(tmp_path):
    def start(n):
        harness.claim(harness.make_folder(tmp_path / "out"), {"n": n})
        return n

    found = in_parallel(start)
    (winner,) = [n for n in found if isinstance(n, int)]
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == {"n": winner}
    assert all("holds a run already" in str(n) for n in found if n != winner)
