"""Checks and shapes of a population's constants: one number for all units, or one for each."""

from typing import Any

import jax
import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Shape
from stbp_jax.surrogates import Surrogate


def check_per_unit(name: str, value: Any, units: Shape) -> None:
    """Check that a constant is a scalar or has the units' shape; raise ValueError otherwise."""
    shape = jnp.shape(value)
    if shape not in ((), tuple(units)):
        raise ValueError(
            f"{name} must be a scalar or have the units' shape {list(units)}, got {list(shape)}"
        )


def check_surrogate(surrogate: Any) -> Surrogate:
    """Return a `Surrogate` unchanged; raise TypeError for any other object."""
    return arguments.instance("surrogate", surrogate, Surrogate, "a Surrogate, such as arctan()")


def check_constants(constants: Any, units: Shape) -> None:
    """Check that each constant, and each width of the surrogate, is a scalar or `[*units]`.

    Args:
      constants: a NamedTuple of numbers and a `surrogate`.
      units: shape of the population, without B.

    Raises:
      ValueError: a constant or a width of another shape.
    """
    for name, value in constants._asdict().items():
        if name == "surrogate":
            for leaf in jax.tree.leaves(value):
                check_per_unit("the surrogate's width", leaf, units)
        else:
            check_per_unit(name, value, units)


def with_batch(constants: Any) -> Any:
    """Add a batch axis of size 1 to the leaves of shape `[*units]`; scalars stay."""
    return jax.tree.map(lambda c: c[None] if jnp.ndim(c) else c, constants)
