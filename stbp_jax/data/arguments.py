"""Checks of arrays and numbers from the caller.

NumPy drops the mask of a masked array in most conversions, and an integer of a narrow NumPy type
wraps in a product. So masked arrays raise an error, and integers become Python integers.
"""

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_ADDRESSES = 2**32 - 1
"""Most addresses of a sensor: a 32-bit word holds each of them at time 0, and `PAD`."""


def plain(name: str, x: Any) -> NDArray[Any]:
    """`x` as a NumPy array; a masked array raises, as its hidden values would reappear."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be an array without a mask, got a masked array; keep its valid entries "
            "by .compressed(), or replace the others by .filled(value)"
        )
    try:
        return np.asarray(x)
    except ValueError as error:  # lists of unequal lengths
        raise TypeError(f"{name} must be an array, got {type(x).__name__} ({error})") from None


def integer(name: str, n: Any, *, least: int, most: int | None = None) -> int:
    """An integer of any type as a Python integer, from `least` to `most`."""
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
    """The sides of a sensor as Python integers, each at least 1; its addresses must fit a word."""
    try:
        if isinstance(shape, str | np.ma.MaskedArray):
            raise TypeError
        found = tuple(integer(name, side, least=1) for side in shape)
    except TypeError:
        raise TypeError(f"{name} must hold integers, got {shape!r}") from None
    except ValueError:
        raise ValueError(f"{name} must hold sides of at least 1, got {shape!r}") from None
    if math.prod(found) > MOST_ADDRESSES:
        raise ValueError(
            f"{name} must have at most {MOST_ADDRESSES} addresses, to fit a 32-bit word, got "
            f"{math.prod(found)}"
        )
    return found
