"""Checks of arrays and numbers that a caller hands over, before anything is computed from them.

NumPy drops the mask of a masked array in most conversions, and an integer of a narrow NumPy type
wraps in a product, so that neither enters a computation: masks are refused, integers become
Python's.
"""

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_CELLS = 2**32 - 1
"""Cells of a sensor of which a word of 32 bits holds one with time 0, and `PAD` beside them."""


def plain(name: str, x: Any) -> NDArray[Any]:
    """`x` as a NumPy array; a masked one is refused, for what its mask hides would come back."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be an array without a mask, got a masked array; keep its valid entries "
            "by .compressed(), or say what the others are by .filled(value)"
        )
    try:
        return np.asarray(x)
    except ValueError as error:  # lists of unlike lengths
        raise TypeError(f"{name} must be an array, got {type(x).__name__} ({error})") from None


def integer(name: str, n: Any, *, least: int, most: int | None = None) -> int:
    """An integer of any type as Python's, of at least `least` and at most `most`."""
    try:
        if isinstance(n, bool | np.bool | np.ma.MaskedArray) or np.ndim(n):
            raise TypeError
        value = operator.index(n)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be an integer, got {n!r}") from None
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most}, got {value}")
    return value


def sides(name: str, shape: Any) -> tuple[int, ...]:
    """The sides of a sensor as Python's integers, each at least 1, whose cells fit a word."""
    try:
        if isinstance(shape, str | np.ma.MaskedArray):
            raise TypeError
        found = tuple(integer(name, side, least=1) for side in shape)
    except TypeError:
        raise TypeError(f"{name} must hold integers, got {shape!r}") from None
    except ValueError:
        raise ValueError(f"{name} must hold sides of at least 1, got {shape!r}") from None
    if math.prod(found) > MOST_CELLS:
        raise ValueError(
            f"{name} makes {math.prod(found)} cells, more than the {MOST_CELLS} that fit a word"
        )
    return found
