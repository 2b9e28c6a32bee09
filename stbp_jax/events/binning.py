"""Spikes or counts of every address in every step, from packed events, on the device.

Binning is a scatter of bytes: every address of a batch is written once, and every event touches one
address. `data` reads the files and packs the events.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped, UInt32

from stbp_jax import arguments
from stbp_jax.core import AnyArray, Array, Shape
from stbp_jax.events.steps import Steps, by_time

_PAD = 2**32 - 1  # as `data.PAD`, which is not imported: the packages share only the array


def event_spikes(
    events: UInt32[AnyArray, "B M"],
    num_steps: int,
    *,
    steps: Steps | None = None,
    shape: Shape = (34, 34, 2),
    dtype: Any = None,
) -> Shaped[Array, "T B *shape"]:
    """Spikes of each address in each step: 1 for at least one event, else 0.

    Events before the first and after the last step are dropped. There is no gradient.

    Args:
      events: `[B, M]`, uint32, as in `data.Recordings`.
      num_steps: number of steps T.
      steps: function from times to steps; default `by_time(10_000)`.
      shape: shape of the sensor; its product is the `num_addresses` of the packed events.
      dtype: type of the spikes; default float32, or float64 under x64. A byte or a bool takes a
        quarter of the memory of float32.

    Returns:
      `[T, B, *shape]`, 0 or 1.

    Raises:
      TypeError: events that are not a uint32 array; `num_steps` or a side of `shape` that is not an
        integer; `steps` that is not a function, or does not return integers.
      ValueError: events of another rank; `num_steps` or a side below 1; a result of 2³¹ numbers or
        more; `steps` that changes the shape.

    >>> words = jnp.array([[10_000 * 4 + 3, 10_001 * 4 + 3, 2**32 - 1]], jnp.uint32)
    >>> event_spikes(words, 2, shape=(2, 2)).tolist()
    [[[[0.0, 0.0], [0.0, 0.0]]], [[[0.0, 0.0], [0.0, 1.0]]]]
    """
    where, size, out = _places(events, num_steps, steps, shape)
    spikes = jnp.zeros(size, jnp.uint8).at[where].set(1, mode="drop")
    return spikes.reshape(out).astype(jnp.result_type(float) if dtype is None else dtype)


def event_counts(
    events: UInt32[AnyArray, "B M"],
    num_steps: int,
    *,
    steps: Steps | None = None,
    shape: Shape = (34, 34, 2),
    dtype: Any = None,
) -> Shaped[Array, "T B *shape"]:
    """Number of events of each address in each step.

    Args:
      events: as for `event_spikes`.
      num_steps: number of steps T.
      steps: as for `event_spikes`.
      shape: as for `event_spikes`.
      dtype: type of the counts; default float32, or float64 under x64. An integer type saturates
        at its largest number.

    Returns:
      `[T, B, *shape]`.

    Raises:
      TypeError, ValueError: as for `event_spikes`.

    >>> words = jnp.array([[10_000 * 4 + 3, 10_001 * 4 + 3, 2**32 - 1]], jnp.uint32)
    >>> event_counts(words, 2, shape=(4,), dtype=jnp.uint8).tolist()
    [[[0, 0, 0, 0]], [[0, 0, 0, 2]]]
    """
    where, size, out = _places(events, num_steps, steps, shape)
    most = jnp.shape(events)[1]  # of an address; the scatter uses the smallest type that holds it
    narrow = jnp.uint8 if most < 2**8 else jnp.uint16 if most < 2**16 else jnp.uint32
    counts = jnp.zeros(size, narrow).at[where].add(narrow(1), mode="drop").reshape(out)
    dtype = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
    if jnp.issubdtype(dtype, jnp.integer) and jnp.iinfo(dtype).max < jnp.iinfo(narrow).max:
        counts = jnp.minimum(counts, narrow(jnp.iinfo(dtype).max))
    return counts.astype(dtype)


def _places(
    events: Any, num_steps: int, steps: Steps | None, shape: Shape
) -> tuple[Array, int, Shape]:
    """Flat index of each event in the result, or one past its end; the result's size and shape."""
    num_steps, shape = arguments.count("num_steps", num_steps), arguments.sensor(shape)
    arguments.array("events", events)
    arguments.rank("events", events, "BM", "; one row of words for each recording")
    if events.dtype != jnp.uint32:
        raise TypeError(f"events must be uint32, got dtype {events.dtype}")
    steps = by_time(10_000) if steps is None else steps
    arguments.function("steps", steps)
    events = jnp.asarray(events)
    batch, num_addresses = events.shape[0], math.prod(shape)
    size = num_steps * batch * num_addresses
    if size >= 2**31:
        raise ValueError(
            f"events of {batch} recordings in {num_steps} steps of {num_addresses} addresses make "
            f"{size} numbers, expected at most 2³¹ - 1, which can be indexed: bin them in parts"
        )
    times, address = events // jnp.uint32(num_addresses), events % jnp.uint32(num_addresses)
    times = times if num_addresses == 1 else times.astype(jnp.int32)
    step = _checked_steps(steps(times), events.shape)
    rows = jnp.arange(batch, dtype=jnp.int32)[:, None]
    inside = (events != jnp.uint32(_PAD)) & (step >= 0) & (step < num_steps)
    where = (step.astype(jnp.int32) * batch + rows) * num_addresses + address.astype(jnp.int32)
    return jnp.where(inside, where, size).ravel(), size, (num_steps, batch, *shape)


def _checked_steps(step: Any, shape: Shape) -> Array:
    """The result of a user's function of steps, checked, in at least 32 bits."""
    if not isinstance(step, np.ndarray | jax.Array) or not jnp.issubdtype(step.dtype, jnp.integer):
        got = getattr(step, "dtype", type(step).__name__)
        raise TypeError(f"steps must give an array of integers, got {got}")
    if step.shape != shape:
        raise ValueError(f"steps must give shape {list(shape)}, got {list(step.shape)}")
    step = jnp.asarray(step)
    return step.astype(jnp.int32) if step.dtype.itemsize < 4 else step
