"""The study of spike trains: rows with images and spikes, and the page and picture from them."""

import numpy as np
import pytest
from matplotlib import image

from experiments.__main__ import main
from experiments.engine import rows
from experiments.engine.config import Config
from experiments.report import frames
from experiments.studies.spike_trains import figures, trains

STEPS, CLASSES = 6, 3


def row(variant="stbp", **more):
    after = np.zeros((STEPS, CLASSES), int)
    after[1:, 2] = after[0, 0] = 1
    return {
        "study": "spike_trains",
        "variant": variant,
        "budget": "quick",
        "dataset": "mnist",
        "network": "784-20-3",
        "num_steps": STEPS,
        "epochs": 4,
        "seed": 0,
        "config": Config().asdict(),
        "hparams": {},
        "num_train": 1000,
        "test_accuracy_last": 0.9,
        "device": "cpu: a, 1 of 2 cores",
        "jax": "0",
        "commit": "c",
        "date": "2026",
        "examples": (np.arange(6 * 8 * 8) % 256).reshape(6, 8, 8).tolist(),
        "example_labels": [2, 0, 1, 1, 0, 2],
        "input_spikes": np.ones((STEPS, 25), int).tolist(),
        "spikes_before": np.zeros((STEPS, CLASSES), int).tolist(),
        "spikes_after": after.tolist(),
    } | more


OLDER = {k: v for k, v in row("pedestrian").items() if "spikes" not in k and "example" not in k}


def test_page_from_rows(tmp_path):
    runs = frames.frame([row(), OLDER])
    (line,) = [line for line in figures.table(runs).splitlines() if line.startswith("| stbp")]
    assert line.endswith("| 4 of 1,000 | 90.00 | 2 | 0 0 0 | 1 0 5 |")
    found = figures.lead(runs)
    assert found.difference.mean == 4
    assert found.ours == (
        "unit 2 spikes at 5 of 6 steps, the next unit at 1; 0 spikes before training"
    )
    figures.draw(runs, tmp_path)
    assert image.imread(tmp_path / "spike_trains.png").size


@pytest.mark.heavy
@pytest.mark.parametrize(("variant", "label"), [("stbp", 9), ("pedestrian", 1)])
def test_spikes_of_a_run(data_dir, tmp_path, variant, label):
    argv = ["--train.epochs", "1", "--data.num-steps", "6", "--model.layers", f"20-{label + 1}"]
    folder = tmp_path / "run"
    options = ["--variant", variant, "--budget", "smoke", *argv, "--out", str(folder)]
    assert main(["run", "spike_trains", *options]) == 0
    (found,) = rows.read(folder / "row.jsonl")
    again = trains.measure(folder)
    assert all(rows.same(found[name], again[name]) for name in again)
    assert found["example_labels"][0] == label
    assert np.shape(found["examples"]) == (6, 28, 28)
    assert np.shape(found["input_spikes"]) == (6, 25)
    assert np.shape(found["spikes_after"]) == np.shape(found["spikes_before"]) == (6, label + 1)
    # Each of the center pixels spikes as often as it is bright.
    center = np.array(found["examples"][0])[11:16, 11:16].ravel()
    spikes = np.array(found["input_spikes"]).sum(0)
    assert (spikes[center == 255] == 6).all()
    assert (spikes[center == 0] == 0).all()
