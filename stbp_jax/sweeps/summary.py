"""Summaries of a sweep: means and standard deviations over seeds, and counts of diverged runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stbp_jax import arguments
from stbp_jax.training import History

# The entries that `summarize` adds to a point.
_SUMMARY = ("seeds", "diverged", "last_mean", "last_sd", "best_mean", "best_sd")


def summarize(
    history: History,
    points: Sequence[Mapping[str, float]],
    *,
    best: Callable[..., Any] = np.max,
) -> list[dict[str, float]]:
    """Mean and standard deviation over seeds of the test set's headline metric, for each point.

    The headline is the first of `Pipeline.metrics`, such as the accuracy, or the loss if there is
    none. A run has diverged if its last epoch has a non-finite update, loss, test loss or headline.
    Diverged runs are left out of means and deviations. An earlier update that the optimizer skips
    (`optax.apply_if_finite`) does not count as divergence. A deviation of n runs divides by n - 1.

    Args:
      history: a `History` from `sweep`, with leaves `[H, S, E]`.
      points: H dicts, the list that `grid` returns.
      best: selects the best epoch of a run: `np.max`, or `np.min` for an error.

    Returns:
      A list of H dicts: each point with the number of `seeds`, the number of `diverged` runs,
      `last_mean` and `last_sd` (last epoch), and `best_mean` and `best_sd` (each run's best epoch,
      chosen on the test set as in the literature). The mean of no runs and the deviation of fewer
      than two runs are NaN.

    Raises:
      ValueError: the number of points is not H, a point has an entry that the summary adds, or the
        history has no points, seeds or epochs.
      TypeError: a point is not a dict.

    >>> import jax
    >>> import optax
    >>> import stbp_jax as sj
    >>> def build(hparams, num_updates):
    ...     return sj.Pipeline(
    ...         encode=lambda key, inputs: sj.bernoulli(key, inputs, num_steps=3),
    ...         network=sj.dense(2, sj.lif()),
    ...         readout=sj.rate,
    ...         loss=sj.half_squared_error,
    ...         optimizer=optax.adam(hparams["learning_rate"]),
    ...     )
    >>> data = np.full((20, 3), 0.5, np.float32), np.arange(20) % 2
    >>> train = sj.make_train(build, sj.TrainConfig(epochs=2, batch_size=10))
    >>> points, listed = sj.grid(learning_rate=[0.1, 0.01])
    >>> history = sj.sweep(train, jax.random.split(jax.random.key(0), 2), points, data, data)
    >>> [row["learning_rate"] for row in summarize(history, listed)]
    [0.1, 0.01]
    """
    headline = np.asarray(history.test.headline, np.float64)
    if headline.ndim != 3 or len(points) != len(headline):
        raise ValueError(
            f"points must have H entries for test.headline [H, S, E], got {len(points)} and "
            f"{list(headline.shape)}"
        )
    if 0 in headline.shape:
        raise ValueError(
            f"test.headline [H, S, E] must have at least one of each, got {list(headline.shape)}"
        )
    arguments.function("best", best, "a function such as np.max")
    for point in points:
        if not isinstance(point, Mapping):
            raise TypeError(
                f"points must be dicts, got {point!r} among them; name the numbers, such as "
                '{"width": 0.1}, in the order of the sweep'
            )
        taken = [name for name in point if name in _SUMMARY]
        if taken:
            raise ValueError(f"points must not have entries that summarize adds, got {taken}")
    diverged = _diverged(history, headline)
    return [
        {
            **point,
            "seeds": len(lost),
            "diverged": int(lost.sum()),
            **_moments("last", runs[~lost, -1]),
            **_moments("best", best(runs[~lost], axis=1)),
        }
        for point, runs, lost in zip(points, headline, diverged, strict=True)
    ]


def _diverged(history: History, headline: np.ndarray) -> np.ndarray:
    """Whether each run has diverged, `[H, S]`."""
    lost = ~np.isfinite(headline[..., -1])
    for losses in (history.loss, history.test.loss):
        lost = lost | ~np.isfinite(np.asarray(losses, np.float64)[..., -1])
    return lost | (np.asarray(history.non_finite_updates)[..., -1] > 0)


def _moments(name: str, values: np.ndarray) -> dict[str, float]:
    """Mean and standard deviation; NaN if there are too few values."""
    mean = float(values.mean()) if len(values) else float("nan")
    deviation = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return {f"{name}_mean": mean, f"{name}_sd": deviation}
