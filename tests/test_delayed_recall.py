"""The task of delayed recall: what the network is shown, and when."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.delayed_recall.study import Settings, _drawn, build, cells, lone
from experiments.settings import UsageError

SETTINGS = replace(Settings(), num_steps=16, gaps="0,4,10", decays="0.5", noise=0.0, num_train=64)


def shown(gap: float, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    settings = replace(SETTINGS, noise=noise)
    (images, labels), _ = _drawn(settings, 0)
    hparams = cells(settings)[0] | {"gap": gap}
    pipeline = build(settings, lone(), 16)(hparams, 1)
    return np.asarray(pipeline.encode(jax.random.key(0), jnp.asarray(images))), labels


@pytest.mark.parametrize("gap", [0, 4, 10])
def test_cue_gap_question(gap):
    xs, labels = shown(gap)
    wanted = np.zeros((16, 64, 5))
    wanted[10 - gap : 13 - gap, np.arange(64), labels] = 1
    wanted[13:, :, 4] = 1
    np.testing.assert_array_equal(xs, wanted)


def test_random_spikes_come_everywhere():
    xs, labels = shown(10, noise=0.25)
    assert set(np.unique(xs)) == {0, 1}
    assert (xs[:3, np.arange(64), labels] == 1).all()
    quiet = xs[3:13]
    assert abs(quiet.mean() - 0.25) < 0.02


def test_a_gap_that_does_not_fit():
    with pytest.raises(UsageError, match="gaps must be from 0 to 10"):
        cells(replace(SETTINGS, gaps="4,11"))
