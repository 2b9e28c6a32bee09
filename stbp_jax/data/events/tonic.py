"""Recordings from data sets that follow the conventions of tonic.

tonic is not imported: the reader needs only the length of a data set, its items and its
`sensor_size`. No event is dropped, moved or sorted; a recording that breaks a rule raises an error.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import integer, plain, sides
from .packed import Recordings, pack_row, padded


def from_tonic(
    dataset: Any, shape: tuple[int, ...] | None = None, limit: int | None = None
) -> Recordings:
    """Pack a data set with items as in tonic: `(events, label)`.

    Events are a structured array with the fields `t`, microseconds, `x`, from the left, and, if the
    sensor has several, `y`, from the top, and polarity `p`. Each field holds integers of any width;
    its name or its NumPy title counts. In tonic an audio sensor has the size (x, 1, 1), and its
    events have no `y` and one constant `p`, which is not read.

    A 32-bit word holds longer times if the sensor has fewer addresses: 0.131 s for 128x128x2, 2.097
    s for 32x32x2. Downsample a larger sensor first, for example by `tonic.transforms.Downsample`,
    and pass the new `shape`. `read_shd` reads SHD and SSC faster, and with their speakers.

    Args:
      dataset: an object with `len` and items by number from 0.
      shape: rows, columns and polarities of the sensor, or channels alone. The default follows
        `dataset.sensor_size`, (x, y, p) in tonic: (y, x, p), or (x,) for an audio sensor.
        `event_spikes` needs the same shape.
      limit: largest number of recordings to read, from the first. Shuffle a set that is in order of
        classes before.

    Returns:
      Events and labels in the order of the data set.

    Raises:
      TypeError: a data set without length or items; an item that is not a pair; events that are not
        a structured array or have a mask; times, coordinates or a label that are not integers.
      ValueError: no shape is known; the data set is empty; fields are missing; an empty recording;
        coordinates outside the sensor; times that run backwards, start below 0 or are too long for
        a word; a negative label. The text names the item and the rule.

    Example:
      >>> events = np.array([(5, 2, 0, 1), (9, 0, 1, 0)], [(name, int) for name in "txyp"])
      >>> from_tonic([(events, 3)], shape=(2, 3, 2))
      Recordings(events=array([[ 65, 114]], dtype=uint32), labels=array([3], dtype=int32))

    Source: the conventions of tonic 1.7 (Lenz et al. 2021, tonic: event-based datasets).
    """
    sized = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if not sized or isinstance(dataset, dict):
        raise TypeError(
            f"dataset must have a length and items by number, got {type(dataset).__name__}"
        )
    shape = _shape(dataset, shape)
    count = len(dataset)
    if limit is not None:
        count = min(count, integer("limit", limit, least=1))
    if not count:
        raise ValueError("dataset is empty, expected at least one recording")
    rows, labels = [], np.empty(count, np.int32)
    for n in range(count):
        where, item = f"dataset[{n}]", dataset[n]
        if not isinstance(item, tuple | list) or len(item) != 2:
            size = f" of {len(item)}" if isinstance(item, tuple | list) else ""
            raise TypeError(
                f"{where} must be a pair of events and label, got {type(item).__name__}{size}"
            )
        rows.append(_row(item[0], shape, where))
        labels[n] = _label(item[1], where)
    return Recordings(padded(rows), labels)


def _shape(dataset: Any, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    size = getattr(dataset, "sensor_size", None)
    if shape is None:
        if size is None:
            raise ValueError("dataset has no sensor_size, so shape must be given")
        try:
            columns, rows, polarities = size
        except (TypeError, ValueError):
            raise ValueError(f"dataset.sensor_size must be (x, y, p), got {size!r}") from None
        shape = (columns,) if rows == polarities == 1 else (rows, columns, polarities)
        name = f"shape (dataset.sensor_size is {size!r})"
    else:
        name = "shape"
    shape = sides(name, shape)
    if len(shape) not in (1, 3) or math.prod(shape) < 2:
        raise ValueError(
            f"{name} must be of rows, columns, polarities or of channels alone, each at least 1 "
            f"and not all 1, got {shape!r}"
        )
    return shape


def _row(events: Any, shape: tuple[int, ...], where: str) -> NDArray[np.uint32]:
    rows, columns, polarities = (1, *shape, 1) if len(shape) == 1 else shape
    lengths = {"y": rows, "x": columns, "p": polarities}
    wanted = ["t", *(name for name, side in lengths.items() if side > 1)]
    if not isinstance(events, np.ndarray) or events.dtype.names is None or events.ndim != 1:
        raise TypeError(
            f"{where}: events must be a structured NumPy array [E] with fields "
            f"{', '.join(wanted)}, got {type(events).__name__}"
        )
    events = plain(f"{where}: events", events)
    fields = events.dtype.fields or {}  # by name and, where a field has one, by title
    if missing := [name for name in wanted if name not in fields]:
        raise ValueError(
            f"{where}: events without field {', '.join(missing)}; expected {', '.join(wanted)}, "
            f"got {', '.join(map(str, fields))} (names and titles)"
        )
    if not len(events):
        raise ValueError(f"{where}: an empty recording, expected at least one event")
    there = [name for name in ("t", *lengths) if name in fields]
    for name in there:
        kinds, dtype = "iub" if name == "p" else "iu", fields[name][0]
        if dtype.kind not in kinds:  # V for a field with axes
            raise TypeError(f"{where}: {name} must be integers, got {dtype}")
    addresses = np.zeros(len(events), np.int64)
    for name in there[1:]:
        side, values = lengths[name], events[name]
        # A single polarity is 1 in tonic's audio sets, and 0 elsewhere.
        base = int(values[0]) if name == "p" and side == 1 else 0
        if (outside := (values < base) | (values >= base + side)).any():
            at = int(np.argmax(outside))
            raise ValueError(
                f"{where}: event {at} has {name} = {values[at]}, outside the sensor; expected "
                f"{name} in {base}..{base + side - 1}"
            )
        addresses = addresses * side + (values.astype(np.int64) - base)
    return pack_row(events["t"], addresses, math.prod(shape), where)


def _label(label: Any, where: str) -> int:
    kind = "" if isinstance(label, np.ma.MaskedArray) else np.asarray(label).dtype.kind
    if not kind or kind not in "iu" or np.ndim(label):
        hint = "; let target_transform turn text into class indices" if kind in "USO" else ""
        raise TypeError(f"{where}: label must be an integer, got {label!r}{hint}")
    if not 0 <= label < 2**31:
        raise ValueError(f"{where}: label must be a class index from 0, got {label!r}")
    return int(label)
