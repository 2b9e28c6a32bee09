"""Checks of arguments: what is wrong, with what came and what was wanted.

Values are looked at only when they are concrete; a traced value passes, because its number is not
known when the program is made.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def concrete(x: Any) -> bool:
    """Whether the numbers in `x` are known now."""
    return not isinstance(x, jax.core.Tracer)


def number(name: str, x: Any, wanted: str, ok: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Returns `x` as a float leaf after testing it with `ok` where it is concrete.

    A Python number stays a Python float: it is weakly typed, so it never widens a bfloat16
    membrane, and it starts no backend at import.
    """
    if not concrete(x):
        return x
    if not isinstance(x, bool) and isinstance(x, int | float):
        x = float(x)
    values = np.asarray(x)
    if isinstance(x, list | tuple) or not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"{name} must be a float or an array of floats, got {x!r}")
    if not np.all(ok(values.astype(np.float64))):
        raise ValueError(f"{name} must be {wanted}, got {x!r}")
    return x


def positive(name: str, x: Any) -> Any:
    """A finite float above 0."""
    return number(name, x, "positive and finite", lambda v: np.isfinite(v) & (v > 0))


def not_negative(name: str, x: Any) -> Any:
    """A finite float of at least 0."""
    return number(name, x, "at least 0 and finite", lambda v: np.isfinite(v) & (v >= 0))


def open_unit_interval(name: str, x: Any) -> Any:
    """A float in (0, 1)."""
    return number(name, x, "inside (0, 1)", lambda v: (v > 0) & (v < 1))


def unit_interval(name: str, x: Any) -> Any:
    """A float in [0, 1]."""
    return number(name, x, "between 0 and 1", lambda v: (v >= 0) & (v <= 1))


def count(name: str, n: Any, *, least: int = 1) -> int:
    """An integer of at least `least`; static, so a traced one is refused."""
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
    """An array with one axis for each letter of `axes`."""
    shape = jnp.shape(x)
    if len(shape) != len(axes):
        wanted = "[" + ", ".join(axes) + "]"
        raise ValueError(f"{name} must have shape {wanted}, got {list(shape)}{hint}")


def _array(x: Any) -> Any:
    return np.asarray(x) if isinstance(x, list | tuple) else x


def images(name: str, x: Any) -> None:
    """Images as uint8, or as floats in [0, 1]."""
    dtype = jnp.result_type(_array(x))
    if dtype == jnp.uint8:
        return
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name} must be uint8, or floats in [0, 1], got dtype {dtype}")
    if concrete(x) and np.size(x):
        values = np.asarray(x, np.float64)
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 1):  # false for NaN too
            raise ValueError(
                f"{name} must be finite and in [0, 1], got values from {low:g} to {high:g}"
            )


def labels(name: str, x: Any, *, batch: int, classes: int) -> None:
    """Integer labels `[B]` in [0, C), as many as there are examples."""
    x = _array(x)
    if not jnp.issubdtype(jnp.result_type(x), jnp.integer):
        raise TypeError(f"{name} must be integers, got dtype {jnp.result_type(x)}")
    shape = jnp.shape(x)
    if shape != (batch,):
        raise ValueError(
            f"{name} must have shape [{batch}], one for each example, got {list(shape)}; "
            "if the scores come from outputs, those must be time-major, [T, B, C]"
        )
    if concrete(x) and batch:
        values = np.asarray(x)  # np.min of a jax array would be traced inside jit
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= classes:
            raise ValueError(f"{name} must lie in [0, {classes}), got values from {low} to {high}")


# Arguments of codings, losses and layers ----------------------------------------------------------


def function(name: str, f: Any, *, optional: bool = False) -> Any:
    """Something that can be called, or None where it is optional."""
    if not callable(f) and not (optional and f is None):
        wanted = "callable or None" if optional else "callable"
        raise TypeError(f"{name} must be {wanted}, got {f!r}")
    return f


def array(name: str, x: Any) -> Any:
    """An array of NumPy without a mask, or of JAX, traced or not; lists and other things are none.

    The message names the type alone: a list may be long.
    """
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} must have no mask, got a masked array; fill it or select from it")
    if not isinstance(x, np.ndarray | jax.Array):
        raise TypeError(f"{name} must be an array of NumPy or JAX, got {type(x).__name__}")
    return x


def key(name: str, x: Any) -> Any:
    """One random key: typed, or the `[words]` of an old-style one; known under a trace too."""
    array(name, x)
    typed = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    if not typed and x.dtype != np.uint32:
        raise TypeError(f"{name} must be a random key, jax.random.key(0) for one, got {x.dtype}")
    if x.ndim != (0 if typed else 1):
        raise ValueError(f"{name} must be a single key, got keys of shape {list(x.shape)}")
    return x


def held(name: str, x: Any) -> Any:
    """Numbers that keep their meaning in the types of the computation, 32 bits by default.

    Floats may round, but not to 0 or infinity; integers may not change at all.
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


def real(name: str, x: Any, wanted: str = "real numbers") -> Any:
    """An array of floats, integers or bools."""
    array(name, x)
    if not any(jnp.issubdtype(x.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise TypeError(f"{name} must be {wanted}, got dtype {x.dtype}")
    return x


def listed(name: str, x: Any) -> Any:
    """An array, or a list or tuple of numbers made one; without any they are integers."""
    if not isinstance(x, list | tuple):
        return array(name, x)
    try:
        values = np.asarray(x)
    except ValueError as error:  # rows of unequal lengths
        raise ValueError(f"{name} must be an array: {error}") from None
    return values if values.size else values.astype(np.int32)


def scalar(name: str, x: Any) -> None:
    """A number without axes; the shape of a traced one is known too."""
    if jnp.shape(x) != ():
        raise ValueError(f"{name} must be a scalar, got shape {list(jnp.shape(x))}")


def shape(name: str, sizes: Any) -> tuple[int, ...]:
    """The sizes of axes: static integers of at least 0."""
    try:
        if isinstance(sizes, str):
            raise TypeError
        return tuple(count(name, size, least=0) for size in sizes)
    except TypeError:
        raise TypeError(f"{name} must be a tuple of static integers, got {sizes!r}") from None


def dtype(name: str, x: Any, wanted: str, *kinds: Any) -> Any:
    """A dtype of one of the kinds, or None."""
    if x is None:
        return x
    try:
        found = jnp.dtype(x)
    except (TypeError, ValueError, SyntaxError):
        raise TypeError(f"{name} must be {wanted}, got {x!r}") from None
    if not any(jnp.issubdtype(found, kind) for kind in kinds):
        raise TypeError(f"{name} must be {wanted}, got {found}")
    return x
