"""The dtype in which a layer without weights computes."""

from typing import Any

import jax.numpy as jnp

from stbp_jax.core import Array


def float_type(x: Array) -> Any:
    """The dtype of `x` where it is a float, else the default float."""
    floats = jnp.issubdtype(x.dtype, jnp.floating)
    return jnp.result_type(x) if floats else jnp.result_type(float)
