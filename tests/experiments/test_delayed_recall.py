"""The task of delayed recall: cue, gap and question of its inputs, and the horizon in its rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.engine import models, rows, runs, studies
from experiments.engine.config import UsageError
from experiments.studies.delayed_recall import study

CONFIG = study.FULL.but(num_steps=16, num_train=64)


def shown(monkeypatch, gap, noise=0.0):
    monkeypatch.setattr(study, "NOISE", noise)
    images, labels = study.load(CONFIG, 0)[0]
    (hparams,) = models.points(CONFIG, gap=[gap])
    pipeline = study.VARIANTS["stbp"].build(CONFIG)(hparams, 1)
    return np.asarray(pipeline.encode(jax.random.key(0), jnp.asarray(images))), labels


@pytest.mark.parametrize("gap", [0, 4, 10])
def test_cue_gap_question(monkeypatch, gap):
    xs, labels = shown(monkeypatch, gap)
    wanted = np.zeros((16, 64, 5))
    wanted[10 - gap : 13 - gap, np.arange(64), labels] = 1
    wanted[13:, :, 4] = 1
    np.testing.assert_array_equal(xs, wanted)


def test_random_spikes_come_everywhere(monkeypatch):
    xs, labels = shown(monkeypatch, 10, noise=0.25)
    assert set(np.unique(xs)) == {0, 1}
    assert (xs[:3, np.arange(64), labels] == 1).all()
    assert abs(xs[3:13].mean() - 0.25) < 0.02


def test_what_does_not_fit(tmp_path):
    job = studies.job("delayed_recall", "stbp", "smoke")
    points = models.points(job.config, gap=(5, 6))
    with pytest.raises(UsageError, match="gap must be from 0 to 5, .* got 6"):
        runs.train(job._replace(points=points), tmp_path)
    with pytest.raises(UsageError, match=r"must be like 32-4 in this study, got 4-4-4"):
        study.load(CONFIG.but(layers="4-4-4"), 0)


@pytest.mark.parametrize(("variant", "horizon"), [("stbp", 46), ("horizon_4", 4)])
def test_rows_have_the_horizon(tmp_path, variant, horizon):
    job = studies.job("delayed_recall", variant, "quick")
    made = job.chosen.extend(job, tmp_path, [{"seed": 3}])
    assert made == [{"seed": 3, "horizon": horizon}]


def test_recorded_rows_are_those_of_the_plans():
    recorded = rows.of_study("delayed_recall")
    for name in study.VARIANTS:
        job = studies.job("delayed_recall", name, "quick")
        assert studies.recorded(job, recorded) == [0, 1, 2, 3, 4]
