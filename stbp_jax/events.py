"""From packed events to sequences, on the device.

Decides which time step an event falls into and what a step holds: spikes or counts. Leaves out
files and the packing (`data`). Binning is a scatter of bytes: the cells of a batch are written
once, and each event touches one of them.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from stbp_jax import checks
from stbp_jax.core import Array, Shape

Steps = Callable[[Array], Array]
"""Times in microseconds, int32 `[B, M]` in order, to each event's step, int32 `[B, M]`."""

_PAD = 2**32 - 1  # as `data` writes it; the two rooms meet in the array alone


def by_time(microseconds: Any, *, start: Any = 0) -> Steps:
    """Steps of one length: step t holds start + t · microseconds <= time < that + microseconds.

    Args:
      microseconds: length of a step, an integer; may be traced.
      start: of the first step, an integer, negative too; may be traced. What comes earlier is left
        out.

    Returns:
      A function from times to steps.

    Raises:
      TypeError: numbers that are no integers.
      ValueError: a length below 1.

    >>> by_time(10_000)(jnp.array([0, 9_999, 10_000]))
    Array([0, 0, 1], dtype=int32)
    """
    for name, value in (("microseconds", microseconds), ("start", start)):
        if not jnp.issubdtype(jnp.result_type(value), jnp.integer):
            raise TypeError(f"{name} must be an integer, got {value!r}")
    if checks.concrete(microseconds) and microseconds < 1:
        raise ValueError(f"microseconds must be at least 1, got {microseconds}")
    return lambda times: (times - jnp.int32(start)) // jnp.int32(microseconds)


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
    events = checks.count("events", events)
    return lambda times: jnp.broadcast_to(
        jnp.arange(times.shape[-1], dtype=jnp.int32) // events, times.shape
    )


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
      TypeError: events of another dtype; `num_steps` not an integer.
      ValueError: events of another rank; `num_steps` below 1; 2³¹ cells or more in the result.

    >>> words = jnp.array([[10_000 * 4 + 3, 10_001 * 4 + 3, 2**32 - 1]], jnp.uint32)
    >>> event_spikes(words, 2, shape=(2, 2)).tolist()
    [[[[0.0, 0.0], [0.0, 0.0]]], [[[0.0, 0.0], [0.0, 1.0]]]]
    """
    where, size, out = _places(events, num_steps, steps, shape)
    spikes = jnp.zeros(size, jnp.uint8).at[where].set(1, mode="drop")
    return spikes.reshape(out).astype(dtype or jnp.result_type(float))


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
    dtype = jnp.dtype(dtype or jnp.result_type(float))
    if jnp.issubdtype(dtype, jnp.integer) and jnp.iinfo(dtype).max < jnp.iinfo(narrow).max:
        counts = jnp.minimum(counts, narrow(jnp.iinfo(dtype).max))
    return counts.astype(dtype)


def _places(
    events: Any, num_steps: int, steps: Steps | None, shape: Shape
) -> tuple[Array, int, Shape]:
    """For each event the index of its cell among all, or one past the end; their number; shape."""
    num_steps = checks.count("num_steps", num_steps)
    checks.rank("events", events, "BM", "; one row of words for each recording")
    if jnp.result_type(events) != jnp.uint32:
        raise TypeError(f"events must be uint32, got dtype {jnp.result_type(events)}")
    events = jnp.asarray(events)
    batch, cells = events.shape[0], math.prod(shape)
    size = num_steps * batch * cells
    if size >= 2**31:
        raise ValueError(
            f"events of {batch} recordings in {num_steps} steps of {cells} cells make {size} "
            "numbers, more than 2³¹ - 1 can be indexed: bin them in parts"
        )
    times, cell = events // jnp.uint32(cells), events % jnp.uint32(cells)
    step = (steps or by_time(10_000))(times.astype(jnp.int32))
    rows = jnp.arange(batch, dtype=jnp.int32)[:, None]
    inside = (events != jnp.uint32(_PAD)) & (step >= 0) & (step < num_steps)
    where = (step * batch + rows) * cells + cell.astype(jnp.int32)
    return jnp.where(inside, where, size).ravel(), size, (num_steps, batch, *shape)
