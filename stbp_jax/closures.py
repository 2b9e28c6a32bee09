"""What a `jax.custom_vjp` needs: closed-over tracers as arguments, an error for forward mode.

The rule of a custom_vjp runs later than its function, when the trace of a closed-over tracer may
have ended. Every closed-over tracer therefore becomes an argument.
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
    """Turn the tracers that a function closes over into further arguments.

    `jax.closure_convert` converts only the tracers of differentiation; this function converts
    those of batching too.

    Args:
      function: a pure function of pytrees.
      *args: example arguments, pytrees of arrays.

    Returns:
      `(converted, closed)`, with `converted(*args, *closed)` equal to `function(*args)`; `function`
      itself and `()` if it closes over no tracer.

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
    closed = tuple(jnp.asarray(c) for t, c in zip(traced, jaxpr.consts, strict=True) if t)
    # A program keeps the converted function: it must hold no tracer of its own. Since JAX 0.11
    # a jaxpr holds the values of its constants, unless they are arguments.
    known = [None if t else c for t, c in zip(traced, jaxpr.consts, strict=True)]
    inner = jaxpr.jaxpr
    inner = inner.replace(constvars=[], invars=[*inner.constvars, *inner.invars])
    return _converted(inner, known, traced, len(args), jax.tree.structure(out)), closed


def _converted(
    jaxpr: Any, known: list[Any], traced: list[bool], count: int, tree: Any
) -> Callable[..., Any]:
    """The function of `count` arguments and the traced constants that a jaxpr computes."""
    run = jaxpr_as_fun(ClosedJaxpr(jaxpr, ()))

    def converted(*given: Any) -> Any:
        closed = iter(given[count:])
        consts = [next(closed) if t else c for t, c in zip(traced, known, strict=True)]
        return tree.unflatten(run(*consts, *jax.tree.leaves(given[:count])))

    return converted


def reverse_mode(function: Callable[..., Any], *args: Any) -> Any:
    """Call what may run a `jax.custom_vjp`, with an error in forward mode that names the way out.

    Where JAX differentiates a program that it has traced before, as in `jax.jvp(jax.jit(f), ...)`,
    no code of the library runs and the error is JAX's own. Its traceback then ends in the line of
    the call below, whose comment names the way out.

    Raises:
      TypeError: under forward-mode differentiation.
    """
    try:
        return function(*args)  # Forward mode needs surrogates.forward_mode and stepwise(network).
    except TypeError as error:
        if not str(error).startswith("can't apply forward-mode"):
            raise
        raise TypeError(
            "forward mode (jvp, jacfwd, hessian) does not cross the default spike, the fast "
            "unrolls and the products other than full_matmul, whose rules are for reverse mode: "
            "use a surrogate of surrogates.forward_mode, and stepwise(network) or "
            "lif(unroll=lif_scan)"
        ) from error


def no_gradient(x: Array) -> Any:
    """Return the zero cotangent of an argument without gradient, in the dtype JAX expects."""
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.zeros_like(x)
    return np.zeros(x.shape, jax.dtypes.float0)
