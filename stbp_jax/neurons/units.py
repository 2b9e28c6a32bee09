"""Constants of a population: one number for all units, or one for each."""

from typing import Any

import jax
import jax.numpy as jnp

from stbp_jax.core import Shape


def check_per_unit(name: str, value: Any, units: Shape) -> None:
    """Refuses a constant that is neither one number nor one for each unit."""
    shape = jnp.shape(value)
    if shape not in ((), tuple(units)):
        raise ValueError(
            f"{name} must be a scalar or have the units' shape {list(units)}, got {list(shape)}"
        )


def with_batch(constants: Any) -> Any:
    """Gives per-unit leaves a batch axis; scalars stay."""
    return jax.tree.map(lambda c: c[None] if jnp.ndim(c) else c, constants)
