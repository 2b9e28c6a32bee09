"""The dtype of computations in layers without weights."""

from typing import Any

import jax.numpy as jnp

from stbp_jax.core import Array


def float_type(x: Array) -> Any:
    """The dtype of `x` if it is a float dtype, otherwise the default float."""
    floats = jnp.issubdtype(x.dtype, jnp.floating)
    return jnp.result_type(x) if floats else jnp.result_type(float)


def as_floats(x: Array) -> Array:
    """Integers and bools as floats, which can be added to outputs under strict dtype promotion."""
    return jnp.asarray(x, float_type(x))
