"""How sure a difference is. Pure functions of numbers; SciPy comes with JAX."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


class Paired(NamedTuple):
    """A mean difference of pairs, and how sure it is.

    Attributes:
      pairs: how many.
      mean: of the differences.
      low: of the mean's confidence interval.
      high: of the same.
      effect: Cohen's d_z, the mean over the standard deviation of the differences.
      p: of a mean as far from 0 or farther, were there no difference; two-sided.
    """

    pairs: int
    mean: float
    low: float
    high: float
    effect: float
    p: float


def paired(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> Paired:
    """Student's t on the differences `second - first`, taken as normal.

    Args:
      first: one value a pair.
      second: the same pairs, in the same order.
      level: of the confidence interval.

    Returns:
      A `Paired`. Differences that are all the same leave no doubt: an interval of no width, and
      an infinite effect, or NaN with p = 1 where they are all 0.

    Raises:
      ValueError: fewer than two pairs, another number of firsts than of seconds, or a `level`
        outside (0, 1).

    >>> found = paired([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    >>> found.mean, found.effect, round(found.low, 3), round(found.p, 4)
    (2.0, 2.0, -0.484, 0.0742)
    """
    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.ndim != 1 or one.shape != two.shape or len(one) < 2:
        raise ValueError(
            "first and second must be two or more pairs, as many of one as of the other, got "
            f"shapes {list(one.shape)} and {list(two.shape)}"
        )
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    difference = two - one
    count, mean, deviation = len(one), float(difference.mean()), float(difference.std(ddof=1))
    if deviation == 0:
        effect = float(np.copysign(np.inf, mean)) if mean else float("nan")
        return Paired(count, mean, mean, mean, effect, 0.0 if mean else 1.0)
    error = deviation / count**0.5
    half = float(stats.t.ppf((1 + level) / 2, count - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, count - 1))
    return Paired(count, mean, mean - half, mean + half, mean / deviation, p)
