"""The weights of a synapse and the initializers that draw them.

An `Initializer` draws kernel and bias together, because the bias of the authors' code depends on
the kernel's fan-in.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from stbp_jax import arguments
from stbp_jax.core import Array, KeyArray, Numbers, Shape


class Weights(NamedTuple):
    """The learned arrays of a synapse: `kernel [*in, out]`, and `bias [out]` or None.

    >>> jax.tree.map(jnp.shape, Weights(jnp.ones((2, 3)), jnp.zeros(3)))
    Weights(kernel=(2, 3), bias=(3,))
    """

    kernel: Array
    bias: Array | None = None


Initializer = Callable[[Array, Shape, Any], Weights]
"""`(key, shape, dtype) -> Weights`; `shape` is the kernel's, `[*in, out]`."""


def drawn(name: str, init: Initializer, key: KeyArray, shape: Shape) -> Weights:
    """Draw weights with `init`, in the default float type, and check them.

    Args:
      name: of the layer, for error messages.
      init: the initializer.
      key: one random key.
      shape: of the kernel, `[*in, out]`.

    Returns:
      The weights.

    Raises:
      TypeError: `key` is not a random key; `init` does not return `Weights` of floats.
      ValueError: the kernel or the bias has another shape.

    >>> drawn("dense(3)", fan_in_uniform(1.0), jax.random.key(0), (2, 3)).kernel.shape
    (2, 3)
    """
    weights = init(arguments.key("key", key), shape, jnp.result_type(float))
    if not isinstance(weights, Weights):
        got = "an array" if isinstance(weights, np.ndarray | Array) else type(weights).__name__
        raise TypeError(
            f"{name}: init must return Weights(kernel, bias), got {got}; initializer(...) makes "
            "one from functions of jax.nn.initializers"
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


def plus_bias(y: Float[Array, "*batch out"], weights: Weights) -> Float[Array, "*batch out"]:
    """Add the bias along the last axis of `y [..., out]`; return `y` if there is no bias.

    >>> plus_bias(jnp.zeros(2), Weights(jnp.ones((3, 2)), jnp.array([1.0, 2.0])))
    Array([1., 2.], dtype=float32)
    """
    if weights.bias is None:
        return y
    return y + weights.bias.reshape((1,) * (y.ndim - 1) + (-1,))


def fan_in_uniform(scale: Numbers = 1.0) -> Initializer:
    """Initializer W, b ~ U[-a, a], a = scale / √fan-in.

    Args:
      scale: a positive scalar; a traced value is not checked.

    Returns:
      An `Initializer`. It raises ValueError for a kernel without inputs and TypeError for a `dtype`
      that is not a float type.

    Raises:
      ValueError: `scale` is not positive, not finite or not a scalar.
      TypeError: `scale` is not a float.

    >>> from stbp_jax import dense
    >>> dense(3, init=fan_in_uniform()).init(jax.random.key(0), (4,))[0].synapse.kernel.shape
    (4, 3)

    Source: the code of Wu et al. 2018 (scale 1).
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


def fan_in_normalized(gain: Numbers = 1.0, bias: Numbers = 0.0) -> Initializer:
    """Initializer W_j = gain · w_j / ‖w_j‖, w ~ U[-1, 1], for each output unit j; b ~ U[0, bias].

    The vector w_j holds the incoming weights of unit j. At the paper's literal values, gain 1 and
    bias 0, a hidden layer on MNIST stays silent at Vth = 1.5: raise one of them until 5 to 20 % of
    the units fire in a step.

    Args:
      gain: a positive scalar; a traced value is not checked.
      bias: a scalar of 0 or more; a traced value is not checked.

    Returns:
      An `Initializer`. It raises ValueError for a kernel without inputs and TypeError for a `dtype`
      that is not a float type.

    Raises:
      ValueError: `gain` or `bias` is out of range or not a scalar.
      TypeError: `gain` or `bias` is not a float.

    >>> from stbp_jax import dense
    >>> weights = dense(1, init=fan_in_normalized(2.0)).init(jax.random.key(0), (4,))[0].synapse
    >>> jnp.linalg.norm(weights.kernel).round(4), weights.bias
    (Array(2., dtype=float32), Array([0.], dtype=float32))

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
        # In bfloat16 one draw in 256 is 0: all incoming weights of a unit may be 0.
        nothing = norm == 0
        kernel = jnp.where(nothing, jnp.ones((), dtype), kernel)
        norm = jnp.where(nothing, math.sqrt(math.prod(shape[:-1])), norm).astype(norm.dtype)
        offset = jax.random.uniform(key_bias, shape[-1:], dtype)
        return Weights(jnp.multiply(gain, kernel) / norm, jnp.multiply(bias, offset))

    return init


def initializer(
    kernel: Callable[..., Array], bias: Callable[..., Array] | None = None
) -> Initializer:
    """Make an `Initializer` from functions such as those of `jax.nn.initializers`.

    Args:
      kernel: `(key, shape, dtype) -> array [*in, out]`.
      bias: `(key, shape, dtype) -> array [out]`, such as `jax.nn.initializers.zeros`; None for no
        bias.

    Returns:
      An `Initializer`. It raises ValueError for a kernel without inputs and TypeError for a `dtype`
      that is not a float type.

    Raises:
      TypeError: `kernel` or `bias` is not callable.

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
