"""The spike function H(v), and two ways to differentiate it by a curve h(v).

`spike_by_rule`, a `jax.custom_vjp`, is for reverse mode alone. `spike_by_integral` has no rule of
its own, so that JAX differentiates it in every mode.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax.closures import no_gradient, opened, reverse_mode
from stbp_jax.core import Array, wide_dtype


def heaviside(v: Array) -> Array:
    """Heaviside step function: H(v) = 1 if v >= 0, 0 if v < 0, NaN if v is NaN.

    A NaN membrane gives a NaN spike, so that the loss of a diverged network is NaN.

    Args:
      v: floats of any shape, membranes minus thresholds.

    Returns:
      Spikes of the same shape and dtype.

    >>> heaviside(jnp.array([-0.5, 0.0, jnp.inf, jnp.nan]))
    Array([ 0.,  1.,  1., nan], dtype=float32)
    """
    # Only comparisons and selections: they lower inside Pallas kernels too.
    return jnp.where(v >= 0, jnp.ones_like(v), jnp.where(v < 0, jnp.zeros_like(v), v))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _spike(derivative: Callable[..., Array], v: Array, closed: tuple[Array, ...]) -> Array:
    return heaviside(v)


def _spike_forward(
    derivative: Callable[..., Array], v: Array, closed: tuple[Array, ...]
) -> tuple[Array, tuple[Array, tuple[Array, ...]]]:
    # Not `heaviside`: a second derivative differentiates these spikes. Where a rule calls its own
    # function, JAX (0.10 to 0.12) mixes up residuals that are arguments; copies cost nothing.
    return _spike(derivative, v, closed), jax.tree.map(jnp.copy, (v, closed))


def _spike_backward(
    derivative: Callable[..., Array], residuals: tuple[Array, tuple[Array, ...]], g: Array
) -> tuple[Array, tuple[Any, ...]]:
    v, closed = residuals
    return g * derivative(v, *closed), tuple(map(no_gradient, closed))


_spike.defvjp(_spike_forward, _spike_backward)


def spike_by_rule(derivative: Callable[[Array], Array], v: Array) -> Array:
    """H(v), whose vector-Jacobian product is `g * derivative(v)`.

    Args:
      derivative: the curve h; it may close over traced numbers, which receive no gradient.
      v: floats of any shape, membranes minus thresholds.

    Returns:
      Spikes of the same shape and dtype.

    Raises:
      TypeError: under forward-mode differentiation.
    """
    # Tracers that the curve closes over become arguments: a custom_vjp may not hold them.
    derivative, closed = opened(derivative, v)
    return reverse_mode(_spike, derivative, v, closed)


# A custom_jvp would serve both modes, but in jax 0.10 the Hessian of a scan over it is wrong.
def spike_by_integral(derivative: Callable[[Array], Array], v: Array) -> Array:
    """H(v) + ∫ h from stop_gradient(v) to v, where the integral is 0 and its derivative is h(v).

    Args:
      derivative: the curve h; it may close over traced numbers, which receive no gradient.
      v: floats of any shape, membranes minus thresholds.

    Returns:
      Spikes of the same shape and dtype.
    """
    start, endless = lax.stop_gradient(v), jnp.isinf(v)  # ∞ - ∞ is NaN
    length, finite = jnp.where(endless, 0, v - start), jnp.where(endless, 0, start)
    # The slope of the curve overflows in float16, and 0 times infinity is NaN.
    wide, length = (x.astype(wide_dtype(v.dtype)) for x in (finite, length))
    values = [derivative(wide + share * length) for share in _SHARES]
    return heaviside(start) + (length * (sum(values) / len(values))).astype(v.dtype)


# Two points of Gauss-Legendre quadrature in [0, 1], each of weight 1/2: exact for cubic functions.
_SHARES = (0.5 - math.sqrt(3) / 6, 0.5 + math.sqrt(3) / 6)
