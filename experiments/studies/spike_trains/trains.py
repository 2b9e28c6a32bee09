"""Spikes for one test example before and after training, and the images of the paper's Fig. 4."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

import stbp_jax as sj
from experiments.engine import folders, programs
from experiments.engine.rows import Row

PATCH = 5  # pixels on a side, in the center of the image
EXAMPLES = 6  # images that show the data set, the first of them the one whose spikes are shown


def measure(run: Path) -> Row:
    """Compute the spikes of the first test example of the last class.

    Args:
      run: run folder with `config.json` and `params.npz`.

    Returns:
      Fields of a row. `examples [N, 28, 28]` and `example_labels [N]`: the example, then the first
      others of the test set. `input_spikes [T, 25]`: those of the center patch, row by row.
      `spikes_before` and `spikes_after`, `[T, C]`: of the output layer, for the same input spikes.
    """
    program = programs.prepared(folders.read_job(run))
    (seed,), (hparams,), ((train, _, test),) = program.seeds, program.points, program.sets
    before = sj.training.init_state(
        program.build, program.train_config, jax.random.key(seed), hparams, train
    ).params
    pipeline = program.build(hparams, 1)
    after = sj.load(run / "params.npz", pipeline.network, before)
    shown = int(np.argmax(test.labels == test.labels.max()))
    xs = pipeline.encode(jax.random.key(0), test.images[shown][None])
    top, left = ((side - PATCH) // 2 for side in test.images.shape[1:])
    patch = xs[:, 0, top : top + PATCH, left : left + PATCH].reshape(len(xs), -1)
    chosen = [shown, *(n for n in range(EXAMPLES) if n != shown)][:EXAMPLES]
    return {
        "examples": test.images[chosen],
        "example_labels": test.labels[chosen],
        "input_spikes": _plain(patch),
        "spikes_before": _plain(sj.apply(pipeline.network, before, xs)[1][:, 0]),
        "spikes_after": _plain(sj.apply(pipeline.network, after, xs)[1][:, 0]),
    }


def _plain(spikes: Any) -> np.ndarray:
    return np.asarray(spikes).astype(int)
