"""Constraints of kernels, a mask or a sign for one, which `dense` and `conv` apply."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array
from stbp_jax.initializers import Weights

Constraint = Callable[[Array], Array]
"""`kernel -> kernel` of the same shape; gradients cross it."""


def check_constraint(constraint: Constraint | None, kernel: Array) -> None:
    """Refuses a constraint that is no function from a kernel to one of its shape."""
    if constraint is None:
        return
    arguments.function("constraint", constraint, "a function from kernel to kernel")
    shape = jnp.shape(jax.eval_shape(constraint, kernel))
    if shape != kernel.shape:
        raise ValueError(
            f"constraint must keep the kernel's shape {list(kernel.shape)}, got {list(shape)}"
        )


def constrained(weights: Weights, constraint: Constraint | None) -> Array:
    return weights.kernel if constraint is None else constraint(weights.kernel)


def present(weights: Weights, constraint: Constraint | None) -> Array:
    """1 where a synapse is, float32; where a constraint makes a weight 0 is none."""
    if constraint is None:
        return jnp.ones(weights.kernel.shape, jnp.float32)
    return (constraint(weights.kernel) != 0).astype(jnp.float32)
