"""Jobs and their rows: lone runs and sweeps, folders, and resumed runs."""

import shutil
import time
from contextlib import nullcontext

import numpy as np
import pytest

from experiments import interruption
from experiments.engine import (
    checkpoints,
    faults,
    folders,
    models,
    programs,
    rows,
    runs,
    studies,
)
from experiments.engine.config import Config, UsageError
from experiments.engine.runs import variant
from experiments.engine.studies import Job, Plan
from stbp_jax import data

CONFIG = Config().but(
    name="digits",
    layers="16-10",
    gain=3.0,
    num_steps=3,
    epochs=2,
    batch_size=20,
    limit=100,
    validation=40,
)
TIMES = ("wall_seconds", "compile_seconds", "peak_bytes", "date")


@pytest.fixture
def job(monkeypatch):
    """`(config, points, seeds, **recipe) -> Job` of a variant made for it."""

    def make(config=CONFIG, points=None, seeds=(0,), **recipe):
        made = variant("tiny", quick=Plan(1, config), **recipe)
        monkeypatch.setattr(Job, "chosen", made)
        return Job("tiny", "tiny", "quick", list(seeds), config, points)

    return make


def alike(one, other):
    """Whether rows agree in all but times."""
    one, other = ({k: v for k, v in row.items() if k not in TIMES} for row in (one, other))
    return rows.same(one, other)


def test_a_lone_run_leaves_a_folder_and_goes_on_bit_for_bit(job, tmp_path):
    (whole,) = runs.train(job(), tmp_path / "whole")
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    assert names == {
        "config.json", "metrics.jsonl", "params.npz", "measured.npz", "row.jsonl",
        "learning_curve.png", "surrogates.png", "raster.png",
    }  # fmt: skip
    epochs = list(rows.read_lines(tmp_path / "whole" / "metrics.jsonl"))
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    assert whole["test_accuracy_last"] == pytest.approx(epochs[-1]["test_accuracy"], abs=1e-6)
    chosen = int(np.argmax([epoch["validation_accuracy"] for epoch in epochs]))
    assert whole["test_accuracy_selected"] == pytest.approx(
        epochs[chosen]["test_accuracy"], abs=1e-6
    )
    assert (whole["network"], whole["num_train"], whole["num_test"]) == ("64-16-10", 60, 100)

    with np.load(tmp_path / "whole" / "measured.npz") as measured:
        counts = measured["confusion"]
        assert counts.sum() == 100
        assert counts.trace() == pytest.approx(100 * whole["test_accuracy_last"])
        rates = [measured[f"rates_{i}"].mean() for i in range(2)]
    np.testing.assert_allclose(rates, whole["firing_rate"], rtol=1e-5)

    part = tmp_path / "part"
    seen = []
    assert runs.train(job(), part, time.monotonic()) == []  # one epoch, then out of time
    assert [path.name for path in (part / "checkpoints").iterdir()] == ["1"]
    assert (part / "raster.png").exists()
    # A kill after the last checkpoint leaves lines of metrics too many.
    rows.append(part / "metrics.jsonl", {"epoch": 2, "seconds": 1.0})
    (resumed,) = runs.train(job(), part, follow=lambda folder: nullcontext(seen.append))
    assert alike(whole, resumed)
    assert [epoch["epoch"] for epoch in seen] == [1, 2]
    with np.load(part / "params.npz") as one, np.load(tmp_path / "whole" / "params.npz") as other:
        assert all((one[name] == other[name]).all() for name in one.files)
    with pytest.raises(UsageError, match="has ended"):
        runs.train(job(), part)


@pytest.mark.heavy
def test_a_sweep_is_its_lone_runs(job, tmp_path):
    config = CONFIG.but(validation=0)
    points = models.points(config, decay=(0.2, 0.8))
    found = runs.train(job(config, points, (0, 3)), tmp_path / "sweep")
    assert [(row["hparams"]["decay"], row["seed"]) for row in found] == [
        (0.2, 0), (0.2, 3), (0.8, 0), (0.8, 3),
    ]  # fmt: skip
    assert {row["cells"] for row in found} == {4}
    (lone,) = runs.train(job(config.but(decay=0.8), None, (3,)), tmp_path / "lone")
    assert lone.keys() == found[-1].keys()
    assert lone["hparams"] == found[-1]["hparams"]
    assert found[-1]["test_accuracy_last"] == pytest.approx(lone["test_accuracy_last"], abs=0.03)
    part = tmp_path / "part"
    assert runs.train(job(config, points, (0, 3)), part, time.monotonic()) == []
    resumed = runs.train(job(config, points, (0, 3)), part)
    assert all(alike(one, other) for one, other in zip(found, resumed, strict=True))


@pytest.mark.heavy
def test_seeds_may_have_sets_of_their_own(job, tmp_path):
    def load(config, seed):
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 256, (60, 8, 8)).astype(np.uint8)
        labels = rng.integers(0, 10, 60).astype(np.int32)
        return data.Dataset(images, labels), data.Dataset(images[:20], labels[:20])

    config = CONFIG.but(validation=0, epochs=1)
    points = models.points(config, decay=(0.2, 0.8))
    found = runs.train(job(config, points, (0, 1), load=load), tmp_path / "sweep")
    alone = job(config, points[:1], (1,), load=load)
    (lone,) = runs.train(alone, tmp_path / "lone")
    assert found[1]["hparams"] == lone["hparams"]
    assert found[1]["test_accuracy_last"] == pytest.approx(lone["test_accuracy_last"], abs=0.1)
    np.testing.assert_allclose(found[1]["firing_rate"], lone["firing_rate"], rtol=0.1)


def test_an_interrupt_leaves_a_folder_that_goes_on(job, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(interruption._Process, "code", 143)  # as if a signal had come
        with pytest.raises(interruption.Interrupted) as raised:
            runs.train(job(), tmp_path)
    assert raised.value.code == 143
    assert (tmp_path / "params.npz").exists()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]
    assert not (tmp_path / folders.ROW).exists()  # an unfinished run is no result
    assert len(runs.train(job(), tmp_path)) == 1
    assert not (tmp_path / "checkpoints").exists()


def test_a_run_of_other_constants_does_not_go_on(job, tmp_path, monkeypatch):
    """A constant that no setting names, such as a default of the library."""
    assert runs.train(job(), tmp_path, time.monotonic()) == []
    described = programs.described(programs.prepared(job()))
    described["constants"][0]["layers"][1]["units"]["threshold"] = 0.25
    monkeypatch.setattr(programs, "described", lambda program: described)
    with pytest.raises(UsageError, match=r"constants\[0\].*threshold is 0.5 there and 0.25 here"):
        runs.train(job(), tmp_path)


def test_a_deleted_folder_ends_the_run(job, tmp_path, monkeypatch):
    def deleting(*args):
        yield next(epochs(*args))
        pytest.fail("the run went on")

    epochs = programs.epochs
    monkeypatch.setattr(programs, "epochs", deleting)
    monkeypatch.setattr(runs, "by_row_name", lambda measured: shutil.rmtree(tmp_path) or {})
    with pytest.raises(UsageError, match="was deleted or moved"):
        runs.train(job(), tmp_path)


def test_a_diverged_run_stops_before_its_epoch(job, tmp_path):
    config = CONFIG.but(validation=0)
    assert runs.train(job(config), tmp_path, time.monotonic()) == []  # one epoch, then out of time
    program = programs.prepared(job(config))
    with checkpoints.opened(tmp_path, programs.described(program)) as saved:
        _, state = saved.restore(programs.state_shapes(program))
        flat, hidden, output = state.params
        weights = hidden.synapse._replace(bias=hidden.synapse.bias.at[3].set(np.inf))
        params = flat, hidden._replace(synapse=weights), output
        saved.save(1, state._replace(params=params), None)
    words = "epoch 2: 5 updates are not finite; update 5: parameter 1/synapse/bias is infinite"
    with pytest.raises(faults.NonFiniteError, match=words):
        runs.train(job(config), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]
    assert len(list(rows.read_lines(tmp_path / folders.METRICS))) == 1


def test_a_diverged_run_ends_when_asked(job, tmp_path):
    config = CONFIG.but(learning_rate=3e38, validation=0, skip_non_finite=True)
    with pytest.warns(UserWarning, match="were not finite"):
        (row,) = runs.train(job(config), tmp_path)
    assert row["test_accuracy_last"] == 0
    assert row["config"]["train"]["skip_non_finite"] is True
    with np.load(tmp_path / "measured.npz") as measured:
        assert measured["confusion"].sum() == 0


def test_a_skipped_update_leaves_the_parameters(job):
    program = programs.prepared(job(CONFIG.but(skip_non_finite=True)))
    optimizer = program.build(program.points[0], 6).optimizer
    params = np.ones(3, np.float32)
    state = optimizer.init(params)
    for gradient, moved in ((np.nan, False), (0.5, True)):
        updates, state = optimizer.update(np.full(3, gradient, np.float32), state, params)
        assert bool(np.any(updates)) is moved
    assert int(state.total_notfinite) == 1


@pytest.mark.heavy
def test_a_sweep_stops_when_none_of_its_runs_is_finite(job, tmp_path):
    config = CONFIG.but(validation=0)
    some, all_of_them = ((rate, 3e38) for rate in (1e-3, 2e38))
    points = models.points(config, learning_rate=some)
    with pytest.warns(UserWarning, match="1 of 2 runs.*were not finite"):
        assert len(runs.train(job(config, points), tmp_path / "some")) == 2
    points = models.points(config, learning_rate=all_of_them)
    with pytest.raises(faults.NonFiniteError, match=r"epoch 1: . updates .* in each of 2 runs; up"):
        runs.train(job(config, points), tmp_path / "all")


def test_an_ann_does_not_spike(job, tmp_path):
    chosen = job(CONFIG.but(epochs=1), coding=models.ONCE, units=models.RELU)
    (row,) = runs.train(chosen, tmp_path)
    assert row["operations"].size == 0
    assert row["multiply_accumulates"] == 64 * 16 + 16 * 10
    assert not (tmp_path / "raster.png").exists()


def test_every_silent_layer_is_named(job, tmp_path):
    with pytest.warns(UserWarning, match="fires nowhere") as warned:
        runs.train(job(CONFIG.but(threshold=100.0, epochs=1)), tmp_path)
    wanted = (
        "epoch 1: spiking layer {} fires nowhere on the test set, and has none of its membranes"
    )
    for layer, one in enumerate(warned):
        assert str(one.message).startswith(wanted.format(layer))
    assert len(warned) == 2


def test_findings_of_a_sweep_are_counted(job, tmp_path):
    config = CONFIG.but(validation=0, epochs=1)
    points = models.points(config, threshold=(0.5, 100.0))
    with pytest.warns(UserWarning, match="2 of 4 runs") as warned:
        runs.train(job(config, points, (0, 1)), tmp_path)
    wanted = "epoch 1: 2 of 4 runs, such as point 1, seed 0: spiking layer {} fires nowhere"
    for layer, one in enumerate(warned):
        assert str(one.message).startswith(wanted.format(layer))
    assert len(warned) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decay": 1.5}, "decay must be between 0 and 1, got 1.5"),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"batch_size": 5000}, "train_set inputs must have shape"),
        ({"width": 0.0}, "width must be positive"),
        ({"validation": 100}, "data.validation must be from 0 to 99, fewer than the training"),
        ({"validation": -1}, "data.validation must be from 0"),
        ({"name": "digts"}, "data.name digts"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_run(changes, message, job, tmp_path):
    with pytest.raises(UsageError, match=message):
        runs.train(job(CONFIG.but(**changes)), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_every_plan_can_be_asked_for():
    for name in studies.NAMES:
        study = studies.load(name)
        assert study.claim
        for variant_name in study.variants:
            assert studies.job(name, variant_name, "full").seeds
            smoke = studies.job(name, variant_name, "smoke")
            assert smoke.config.train.epochs <= 2


# Every study, and of convolutional networks each variant; `make smoke` runs all variants of all.
SMOKED = [
    (name, chosen)
    for name in studies.NAMES
    for chosen in (
        studies.load(name).variants if name == "mnist_cnn" else [*studies.load(name).variants][:1]
    )
]


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:epoch .*spiking layer")  # after so few updates
@pytest.mark.parametrize(("name", "chosen"), SMOKED)
def test_every_study_passes_smoke(name, chosen, tmp_path, data_dir):
    smoke = studies.job(name, chosen, "smoke")
    (one,) = studies.programs(smoke)
    found = (one.chosen.run or runs.train)(one, tmp_path, runs.FOREVER)
    assert {row["seed"] for row in found} == {0}
    assert (tmp_path / folders.ROW).exists()
