"""Sequences from packed events, on the device: spikes or counts of each address in each step.

Binning is a scatter of bytes: all addresses of a batch are written once, and each event touches one
of them. `data` reads the files and packs the events.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments
from stbp_jax.core import Array, Shape
from stbp_jax.events.steps import Steps, by_time

_PAD = 2**32 - 1  # as `data` writes it; the two rooms meet in the array alone


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
    num_steps, shape = arguments.count("num_steps", num_steps), arguments.sensor(shape)
    arguments.array("events", events)
    arguments.rank("events", events, "BM", "; one row of words for each recording")
    if events.dtype != jnp.uint32:
        raise TypeError(f"events must be uint32, got dtype {events.dtype}")
    steps = by_time(10_000) if steps is None else steps
    arguments.function("steps", steps)
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
