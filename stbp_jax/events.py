"""From packed events to sequences, on the device.

Decides which time step an event falls into and what a step holds: spikes or counts. Leaves out
files and the packing (`data`). Binning is a scatter of bytes: the cells of a batch are written
once, and each event touches one of them.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import checks
from stbp_jax.core import Array, Shape

Steps = Callable[[Array], Array]
"""Times in microseconds `[B, M]`, in order, to each event's step, int32 `[B, M]`.

Times are int32; those of a sensor with one cell are uint32, because its words hold nothing else.
"""

_PAD = 2**32 - 1  # as `data` writes it; the two rooms meet in the array alone
_FIRST, _END = -(2**31), 2**32  # times that 32 bits hold, with or without a sign


def by_time(microseconds: Any, *, start: Any = 0) -> Steps:
    """Steps of one length: step t holds start + t · microseconds <= time < that + microseconds.

    Steps are exact for integers of every width and sign. One that int32 does not hold becomes the
    nearest that it does, which lies outside every sequence.

    Args:
      microseconds: length of a step, an integer; may be traced, and is then not checked.
      start: of the first step, an integer, negative too; may be traced. What comes earlier is left
        out.

    Returns:
      A function from times to steps.

    Raises:
      TypeError: numbers that are no integers.
      ValueError: a length below 1 or above 2³² - 1; a start that no time of 32 bits can reach,
        outside [-2³¹, 2³²); an array with axes.

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
    """Steps of equally many events, however long they take.

    Args:
      events: of a recording in one step.

    Returns:
      A function from times to steps.

    Raises:
      TypeError: `events` is no integer.
      ValueError: `events` below 1.

    >>> by_count(2)(jnp.array([[0, 7, 8]]))
    Array([[0, 0, 1]], dtype=int32)
    """
    each = min(checks.count("events", events), 2**31 - 1)  # no row has more

    def steps(times: Array) -> Array:
        times = _times(times)
        if not times.ndim:
            raise ValueError("times must have shape [..., M], got []")
        ranks = jnp.arange(times.shape[-1], dtype=jnp.int32) // each
        return jnp.broadcast_to(ranks, times.shape)

    return steps


def _integer(name: str, value: Any) -> Any:
    """A Python integer, or a traced one as it came."""
    if checks.concrete(value):
        return checks.integer(name, value)
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise TypeError(f"{name} must be an integer, got dtype {value.dtype}")
    checks.scalar(name, value)
    return value


def _times(times: Any) -> Array:
    """Integers of a type that this process has; 64 bits are narrowed where they fit."""
    if isinstance(times, int) and not isinstance(times, bool):
        times = np.asarray(times)
    checks.array("times", times)
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
    """A Python integer in the 32 bits that hold it."""
    if not isinstance(value, int):
        return value
    return np.int32(value) if value < 2**31 else np.uint32(value)


@functools.partial(jax.jit, inline=True)
def _floor_divided(times: Array, length: Array, start: Array) -> Array:
    """(times - start) // length, without a difference that could wrap; int32.

    Each of the two is divided by itself, x = q · length + r, and the quotients are subtracted in
    halves of a word.
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


def event_spikes(
    events: Any,
    num_steps: int,
    *,
    steps: Steps | None = None,
    shape: Shape = (34, 34, 2),
    dtype: Any = None,
) -> Array:
    """Spikes: 1 where a cell has at least one event in a step.

    Events before the first and after the last step are left out. No gradient.

    Args:
      events: `[B, M]`, uint32, as in `data.Recordings`.
      num_steps: T.
      steps: the step of each event; default `by_time(10_000)`.
      shape: of the sensor; its product is the number of cells that the events were packed with.
      dtype: of the spikes; default the float type. A byte or a bool takes a quarter of the memory.

    Returns:
      `[T, B, *shape]`, 0 or 1.

    Raises:
      TypeError: events that are no array or of another dtype; `num_steps` or a size in `shape` not
        an integer; `steps` no function, or one that does not give integers.
      ValueError: events of another rank; `num_steps` or a size below 1; 2³¹ cells or more in the
        result; `steps` that change the shape.

    >>> words = jnp.array([[10_000 * 4 + 3, 10_001 * 4 + 3, 2**32 - 1]], jnp.uint32)
    >>> event_spikes(words, 2, shape=(2, 2)).tolist()
    [[[[0.0, 0.0], [0.0, 0.0]]], [[[0.0, 0.0], [0.0, 1.0]]]]
    """
    where, size, out = _places(events, num_steps, steps, shape)
    spikes = jnp.zeros(size, jnp.uint8).at[where].set(1, mode="drop")
    return spikes.reshape(out).astype(jnp.result_type(float) if dtype is None else dtype)


def event_counts(
    events: Any,
    num_steps: int,
    *,
    steps: Steps | None = None,
    shape: Shape = (34, 34, 2),
    dtype: Any = None,
) -> Array:
    """Counts: how many events a cell has in a step.

    Args:
      events: as `event_spikes`.
      num_steps: T.
      steps: as `event_spikes`.
      shape: as `event_spikes`.
      dtype: of the counts; default the float type. An integer type holds its largest number where
        a count is larger.

    Returns:
      `[T, B, *shape]`.

    Raises:
      TypeError, ValueError: as `event_spikes`.

    >>> words = jnp.array([[10_000 * 4 + 3, 10_001 * 4 + 3, 2**32 - 1]], jnp.uint32)
    >>> event_counts(words, 2, shape=(4,), dtype=jnp.uint8).tolist()
    [[[0, 0, 0, 0]], [[0, 0, 0, 2]]]
    """
    where, size, out = _places(events, num_steps, steps, shape)
    most = jnp.shape(events)[1]  # a cell cannot have more, so the smallest type that holds it
    narrow = jnp.uint8 if most < 2**8 else jnp.uint16 if most < 2**16 else jnp.uint32
    counts = jnp.zeros(size, narrow).at[where].add(narrow(1), mode="drop").reshape(out)
    dtype = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
    if jnp.issubdtype(dtype, jnp.integer) and jnp.iinfo(dtype).max < jnp.iinfo(narrow).max:
        counts = jnp.minimum(counts, narrow(jnp.iinfo(dtype).max))
    return counts.astype(dtype)


def _places(
    events: Any, num_steps: int, steps: Steps | None, shape: Shape
) -> tuple[Array, int, Shape]:
    """For each event the index of its cell among all, or one past the end; their number; shape."""
    num_steps, shape = checks.count("num_steps", num_steps), checks.sensor(shape)
    checks.array("events", events)
    checks.rank("events", events, "BM", "; one row of words for each recording")
    if events.dtype != jnp.uint32:
        raise TypeError(f"events must be uint32, got dtype {events.dtype}")
    steps = by_time(10_000) if steps is None else steps
    checks.function("steps", steps)
    events = jnp.asarray(events)
    batch, cells = events.shape[0], math.prod(shape)
    size = num_steps * batch * cells
    if size >= 2**31:
        raise ValueError(
            f"events of {batch} recordings in {num_steps} steps of {cells} cells make {size} "
            "numbers, more than 2³¹ - 1 can be indexed: bin them in parts"
        )
    times, cell = events // jnp.uint32(cells), events % jnp.uint32(cells)
    step = _checked_steps(steps(times if cells == 1 else times.astype(jnp.int32)), events.shape)
    rows = jnp.arange(batch, dtype=jnp.int32)[:, None]
    inside = (events != jnp.uint32(_PAD)) & (step >= 0) & (step < num_steps)
    where = (step.astype(jnp.int32) * batch + rows) * cells + cell.astype(jnp.int32)
    return jnp.where(inside, where, size).ravel(), size, (num_steps, batch, *shape)


def _checked_steps(step: Any, shape: Shape) -> Array:
    """What a function of the user gives for the events, in at least 32 bits."""
    if not isinstance(step, np.ndarray | jax.Array) or not jnp.issubdtype(step.dtype, jnp.integer):
        got = getattr(step, "dtype", type(step).__name__)
        raise TypeError(f"steps must give an array of integers, got {got}")
    if step.shape != shape:
        raise ValueError(f"steps must give shape {list(shape)}, got {list(step.shape)}")
    step = jnp.asarray(step)
    return step.astype(jnp.int32) if step.dtype.itemsize < 4 else step
