"""Checks and shapes of a population's constants: numbers that broadcast to its units."""

from typing import Any

import jax
import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Shape
from stbp_jax.surrogates import Surrogate


def check_per_unit(name: str, value: Any, units: Shape) -> None:
    """Check that a constant broadcasts to the units' shape; raise ValueError otherwise."""
    shape = jnp.shape(value)
    axes = zip(reversed(shape), reversed(units), strict=False)
    if len(shape) > len(units) or any(n not in (1, size) for n, size in axes):
        raise ValueError(
            f"{name} must be a scalar or have a shape that broadcasts to the units' shape "
            f"{list(units)}, got {list(shape)}"
        )


def check_surrogate(surrogate: Any) -> Surrogate:
    """Return a `Surrogate` unchanged; raise TypeError for any other object."""
    return arguments.instance("surrogate", surrogate, Surrogate, "a Surrogate, such as arctan()")


def check_constants(constants: Any, units: Shape) -> None:
    """Check that each constant, and each width of the surrogate, broadcasts to `[*units]`.

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


def with_batch(constants: Any, like: Any) -> Any:
    """Add leading axes of size 1 to the leaves, to the rank of `like [B, *units]`; scalars stay."""

    def led(c: Any) -> Any:
        return c[(None,) * (jnp.ndim(like) - jnp.ndim(c))] if jnp.ndim(c) else c

    return jax.tree.map(led, constants)
