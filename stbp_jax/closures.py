"""Functions that close over traced numbers, made fit for a `jax.custom_vjp`.

A custom_vjp rule runs later than the function that it belongs to, when the trace of a closed-over
tracer may have ended. What a function closes over therefore becomes an argument.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from stbp_jax.core import Array


def opened(
    function: Callable[..., Any], *args: Any
) -> tuple[Callable[..., Any], tuple[Array, ...]]:
    """The function with the tracers that it closes over as further arguments.

    `jax.closure_convert` opens only what is being differentiated; this opens what is batched too.

    Args:
      function: pure.
      *args: pytrees of arrays, examples of its arguments.

    Returns:
      `(function(*args, *closed), closed)`; the function itself where it closes over no tracer.

    >>> def doubled(gain):
    ...     function, closed = opened(lambda v: gain * v, 1.0)
    ...     return function(2.0, *closed), len(closed)
    >>> jax.vmap(doubled, out_axes=(0, None))(jnp.array([1.0, 3.0]))
    (Array([2., 6.], dtype=float32), 1)
    """
    jaxpr, out = jax.make_jaxpr(function, return_shape=True)(*args)
    traced = [isinstance(c, jax.core.Tracer) for c in jaxpr.consts]
    if not any(traced):
        return function, ()
    tree: Any = jax.tree.structure(out)

    def open_function(*given: Any) -> Any:
        closed = iter(given[len(args) :])
        consts = [next(closed) if t else c for t, c in zip(traced, jaxpr.consts, strict=True)]
        run = jaxpr_as_fun(ClosedJaxpr(jaxpr.jaxpr, consts))
        return tree.unflatten(run(*jax.tree.leaves(given[: len(args)])))

    return open_function, tuple(
        jnp.asarray(c) for t, c in zip(traced, jaxpr.consts, strict=True) if t
    )


def no_gradient(x: Array) -> Any:
    """The cotangent of an argument that receives no gradient, as `jax.custom_vjp` asks for it."""
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.zeros_like(x)
    return np.zeros(x.shape, jax.dtypes.float0)
