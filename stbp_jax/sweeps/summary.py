"""Summaries of a sweep: mean and standard deviation over seeds, and how many runs diverged."""

from collections.abc import Mapping, Sequence

import numpy as np

from stbp_jax.training import History

# What `summarize` writes into a row.
_SUMMARY = ("seeds", "diverged", "last_mean", "last_sd", "best_mean", "best_sd")


def summarize(history: History, rows: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """One line a point: mean and standard deviation over seeds of the test accuracy.

    A run has diverged if in its last epoch an update is not finite, or the loss, the test loss or
    the test accuracy. Means and deviations are those of the runs that have not. A single update
    that the optimizer skips (`optax.apply_if_finite`) in an earlier epoch is no divergence.

    Args:
      history: a `History` with leaves `[H, S, E]`, as `sweep` gives it.
      rows: `[H]`, as `grid` gives them.

    Returns:
      Each row with `seeds`, how many of them `diverged`, and `last_mean`, `last_sd` (last epoch)
      and `best_mean`, `best_sd` (each run's best epoch, chosen on the test set as the literature
      does). A mean of no run is NaN, and so is a deviation of one or none.

    Raises:
      ValueError: `rows` of another length than H, or with a name that a line uses itself; a history
        without points, seeds or epochs.
      TypeError: `rows` that are no dicts.
    """
    accuracy = np.asarray(history.test.accuracy, np.float64)
    if accuracy.ndim != 3 or len(rows) != len(accuracy):
        raise ValueError(
            f"rows must have one entry for each point of test.accuracy [H, S, E], got {len(rows)} "
            f"and {list(accuracy.shape)}"
        )
    if 0 in accuracy.shape:
        raise ValueError(
            f"test.accuracy [H, S, E] must have at least one of each, got {list(accuracy.shape)}"
        )
    for row in rows:
        if not isinstance(row, Mapping):
            raise TypeError(f"rows must be dicts, got {row!r} among them")
        taken = [name for name in row if name in _SUMMARY]
        if taken:
            raise ValueError(f"rows must not have entries that a line has itself, got {taken}")
    diverged = _diverged(history, accuracy)
    return [
        {
            **row,
            "seeds": len(lost),
            "diverged": int(lost.sum()),
            **_moments("last", cell[~lost, -1]),
            **_moments("best", cell[~lost].max(axis=1)),
        }
        for row, cell, lost in zip(rows, accuracy, diverged, strict=True)
    ]


def _diverged(history: History, accuracy: np.ndarray) -> np.ndarray:
    """The runs that have diverged, `[H, S]`."""
    lost = ~np.isfinite(accuracy[..., -1])
    for losses in (history.loss, history.test.loss):
        lost = lost | ~np.isfinite(np.asarray(losses, np.float64)[..., -1])
    return lost | (np.asarray(history.non_finite_updates)[..., -1] > 0)


def _moments(name: str, values: np.ndarray) -> dict[str, float]:
    """Mean and standard deviation, NaN where there are too few."""
    mean = float(values.mean()) if len(values) else float("nan")
    deviation = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return {f"{name}_mean": mean, f"{name}_sd": deviation}
