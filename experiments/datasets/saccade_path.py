"""Estimate of the path of N-MNIST's saccades: `python -m experiments.datasets.saccade_path`.

The model takes the number of on events minus off events in a short time for the change of the log
intensity at the pixel, divided by the threshold. Least squares over real training recordings and
their images gives path, blur, floor and threshold together. The command prints `PATH` of
`datasets.saccades` and the three other values, in about a minute on one core. The simulated camera
has a smaller threshold and less blur than this fit, because its pixels are blind after an event and
interpolate between positions.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.datasets import recordings
from experiments.datasets.saccades import DURATION, SIDE, SPACING
from stbp_jax.core import Array
from stbp_jax.data import NMNIST_SHAPE, PAD

BIN = 5  # ms
COUNT, BATCH, UPDATES = 300, 40, 200


def changes(events: np.ndarray) -> np.ndarray:
    """Count on events minus off events of each pixel in bins of 5 ms.

    Args:
      events: `[N, M]`, as in `data.Recordings.events`.

    Returns:
      `[T, N, SIDE, SIDE]`.
    """
    found = np.zeros((DURATION // BIN, len(events), SIDE, SIDE), np.float32)
    owner, _ = np.nonzero(events != PAD)
    times, addresses = np.divmod(events[events != PAD].astype(np.int64), math.prod(NMNIST_SHAPE))
    step = times // (1000 * BIN)
    there = step < len(found)
    pixel, on = np.divmod(addresses[there], 2)
    at = step[there], owner[there], pixel // SIDE, pixel % SIDE
    np.add.at(found, at, 2 * on - 1)
    return found


def expected(model: dict[str, Array], images: Array) -> Array:
    """Compute the counts that a model expects.

    Args:
      model: as `fit` returns it.
      images: `[B, 28, 28]`, between 0 and 1.

    Returns:
      `[T, B, SIDE, SIDE]`.
    """
    blur, floor, threshold = (jnp.exp(model[name]) for name in ("blur", "floor", "threshold"))

    def optics(place: Array, length: int) -> Array:
        where = jnp.arange(SIDE) - (SIDE - 1) / 2 - place[:, None] + (length - 1) / 2
        far = (where[..., None] - jnp.arange(length)) / blur
        return jnp.exp(-0.5 * far**2) / (blur * math.sqrt(2 * math.pi))

    rows, columns = (optics(model["path"][:, i], images.shape[1 + i]) for i in (0, 1))
    ink = jnp.einsum("tri,bij,tcj->tbrc", rows, images, columns)
    light = jnp.log(1 - jnp.minimum(ink, 1) + floor)
    return jnp.diff(light, axis=0) / threshold


def unexplained(model: dict[str, Array], counts: Array, images: Array) -> Array:
    """Return the model's relative squared error, plus a penalty on a path that is not smooth."""
    missed = jnp.mean((expected(model, images) - counts) ** 2) / jnp.mean(counts**2)
    return missed + 1e-5 * jnp.sum(jnp.diff(model["path"], 2, axis=0) ** 2)


def fit(counts: np.ndarray, images: np.ndarray) -> tuple[dict[str, Array], float]:
    """Fit the model with Adam.

    Args:
      counts: counts of `changes`.
      images: `[N, 28, 28]`, between 0 and 1.

    Returns:
      The model, and the last loss. The model has the `path` `[T + 1, 2]` in pixels, and the
      logarithms of `blur`, `floor` and `threshold`.
    """
    # The initial path is the mean position of the events.
    weight = np.abs(counts).sum(1) + 1e-3
    at = np.arange(SIDE) - (SIDE - 1) / 2
    start = np.stack([(weight.sum(2) * at).sum(1), (weight.sum(1) * at).sum(1)], 1)
    start /= weight.sum((1, 2))[:, None]
    model = {
        "path": jnp.asarray(np.concatenate([start, start[-1:]]), jnp.float32),
        "blur": jnp.log(0.7),
        "floor": jnp.log(0.3),
        "threshold": jnp.log(0.5),
    }
    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, UPDATES))

    @jax.jit
    def update(model: Any, state: Any, counts: Array, images: Array) -> Any:
        loss, gradient = jax.value_and_grad(unexplained)(model, counts, images)
        change, state = optimizer.update(gradient, state)
        return optax.apply_updates(model, change), state, loss

    rng, state, loss = np.random.default_rng(0), optimizer.init(model), jnp.inf
    for _ in range(UPDATES):
        some = rng.permutation(len(images))[:BATCH]
        model, state, loss = update(model, state, counts[:, some], images[some])
    return model, float(loss)


def main() -> None:
    """Fit the model and print it."""
    counts = changes(recordings.subset()[0].events[:COUNT])
    model, loss = fit(counts, (recordings.mnist().images[:COUNT] / 255).astype(np.float32))
    for name, along in zip("yx", np.asarray(model["path"])[:: SPACING // BIN].T, strict=True):
        print(f"{name}: {', '.join(f'{value:.2f}' for value in along)}")
    for name in ("blur", "floor", "threshold"):
        print(f"{name}: {float(jnp.exp(model[name])):.3f}")
    print(f"unexplained: {loss:.3f}")


if __name__ == "__main__":
    main()
