"""The paper's Fig. 4 from a run folder: `python -m experiments.studies.spike_trains.figure RUN`.

The left panel shows the input spikes of the 25 center pixels of a nine. The other two show the
output spikes before and after training.
"""

import sys
from pathlib import Path

import jax
import matplotlib
import numpy as np

import stbp_jax as sj
from experiments.engine import folders, programs
from stbp_jax import plots

matplotlib.use("Agg")
from matplotlib import pyplot as plt

FIGURE = "spike_trains.png"
DIGIT, PATCH = 9, 5

Spikes = np.ndarray


def trains(run: Path) -> tuple[Spikes, Spikes, Spikes]:
    """Compute the spikes of the figure.

    Args:
      run: run folder with `config.json` and `params.npz`.

    Returns:
      Input of the center patch `[T, 25]`, row by row, and the output layer's spikes before and
      after training, `[T, C]` each.
    """
    program = programs.prepared(folders.read_job(run))
    (seed,), (hparams,), ((train, _, test),) = program.seeds, program.points, program.sets
    before = sj.training.init_state(
        program.build, program.train_config, jax.random.key(seed), hparams, train
    ).params
    pipeline = program.build(hparams, 1)
    image = test.images[int(np.argmax(test.labels == DIGIT))]
    # Both networks get the same input spikes.
    xs = pipeline.encode(jax.random.key(0), image[None])
    top, left = ((side - PATCH) // 2 for side in image.shape)
    patch = xs[:, 0, top : top + PATCH, left : left + PATCH].reshape(len(xs), -1)
    outs = [
        sj.apply(pipeline.network, params, xs)[1][:, 0]
        for params in (before, sj.load(run / "params.npz", pipeline.network, before))
    ]
    return np.asarray(patch), np.asarray(outs[0]), np.asarray(outs[1])


def draw(run: Path, out: Path) -> dict[str, list[int]]:
    """Draw the figure of a run.

    Args:
      run: run folder.
      out: file of the picture.

    Returns:
      Number of spikes of each output unit before and after training, as rows store them.
    """
    patch, before, after = trains(run)
    figure, row = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    plots.raster(row[0], patch).set(title=f"input, center {PATCH}x{PATCH}", ylabel="pixel")
    for axes, spikes, when in zip(row[1:], (before, after), ("before", "after"), strict=True):
        plots.raster(axes, spikes, label=DIGIT).set(
            title=f"output {when} training: {int(spikes.sum())} spikes", ylabel="output unit"
        )
    figure.suptitle(f"Spikes for a {DIGIT}", fontsize="medium")
    figure.savefig(out)
    plt.close(figure)
    counts = {"before": before, "after": after}
    return {
        f"output_spikes_{when}": spikes.sum(0).astype(int).tolist()
        for when, spikes in counts.items()
    }


if __name__ == "__main__":
    print(draw(Path(sys.argv[1]), Path(__file__).with_name(FIGURE)))
