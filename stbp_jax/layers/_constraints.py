"""Constraints on the kernels of `dense` and `conv`, such as masks and fixed signs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array
from stbp_jax.initializers import Weights

Constraint = Callable[[Array], Array]
"""`kernel -> kernel` of the same shape; gradients cross it."""


def check_constraint(constraint: Constraint | None, kernel: Array) -> None:
    """Raises unless the constraint is None or maps a kernel to a kernel of the same shape."""
    if constraint is None:
        return
    arguments.function("constraint", constraint, "a function from kernel to kernel")
    shape = jnp.shape(jax.eval_shape(constraint, kernel))
    if shape != kernel.shape:
        raise ValueError(
            f"constraint must keep the kernel's shape {list(kernel.shape)}, got {list(shape)}"
        )


def constrained(weights: Weights, constraint: Constraint | None) -> Array:
    """The kernel with the constraint applied."""
    return weights.kernel if constraint is None else constraint(weights.kernel)


def present(weights: Weights, constraint: Constraint | None) -> Array:
    """1 for each synapse and 0 for each weight that the constraint makes 0, float32."""
    if constraint is None:
        return jnp.ones(weights.kernel.shape, jnp.float32)
    return (constraint(weights.kernel) != 0).astype(jnp.float32)
