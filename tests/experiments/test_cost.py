"""The study of cost: steps timed in turn, rows of a run, and the page and picture from rows."""

import itertools

import numpy as np
import pytest
from matplotlib import image

from experiments.engine import folders, rows, studies
from experiments.engine.config import Config
from experiments.report import frames
from experiments.studies.cost import figures, measure, study
from stbp_jax import data


def row(variant="mlp", num_steps=10, times=4.0, turns=11, **more):
    ann = np.linspace(0.01, 0.02, turns)
    return {
        "study": "cost",
        "variant": variant,
        "budget": "quick",
        "dataset": "mnist",
        "network": "784-800-10",
        "num_steps": num_steps,
        "epochs": 1,
        "batch_size": 100,
        "seed": 0,
        "config": Config().asdict(),
        "hparams": {"num_steps": num_steps},
        "num_train": 2000,
        "num_test": 500,
        "test_accuracy_last": None,
        "device": "cpu: a, 1 of 2 cores",
        "jax": "0",
        "commit": "c",
        "date": "2026",
        "multiply_accumulates": 2_000_000,
        "seconds": {"ann": ann.tolist(), "spiking": (times * ann).tolist()},
        "temp_bytes": {"ann": 2_000_000, "spiking": 8_000_000},
        "firing_rate": [0.125, 0.01],
        "operations": [2.5e6, 5e5],
    } | more


ROWS = [row(num_steps=1, times=1.5), row(), row("cnn_direct", network="15C5-P2-10")]


def test_page_from_rows(tmp_path):
    runs = frames.frame(ROWS)
    text = figures.table(runs)
    line = "| 784-800-10 | Bernoulli | 10 | 9 | 36 | 4.00 [4.00, 4.00] | 0.40 | 2.0 | 8.0 | 4.0 |"
    assert f"{line} 2 | 3 | 1.50 | 12.5 1.0 |" in text
    assert "medians over 11 turns" in text
    assert "after 20 updates" in text
    assert text.index("| 784-800-10 | Bernoulli | 1 |") < text.index(line)
    figures.draw(runs, tmp_path)
    assert image.imread(tmp_path / "cost.png").size


def test_the_worst_ratio_is_by_t():
    found = figures.worst(frames.frame(ROWS[:2]))
    assert found.ours == "1.50 at T = 1; 1.5, 4 times at T = 1, 10"
    assert found.difference == pytest.approx((1.5, 1.5, 1.5, 11))


def test_interval_of_the_median():
    seconds = {"ann": np.ones(11), "spiking": np.arange(1.0, 12)}
    found = figures.ratio(row(seconds=seconds))
    # P(at most 1 of 11 below the median) = 12 / 2048 on each side, and with 2 it exceeds 2.5 %.
    assert found == (6, 2, 10, 11)
    few = figures.ratio(row(turns=4))
    assert np.isnan(few.low)
    assert few.mean == pytest.approx(4)


def test_turns_alternate():
    order = []

    def endless(name):
        for n in itertools.count():
            order.append((name, n))
            yield n

    running = {name: endless(name) for name in "ab"}
    found = measure.timed_in_turn(running, {"a": 1, "b": 2}, 2)
    # The first item of each turn is not timed.
    assert order == [
        *[("a", n) for n in (0, 1)],
        *[("b", n) for n in (0, 1, 2)],
        *[("a", n) for n in (2, 3)],
        *[("b", n) for n in (3, 4, 5)],
    ]
    assert [len(seconds) for seconds in found.values()] == [2, 2]


@pytest.mark.heavy
def test_rows_of_a_run(tmp_path, monkeypatch):
    job = studies.job("cost", "mlp_direct", "smoke")
    assert job is not None
    monkeypatch.setattr(
        study.programs, "load_named", lambda config, seed: _few(data.load("digits"))
    )
    found = study.run(job, tmp_path, float("inf"))
    assert rows.same(found, list(rows.read(tmp_path / folders.ROW)))
    assert studies.recorded(job, found) == [0]
    first, second = found
    assert (first["num_steps"], second["num_steps"]) == (1, 5)
    assert first["seconds"].keys() == first["temp_bytes"].keys() == {"ann", "spiking"}
    assert first["multiply_accumulates"] == 64 * 16 + 16 * 10
    # Pixels enter the first product once, whatever T is.
    assert first["operations"][0] == second["operations"][0] > 0
    assert len(first["seconds"]["ann"]) == study.TURNS["smoke"]


def _few(sets):
    return tuple(type(part)(part.images[:40], part.labels[:40]) for part in sets)
