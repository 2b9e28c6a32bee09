"""Weights of a synapse, and the functions that draw them.

Decides what a synapse learns and how it begins: an `Initializer` makes kernel and bias together,
because the authors' bias depends on the kernel's fan-in. Leaves out what the weights connect.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments
from stbp_jax.core import Array, Shape


class Weights(NamedTuple):
    """What a synapse learns: `kernel` with the post-neurons last, and `bias [out]` or None."""

    kernel: Array
    bias: Array | None = None


Initializer = Callable[[Array, Shape, Any], Weights]


def drawn(name: str, init: Initializer, key: Array, shape: Shape) -> Weights:
    """The weights that `init` makes for a kernel of that shape, in the default float type.

    Raises:
      TypeError: `key` not a random key; what `init` makes is no `Weights` of floats.
      ValueError: a kernel or a bias of another shape.
    """
    arguments.key("key", key)
    weights = init(key, shape, jnp.result_type(float))
    if not isinstance(weights, Weights):
        got = "an array" if isinstance(weights, np.ndarray | Array) else type(weights).__name__
        raise TypeError(
            f"{name}: init must return Weights(kernel, bias), got {got}; initializer(...) makes "
            "such an init from those of jax.nn.initializers"
        )
    for part, x, wanted in (
        ("kernel", weights.kernel, shape),
        ("bias", weights.bias, shape[-1:]),
    ):
        if x is None and part == "bias":
            continue
        x = arguments.array(f"{name}: init's {part}", x)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise TypeError(f"{name}: init's {part} must be floats, got dtype {x.dtype}")
        if x.shape != wanted:
            raise ValueError(
                f"{name}: init's {part} must have shape {list(wanted)}, got {list(x.shape)}"
            )
    return weights


def _checked(shape: Any, dtype: Any) -> tuple[int, ...]:
    shape = arguments.shape("shape", shape)
    arguments.dtype("dtype", dtype, "a dtype of floats", jnp.floating)
    if not shape or 0 in shape[:-1]:
        raise ValueError(f"shape must be [*in, out] with at least one input, got {list(shape)}")
    return shape


def plus_bias(y: Array, weights: Weights) -> Array:
    """Y + b over the last axis of `y [..., out]`; y where there is no bias."""
    if weights.bias is None:
        return y
    return y + weights.bias.reshape((1,) * (y.ndim - 1) + (-1,))


def fan_in_uniform(scale: float = 1.0) -> Initializer:
    """Weights and biases ~ U[-a, a] with a = scale / √fan-in; the authors' code (scale 1).

    Args:
      scale: a positive number; may be traced, and is not checked then.

    Raises:
      ValueError: `scale` not positive, finite and a scalar; once used, a kernel without inputs.
      TypeError: `scale` not a float; once used, a `dtype` that is no float type.

    >>> from stbp_jax import dense
    >>> dense(3, init=fan_in_uniform()).init(jax.random.key(0), (4,))[0].synapse.kernel.shape
    (4, 3)
    """
    arguments.positive("scale", scale)
    arguments.scalar("scale", scale)

    def init(key: Array, shape: Shape, dtype: Any) -> Weights:
        arguments.key("key", key)
        shape = _checked(shape, dtype)
        key_kernel, key_bias = jax.random.split(key)
        bound = scale / math.sqrt(math.prod(shape[:-1]))
        kernel = jax.random.uniform(key_kernel, shape, dtype, -bound, bound)
        return Weights(kernel, jax.random.uniform(key_bias, shape[-1:], dtype, -bound, bound))

    return init


def fan_in_normalized(gain: float = 1.0, bias: float = 0.0) -> Initializer:
    """W ~ U[-1, 1], each post-neuron's fan-in scaled to norm `gain`; b ~ U[0, `bias`].

    At gain 1 and bias 0, the paper's literal values, a hidden layer on MNIST stays silent at
    Vth = 1.5: raise one of them until 5 to 20 % of the units fire in a step.

    Args:
      gain: a positive number; may be traced, and is not checked then.
      bias: 0 or more; may be traced, and is not checked then.

    Raises:
      ValueError: numbers out of range or not scalars; once used, a kernel without inputs.
      TypeError: numbers that are no floats; once used, a `dtype` that is no float type.

    Source: Wu et al. 2018, equations (29) and (30).
    """
    arguments.positive("gain", gain)
    arguments.number("bias", bias, "0 or more and finite", lambda b: (b >= 0) & np.isfinite(b))
    arguments.scalar("gain", gain)
    arguments.scalar("bias", bias)

    def init(key: Array, shape: Shape, dtype: Any) -> Weights:
        arguments.key("key", key)
        shape = _checked(shape, dtype)
        key_kernel, key_bias = jax.random.split(key)
        kernel = jax.random.uniform(key_kernel, shape, dtype, -1, 1)
        norm = jnp.sqrt(jnp.sum(kernel**2, axis=range(len(shape) - 1), keepdims=True))
        # A draw in bfloat16 is 0 once in 256: a post-neuron of few inputs may draw nothing else.
        nothing = norm == 0
        kernel = jnp.where(nothing, jnp.ones((), dtype), kernel)
        norm = jnp.where(nothing, math.sqrt(math.prod(shape[:-1])), norm).astype(norm.dtype)
        return Weights(gain * kernel / norm, bias * jax.random.uniform(key_bias, shape[-1:], dtype))

    return init


def initializer(
    kernel: Callable[..., Array], bias: Callable[..., Array] | None = None
) -> Initializer:
    """An initializer from those of `jax.nn.initializers`; without `bias` there is none.

    Args:
      kernel: `(key, shape, dtype) -> array`, shape `[*in, out]`.
      bias: the same for `[out]`, `jax.nn.initializers.zeros` for one; None for no bias.

    Raises:
      TypeError: `kernel` or `bias` not callable.

    >>> from stbp_jax import dense
    >>> init = initializer(jax.nn.initializers.orthogonal())
    >>> dense(3, init=init).init(jax.random.key(0), (4,))[0].synapse.bias is None
    True
    """
    arguments.function("kernel", kernel)
    arguments.function("bias", bias, optional=True)

    def init(key: Array, shape: Shape, dtype: Any) -> Weights:
        arguments.key("key", key)
        shape = _checked(shape, dtype)
        key_kernel, key_bias = jax.random.split(key)
        made_bias = None if bias is None else bias(key_bias, shape[-1:], dtype)
        return Weights(kernel(key_kernel, shape, dtype), made_bias)

    return init
