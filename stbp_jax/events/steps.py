"""Functions from the times of events to time steps: of equal length, or of equal event count."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Integer

from stbp_jax import arguments
from stbp_jax.core import AnyArray, Array

Steps = Callable[[Array], Array]
"""Function from ordered times `[B, M]`, microseconds, to the step of each event, int32 `[B, M]`.

Times are int32. A sensor with one address has uint32 times, because its words hold nothing else.
"""

_FIRST, _END = -(2**31), 2**32  # times that 32 bits hold, with or without a sign


Whole = int | np.integer | Integer[AnyArray, ""]
"""An integer; may be traced."""


def by_time(microseconds: Whole, *, start: Whole = 0) -> Steps:
    """Steps of equal length: step = ⌊(time - start) / microseconds⌋.

    Steps are exact for integers of every width and sign. A step that int32 cannot hold becomes the
    nearest int32, which lies outside every sequence.

    Args:
      microseconds: length of a step, an integer; may be traced, and is then not checked.
      start: start of the first step in microseconds, an integer of any sign; may be traced. Earlier
        events are dropped.

    Returns:
      A function from times to steps.

    Raises:
      TypeError: a number that is not an integer.
      ValueError: a length below 1 or above 2³² - 1; a start outside [-2³¹, 2³²), which no 32-bit
        time can reach; an array with axes.

    >>> by_time(10_000)(jnp.array([0, 9_999, 10_000]))
    Array([0, 0, 1], dtype=int32)
    """
    length, origin = _integer("microseconds", microseconds), _integer("start", start)
    if isinstance(length, int) and not 1 <= length < _END:
        limit = "at least 1" if length < 1 else "at most 2³² - 1, the last time of a word"
        raise ValueError(f"microseconds must be {limit}, got {length}")
    if isinstance(origin, int) and not _FIRST <= origin < _END:
        raise ValueError(
            f"start must lie in [-2³¹, 2³²), where the times of packed events are, got {origin}"
        )

    def steps(times: Array) -> Array:
        return _floor_divided(_times(times), _scalar(length), _scalar(origin))

    return steps


def by_count(events: int) -> Steps:
    """Steps of equal event count, whatever their length in time.

    Args:
      events: number of events of a recording in one step.

    Returns:
      A function from times to steps.

    Raises:
      TypeError: `events` is not an integer.
      ValueError: `events` is below 1.

    >>> by_count(2)(jnp.array([[0, 7, 8]]))
    Array([[0, 0, 1]], dtype=int32)
    """
    each = min(arguments.count("events", events), 2**31 - 1)  # no row has more

    def steps(times: Array) -> Array:
        times = _times(times)
        if not times.ndim:
            raise ValueError("times must have shape [..., M], got []")
        ranks = jnp.arange(times.shape[-1], dtype=jnp.int32) // each
        return jnp.broadcast_to(ranks, times.shape)

    return steps


def _integer(name: str, value: Any) -> Any:
    """A Python integer, or the traced integer itself."""
    if arguments.concrete(value):
        return arguments.integer(name, value)
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise TypeError(f"{name} must be an integer, got dtype {value.dtype}")
    arguments.scalar(name, value)
    return value


def _times(times: Any) -> Array:
    """Times as integers of a type that JAX has now; 64 bits are narrowed if the values fit."""
    if isinstance(times, int) and not isinstance(times, bool):
        times = np.asarray(times)
    arguments.array("times", times)
    if not jnp.issubdtype(times.dtype, jnp.integer):
        raise TypeError(f"times must be integers, got dtype {times.dtype}")
    if jax.dtypes.canonicalize_dtype(times.dtype) != times.dtype:  # NumPy's 64 bits without x64
        low, high = (int(times.min()), int(times.max())) if times.size else (0, 0)
        if low < _FIRST or high >= _END or (low < 0 and high >= 2**31):
            raise ValueError(
                "times must fit 32 bits unless jax_enable_x64 is set, got values from "
                f"{low} to {high}"
            )
        times = times.astype(np.int32 if high < 2**31 else np.uint32)
    return jnp.asarray(times)


def _scalar(value: Any) -> Any:
    """A Python integer as a 32-bit integer."""
    if not isinstance(value, int):
        return value
    return np.int32(value) if value < 2**31 else np.uint32(value)


@functools.partial(jax.jit, inline=True)
def _floor_divided(times: Array, length: Array, start: Array) -> Array:
    """(times - start) // length as int32, without a difference that could wrap.

    Both are divided first, x = q · length + r, and the quotients are subtracted in halves of a
    word.
    """
    wide = any(x.dtype.itemsize == 8 for x in (times, length, start))
    word, signed, half = (jnp.uint64, jnp.int64, 32) if wide else (jnp.uint32, jnp.int32, 16)
    length, mask = length.astype(word), 2**half - 1

    def divided(x: Array) -> tuple[Array, Array, Array]:
        """Upper and lower half of the quotient, and the remainder."""
        below = x < 0
        size = jnp.where(below, ~x, x).astype(word)
        quotient = size // length
        rest = size - quotient * length
        upper, lower = (quotient >> half).astype(signed), (quotient & word(mask)).astype(signed)
        return (
            jnp.where(below, ~upper, upper),
            jnp.where(below, mask - lower, lower),
            jnp.where(below, length - 1 - rest, rest),
        )

    upper, lower, rest = divided(times)
    start_upper, start_lower, start_rest = divided(start)
    lower = lower - start_lower - (rest < start_rest).astype(signed)
    upper = upper - start_upper + (lower >> half)
    kept = jnp.clip(upper, -(2 ** (half - 1)), 2 ** (half - 1) - 1)
    lower = jnp.where(upper > kept, mask, jnp.where(upper < kept, 0, lower & mask))
    step = (kept << half) | lower
    if wide:
        step = jnp.clip(step, -(2**31), 2**31 - 1)
    return step.astype(jnp.int32)
