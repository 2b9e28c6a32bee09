"""Picture of elastic distortion: `python -m experiments.studies.mnist_cnn.distortion`.

The command reads MNIST.
"""

import jax
import matplotlib
import numpy as np

import stbp_jax as sj
from experiments.engine.rows import STUDIES
from stbp_jax import data

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def main() -> None:
    """Draw the first digit of each class above three distorted copies."""
    train, _ = data.load("mnist")
    images = train.images[[int(np.argmax(train.labels == label)) for label in range(10)]]
    keys = jax.random.split(jax.random.key(0), 3)
    rows = [images, *(np.asarray(sj.augment.elastic(key, images)) for key in keys)]
    figure, grid = plt.subplots(4, 10, figsize=(7.5, 3.2), layout="constrained")
    for axes, image in zip(grid.flat, np.concatenate(rows), strict=True):
        axes.imshow(255 - image, cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
    for axes, name in zip(grid[:2, 0], ("before", "after"), strict=True):
        axes.set_ylabel(name)
    figure.savefig(STUDIES / "mnist_cnn" / "distortion.png", dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
