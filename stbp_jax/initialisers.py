"""Weights of a synapse, and the functions that draw them.

Decides what a synapse learns and how it begins: an `Initialiser` makes kernel and bias together,
because the authors' bias depends on the kernel's fan-in. Leaves out what the weights connect.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from stbp_jax import checks
from stbp_jax.core import Array, Shape


class Weights(NamedTuple):
    """What a synapse learns: `kernel` with the post-neurons last, and `bias [out]` or None."""

    kernel: Array
    bias: Array | None = None


Initialiser = Callable[[Array, Shape, Any], Weights]


def plus_bias(y: Array, weights: Weights) -> Array:
    """Y + b over the last axis of `y [..., out]`; y where there is no bias."""
    if weights.bias is None:
        return y
    return y + weights.bias.reshape((1,) * (y.ndim - 1) + (-1,))


def fan_in_uniform(scale: float = 1.0) -> Initialiser:
    """Weights and biases ~ U[-a, a] with a = scale / √fan-in; the authors' code (scale 1).

    >>> from stbp_jax import dense
    >>> dense(3, init=fan_in_uniform()).init(jax.random.key(0), (4,))[0].synapse.kernel.shape
    (4, 3)
    """
    checks.positive("scale", scale)

    def init(key: Array, shape: Shape, dtype: Any) -> Weights:
        key_kernel, key_bias = jax.random.split(key)
        bound = scale / math.sqrt(math.prod(shape[:-1]))
        kernel = jax.random.uniform(key_kernel, shape, dtype, -bound, bound)
        return Weights(kernel, jax.random.uniform(key_bias, shape[-1:], dtype, -bound, bound))

    return init


def row_normalised(gain: float = 1.0, bias: float = 0.0) -> Initialiser:
    """W ~ U[-1, 1], each post-neuron's fan-in scaled to norm `gain`; b ~ U[0, `bias`].

    At gain 1 and bias 0, the paper's literal values, a hidden layer on MNIST stays silent at
    Vth = 1.5: raise one of them until 5 to 20 % of the units fire in a step.

    Source: Wu et al. 2018, equations (29) and (30).
    """
    checks.positive("gain", gain)
    checks.number("bias", bias, "0 or more", lambda b: b >= 0)

    def init(key: Array, shape: Shape, dtype: Any) -> Weights:
        key_kernel, key_bias = jax.random.split(key)
        kernel = jax.random.uniform(key_kernel, shape, dtype, -1, 1)
        norm = jnp.sqrt(jnp.sum(kernel**2, axis=range(len(shape) - 1), keepdims=True))
        return Weights(gain * kernel / norm, bias * jax.random.uniform(key_bias, shape[-1:], dtype))

    return init


def initialiser(
    kernel: Callable[..., Array], bias: Callable[..., Array] | None = None
) -> Initialiser:
    """An initialiser from those of `jax.nn.initializers`; without `bias` there is none.

    >>> from stbp_jax import dense
    >>> init = initialiser(jax.nn.initializers.orthogonal())
    >>> dense(3, init=init).init(jax.random.key(0), (4,))[0].synapse.bias is None
    True
    """

    def init(key: Array, shape: Shape, dtype: Any) -> Weights:
        key_kernel, key_bias = jax.random.split(key)
        made_bias = None if bias is None else bias(key_bias, shape[-1:], dtype)
        return Weights(kernel(key_kernel, shape, dtype), made_bias)

    return init
