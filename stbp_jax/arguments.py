"""Checks of arguments, whose errors name the argument, the expected value and the given value.

Values are checked only if they are concrete. A traced value passes, because its number is not known
when the program is traced.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def concrete(x: Any) -> bool:
    """Whether this process knows the values in `x`.

    It does not under a trace, nor for an array with parts on the devices of other processes.
    """
    return not isinstance(x, jax.core.Tracer) and getattr(x, "is_fully_addressable", True)


def number(name: str, x: Any, wanted: str, ok: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Returns `x` as a float or an array of floats, after testing a concrete `x` with `ok`.

    A Python number becomes a Python float, not an array. A Python float is weakly typed, so it
    never widens a bfloat16 membrane, and it starts no backend at import.
    """
    if not concrete(x):
        return x
    unmasked(name, x)
    if not isinstance(x, bool) and isinstance(x, int | float):
        x = float(x)
    values = np.asarray(x)
    if isinstance(x, list | tuple) or not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"{name} must be a float or an array of floats, got {x!r}")
    if values.size == 0:
        raise ValueError(f"{name} must hold at least one number, got none: {x!r}")
    if not np.all(ok(values.astype(np.float64))):
        raise ValueError(f"{name} must be {wanted}, got {x!r}")
    return x


def positive(name: str, x: Any) -> Any:
    """Returns `x`, finite floats above 0."""
    return number(name, x, "positive and finite", lambda v: np.isfinite(v) & (v > 0))


def not_negative(name: str, x: Any) -> Any:
    """Returns `x`, finite floats of at least 0."""
    return number(name, x, "at least 0 and finite", lambda v: np.isfinite(v) & (v >= 0))


def open_unit_interval(name: str, x: Any) -> Any:
    """Returns `x`, floats in (0, 1)."""
    return number(name, x, "inside (0, 1)", lambda v: (v > 0) & (v < 1))


def unit_interval(name: str, x: Any) -> Any:
    """Returns `x`, floats in [0, 1]."""
    return number(name, x, "between 0 and 1", lambda v: (v >= 0) & (v <= 1))


def count(name: str, n: Any, *, least: int = 1) -> int:
    """Returns `n` as a Python integer of at least `least`; traced values raise."""
    try:
        if isinstance(n, bool) or not concrete(n):
            raise TypeError
        value = operator.index(n)
    except TypeError:
        raise TypeError(f"{name} must be a static integer, got {n!r}") from None
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return value


def rank(name: str, x: Any, axes: Sequence[str], hint: str = "") -> None:
    """Raises unless `x` has one axis for each name in `axes`."""
    unmasked(name, x)
    shape = jnp.shape(x)
    if len(shape) != len(axes):
        wanted = "[" + ", ".join(axes) + "]"
        raise ValueError(f"{name} must have shape {wanted}, got {list(shape)}{hint}")


def array(name: str, x: Any, wanted: str = "an array of real numbers") -> Any:
    """Returns `x`, an array of real numbers or bools without a mask, in native byte order."""
    if not isinstance(x, np.ndarray | np.generic | jax.Array):
        raise TypeError(f"{name} must be an array, got {type(x).__name__}")
    unmasked(name, x)
    kinds = jnp.floating, jnp.integer, jnp.bool_
    real = any(jnp.issubdtype(x.dtype, kind) for kind in kinds)
    if not real or jnp.issubdtype(x.dtype, np.timedelta64):
        raise TypeError(f"{name} must be {wanted}, got dtype {x.dtype}")
    if not getattr(x.dtype, "isnative", True):
        raise TypeError(f"{name} must be in the byte order of this machine, got {x.dtype.str}")
    return x


def no_nan(name: str, x: Any) -> None:
    """Raises if concrete spikes hold NaN."""
    known = concrete(x) and jnp.issubdtype(x.dtype, jnp.floating)
    if known and np.any(np.isnan(np.asarray(x))):
        raise ValueError(f"{name} must hold no NaN, which is neither a spike nor silence")


def sequence(name: str, xs: Any) -> None:
    """Raises unless `xs` is a time-major sequence `[T, B, ...]` with T >= 1."""
    array(name, xs)
    if xs.ndim < 2 or xs.shape[0] == 0:
        raise ValueError(
            f"{name} must be time-major sequences [T, B, ...] with T >= 1, got {list(xs.shape)}"
        )


def sequences(name: str, xs: Any) -> tuple[int, int]:
    """Returns T and B, which all time-major sequences `[T, B, ...]` of a pytree must have."""
    leaves = jax.tree.leaves_with_path(xs)
    if not any(hasattr(x, "shape") for _, x in leaves):
        sequence(name, xs)  # raises: a list of numbers, or nothing
    for path, x in leaves:
        sequence(name + jax.tree_util.keystr(path), x)
    sizes = {x.shape[:2]: name + jax.tree_util.keystr(path) for path, x in leaves}
    if len(sizes) > 1:
        (first, one), (other, two) = list(sizes.items())[:2]
        raise ValueError(
            f"{name} must have one T and one B in all arrays, got {list(first)} in {one} and "
            f"{list(other)} in {two}"
        )
    return leaves[0][1].shape[:2]


def steps_of(name: str, mask: Any, xs: Any) -> Any:
    """Return a mask of the steps of each example, bool `[T, B, 1, ...]` of the rank of `xs`.

    Raises unless it is bool `[T, B]`, with a step for each example.
    """
    restarts(name, mask, xs)
    if concrete(mask) and not np.asarray(mask).any(axis=0).all():
        empty = int(np.argmin(np.asarray(mask).any(axis=0)))
        raise ValueError(f"{name} must have a step for each example, got none for example {empty}")
    return jnp.expand_dims(jnp.asarray(mask), range(2, xs.ndim))


def flags(name: str, x: Any) -> None:
    """Raises unless `x` is an array of bool."""
    if not isinstance(x, np.ndarray | jax.Array) or x.dtype != bool:
        kind = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"{name} must be an array of bool, got {kind}")


def restarts(name: str, is_first: Any, xs: Any) -> None:
    """Raises unless `is_first` is bool `[T, B]` for the sequences `xs`, leaves `[T, B, ...]`."""
    flags(name, is_first)
    wanted = jax.tree.leaves(xs)[0].shape[:2]
    if is_first.shape != wanted:
        raise ValueError(
            f"{name} must have shape [T, B] = {list(wanted)}, as the inputs do, got "
            f"{list(is_first.shape)}"
        )


def state(name: str, state: Any, shape: Sequence[int]) -> None:
    """Raises unless all arrays of the state have the shape of one time slice, `[B, *units]`."""
    for leaf in jax.tree.leaves(state):
        if jnp.shape(leaf) != tuple(shape):
            raise ValueError(
                f"{name} must have the shape of one time slice of the inputs, [B, *units] = "
                f"{list(shape)}, got {list(jnp.shape(leaf))}"
            )


def batch(name: str, state: Any, size: int) -> None:
    """Raises unless all arrays of the state have the leading axis B = `size`."""
    for leaf in jax.tree.leaves(state):
        if jnp.ndim(leaf) and jnp.shape(leaf)[0] != size:
            raise ValueError(
                f"{name} must have the batch size of the inputs, B = {size}, got an array of shape "
                f"{list(jnp.shape(leaf))}"
            )


def same_steps(name: str, xs: Any) -> None:
    """Raises unless all steps of a concrete sequence are the same."""
    steps = np.asarray(xs)
    floats = np.issubdtype(steps.dtype, np.inexact)  # NaN counts as equal to NaN
    differ = [t for t in range(1, len(steps)) if not np.array_equal(steps[t], steps[0], floats)]
    if differ:
        raise ValueError(
            f"{name} must be the same at all {len(steps)} steps for inputs=static_input, got other "
            f"values at step {differ[0]}; use inputs=varying_input"
        )


def instance(name: str, x: Any, kind: Any, wanted: str) -> Any:
    """Returns `x`, an instance of `kind`, which `wanted` describes."""
    if not isinstance(x, kind):
        got = f"the function {x.__name__}" if hasattr(x, "__name__") else repr(x)
        raise TypeError(f"{name} must be {wanted}, got {got}")
    return x


def function(name: str, x: Any, wanted: str = "a function", *, optional: bool = False) -> Any:
    """Returns `x`, a callable that `wanted` describes, or None if it is optional."""
    if not (callable(x) or (optional and x is None)):
        raise TypeError(f"{name} must be {wanted}{' or None' if optional else ''}, got {x!r}")
    return x


def _array(x: Any) -> Any:
    """A list or tuple as an array; other values unchanged."""
    return np.asarray(x) if isinstance(x, list | tuple) else x


def images(name: str, x: Any) -> None:
    """Raises unless images are uint8, or floats in [0, 1]."""
    unmasked(name, x)
    dtype = jnp.result_type(_array(x))
    if dtype == jnp.uint8:
        return
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name} must be uint8, or floats in [0, 1], got dtype {dtype}")
    if concrete(x) and np.size(x):
        values = np.asarray(x, np.float64)
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 1):  # NaN fails both comparisons
            raise ValueError(
                f"{name} must be finite and in [0, 1], got values from {low:g} to {high:g}"
            )


def labels(name: str, x: Any, *, shape: Sequence[int], classes: int) -> None:
    """Raises unless labels are integers of this shape, `[B]` or `[T, B]`, in [0, `classes`)."""
    unmasked(name, x)
    as_scores = f"of the scores' shape {[*shape, classes]}"
    x, predicted = _array(x), f"; numbers to predict are floats {as_scores}"
    if not jnp.issubdtype(jnp.result_type(x), jnp.integer):
        hint = predicted if jnp.shape(x) == tuple(shape) else ""
        raise TypeError(f"{name} must be integers, got dtype {jnp.result_type(x)}{hint}")
    if jnp.shape(x) != tuple(shape):
        each = "example" if len(shape) == 1 else "step of each example"
        hint = (
            "if the scores come from outputs, those must be time-major, [T, B, C]"
            if len(shape) == 1
            else "outputs [T, B, C] that meet labels [B] need a readout first, such as rate(outs)"
        )
        raise ValueError(
            f"{name} must have shape {list(shape)}, one for each {each}, got "
            f"{list(jnp.shape(x))}; {hint}"
        )
    if classes == 1:
        raise ValueError(f"{name} are labels, which need two outputs or more, got one{predicted}")
    if concrete(x) and 0 not in shape:
        values = np.asarray(x)  # inside jit, np.min of a JAX array would be traced
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= classes:
            raise ValueError(f"{name} must lie in [0, {classes}), got values from {low} to {high}")


def unmasked(name: str, x: Any) -> None:
    """Raises for masked NumPy arrays: most conversions drop the mask and keep the hidden values."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be an array without a mask, got a masked array; use .filled(value)"
        )


# Arguments of training and sweeps -----------------------------------------------------------------


def key(name: str, x: Any) -> Any:
    """Returns `x`, a single random key, traced or not: typed, or old-style words."""
    if not isinstance(x, np.ndarray | jax.Array):
        raise TypeError(
            f"{name} must be a random key, such as jax.random.key(0), got {type(x).__name__}"
        )
    typed = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    if not typed and x.dtype != np.uint32:
        raise TypeError(f"{name} must be a random key, such as jax.random.key(0), got {x.dtype}")
    if x.ndim != (0 if typed else 1):
        raise ValueError(f"{name} must be a single key, got keys of shape {list(x.shape)}")
    if not typed:
        try:
            jax.eval_shape(jax.random.wrap_key_data, x)
        except TypeError:  # a threefry key has two words, an rbg key four
            raise ValueError(
                f"{name} must have the words of a key, as jax.random.key_data gives, got {len(x)}"
            ) from None
    return x


def held(name: str, x: Any) -> Any:
    """Returns `x`, whose numbers keep their values in the dtype of the computation.

    The computation uses 32 bits by default. Floats may be rounded, but not to 0 or infinity.
    Integers must not change.
    """
    if not concrete(x) or jnp.issubdtype(jnp.result_type(x), jax.dtypes.extended):
        return x
    values = np.asarray(x)
    dtype = jax.dtypes.canonicalize_dtype(values.dtype)
    if dtype == values.dtype:
        return x
    with np.errstate(over="ignore", under="ignore"):
        kept = values.astype(dtype)
    if jnp.issubdtype(values.dtype, jnp.integer):
        changed = kept.astype(values.dtype) != values
        changed |= (kept < 0) != (values < 0)
    else:
        changed = (np.isfinite(kept) != np.isfinite(values)) | ((kept == 0) != (values == 0))
    if np.any(changed):
        raise ValueError(
            f"{name} must hold numbers that {dtype} can hold, got {values[changed].flat[0]!r}; "
            "jax_enable_x64 allows more"
        )
    return x


# Numbers and iterables ----------------------------------------------------------------------------


def integer(name: str, n: Any) -> int:
    """Returns `n`, of any sign, as a Python integer, which cannot wrap around."""
    try:
        if isinstance(n, bool) or not concrete(n):
            raise TypeError
        return operator.index(n)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {n!r}") from None


def scalar(name: str, x: Any) -> None:
    """Raises if `x` has axes."""
    if np.ndim(x):
        raise ValueError(f"{name} must be one number, got shape {list(np.shape(x))}")


def real(name: str, x: Any) -> None:
    """Raises unless `x` is one real number of Python, NumPy or JAX, traced or not."""
    if isinstance(x, bool) or not isinstance(x, int | float | np.generic | np.ndarray | jax.Array):
        raise TypeError(f"{name} must be a number, got {x!r}")
    dtype = np.dtype(type(x)) if isinstance(x, int | float) else x.dtype
    if dtype.kind not in "iuf" and not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name} must be a number, got {x!r}")
    scalar(name, x)


def sensor(shape: Any) -> tuple[int, ...]:
    """Returns the shape of a sensor as Python integers, if its addresses fit in 32 bits."""
    try:
        sizes = (shape,) if np.ndim(shape) == 0 else tuple(shape)
    except (TypeError, ValueError):
        raise TypeError(f"shape must be a tuple of integers, got {shape!r}") from None
    found = tuple(count("shape", size) for size in sizes)
    if math.prod(found) >= 2**32:
        raise ValueError(f"shape must have fewer than 2³² addresses, got {list(found)}")
    return found


def iterable(name: str, x: Any) -> None:
    """Raises unless `x` is iterable."""
    try:
        iter(x)
    except TypeError:
        raise TypeError(f"{name} must be iterable, got {type(x).__name__}") from None


# Arguments of encodings, losses and layers --------------------------------------------------------


def listed(name: str, x: Any) -> Any:
    """Returns an array as it is, and a list or tuple as an array; an empty list holds integers."""
    if not isinstance(x, list | tuple):
        return array(name, x)
    try:
        values = np.asarray(x)
    except ValueError as error:  # rows of unequal lengths
        raise ValueError(f"{name} must be an array: {error}") from None
    return array(name, values if values.size else values.astype(np.int32))


def shape(name: str, sizes: Any) -> tuple[int, ...]:
    """Returns the sizes of axes as Python integers of at least 0."""
    try:
        if isinstance(sizes, str):
            raise TypeError
        return tuple(count(name, size, least=0) for size in sizes)
    except TypeError:
        raise TypeError(f"{name} must be a tuple of static integers, got {sizes!r}") from None


def dtype(name: str, x: Any, wanted: str, *kinds: Any) -> Any:
    """Returns `x`, None or a dtype of one of the kinds, which `wanted` describes."""
    if x is None:
        return x
    try:
        found = jnp.dtype(x)
    except (TypeError, ValueError, SyntaxError):
        raise TypeError(f"{name} must be {wanted}, got {x!r}") from None
    if not any(jnp.issubdtype(found, kind) for kind in kinds):
        raise TypeError(f"{name} must be {wanted}, got {found}")
    return x
