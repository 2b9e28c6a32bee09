"""The networks on frames that N-MNIST's spiking networks are compared with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from experiments.datasets.recordings import COUNT_FRAME, FRAME, SPIKES
from experiments.engine import runs, studies
from experiments.engine.config import UsageError
from experiments.report import frames, pairs
from experiments.studies.nmnist_mlp import figures, lstm
from stbp_jax.data import NMNIST_SHAPE, PAD
from stbp_jax.testing import check_layer


def job(study, variant):
    return studies.job(study, variant, "quick")


# The LSTM -----------------------------------------------------------------------------------------


def test_an_lstm_is_a_layer():
    check_layer(lstm.lstm(3), (4,))


def test_an_lstm_has_its_equations():
    layer = lstm.lstm(3)
    params, _ = layer.init(jax.random.key(0), (4,))
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # biases start at 0
    xs = np.random.default_rng(0).normal(size=(5, 2, 4))
    _, outs = sj.apply(layer, params, jnp.asarray(xs, jnp.float32))
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    c = h = np.zeros((2, 3))
    for x, out in zip(xs, outs, strict=True):
        i, f, g, o = (
            x @ p[f"i{gate}"]["kernel"] + h @ p[f"h{gate}"]["kernel"] + p[f"h{gate}"]["bias"]
            for gate in "ifgo"
        )
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        np.testing.assert_allclose(out, h, rtol=1e-5, atol=1e-6)


def test_an_lstm_needs_units_and_classes():
    with pytest.raises(UsageError, match=r"layers must be like 186-10 here, got 8C5-10"):
        lstm.build(job("nmnist_mlp", "lstm").config.but(layers="8C5-10"))


def test_rows_of_an_lstm_count_its_products(tmp_path, data_dir):
    small = job("nmnist_mlp", "lstm")
    small = small._replace(
        seeds=[0],
        config=small.config.but(limit=20, num_steps=3, epochs=1, batch_size=10, layers="4-10"),
    )
    (row,) = runs.train(small, tmp_path)
    assert row["network"] == "2312-LSTM4-10"
    assert row["multiply_accumulates"] == 3 * (4 * 4 * (2312 + 4) + 4 * 10)


# All of them --------------------------------------------------------------------------------------


def test_networks_are_of_the_same_size():
    mlp, ann, recurrent = (
        pairs.parameters(job("nmnist_mlp", name), NMNIST_SHAPE) for name in ("folds", "ann", "lstm")
    )
    assert mlp == ann == 2312 * 800 + 800 + 800 * 10 + 10
    assert recurrent == pytest.approx(mlp, rel=0.002)
    spiking, cnn = (
        pairs.parameters(job("nmnist_cnn", name), NMNIST_SHAPE) for name in ("folds", "ann")
    )
    assert spiking == cnn


@pytest.mark.parametrize(
    ("study", "variant"),
    [
        ("nmnist_mlp", "ann"),
        ("nmnist_mlp", "ann_counts"),
        ("nmnist_mlp", "lstm"),
        ("nmnist_cnn", "ann"),
    ],
)
def test_baselines_train_as_the_spiking_network(study, variant):
    spiking, other = job(study, "folds"), job(study, variant)
    assert other.seeds == spiking.seeds
    assert other.chosen.load is spiking.chosen.load
    assert other.config.but(layers=spiking.config.model.layers) == spiking.config


def test_a_tuned_baseline_differs_in_its_learning_rate():
    ann, tuned = job("nmnist_cnn", "ann"), job("nmnist_cnn", "ann_tuned")
    assert tuned.config.but(learning_rate=ann.config.train.learning_rate) == ann.config


def test_a_frame_is_the_mean_of_the_steps():
    events = np.array([[5, 2312 * 299_000 + 5, 2312 * 40_000 + 9, PAD]], np.uint32)
    key = jax.random.key(0)
    frame = FRAME.encode(key, events, 10)
    assert frame.shape == (1, 1, *NMNIST_SHAPE)
    np.testing.assert_allclose(frame[0], np.mean(SPIKES.encode(key, events, 10), 0))
    assert np.ravel(frame)[5] == pytest.approx(0.2)


def test_a_frame_of_counts_is_over_the_largest():
    events = np.array([[5, 2312 + 5, 2312 * 299_000 + 5, 2312 * 40_000 + 9, PAD]], np.uint32)
    empty = np.full_like(events, PAD)
    found = COUNT_FRAME.encode(jax.random.key(0), np.concatenate([events, empty]), 10)
    assert found.shape == (1, 2, *NMNIST_SHAPE)
    first, other = np.asarray(found[0]).reshape(2, -1)
    assert (first[5], first[9], first.sum()) == pytest.approx((1, 1 / 3, 4 / 3))
    assert not other.any()


# Tables -------------------------------------------------------------------------------------------


def rows(variant, *accuracies):
    one = job("nmnist_mlp", variant)
    return [
        one.label
        | {
            "dataset": "nmnist_subset",
            "network": one.config.model.layers,
            "num_steps": 10,
            "seed": seed,
            "hparams": {},
            "config": one.config.asdict(),
            "test_accuracy_last": accuracy,
            "operations": [2e6] if variant == "folds" else [],
            "multiply_accumulates": 3e6,
            "wall_seconds": 5.0,
            "device": "cpu: a, 1 of 2 cores",
            "jax": "0",
            "commit": "c",
        }
        for seed, accuracy in enumerate(accuracies)
    ]


def test_baselines_are_paired_with_the_spiking_network():
    runs = frames.frame(
        rows("folds", 0.92, 0.94)
        + rows("ann", 0.91, 0.92)
        + rows("ann_counts", 0.9, 0.9)
        + rows("lstm", 0.8, 0.9, 0.7)
    )
    lines = figures.table(runs).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:6]] == [
        "| folds",
        "| ann",
        "| ann_counts",
        "| lstm",
    ]
    assert "| 1,858,410 | 93.00 ± 1.41 | - | 0, 1 | 2 M additions |" in lines[2]
    assert "| +1.50 [-4.85, +7.85] | 0, 1 | 3 M products |" in lines[3]
    assert "| 1,861,126 | 80.00 ± 10.00 | +8.00 [" in lines[5]
    lead = figures.lead_over_frames(runs)
    assert lead.ours == "93.00 ± 1.41 minus 91.50 ± 0.71 (`ann`, 2 seeds)"
    assert lead.difference.mean == pytest.approx(1.5)
