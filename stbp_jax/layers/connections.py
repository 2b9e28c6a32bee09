"""Layers with weights: who drives whom.

Decides full and convolutional connections. Leaves out their first values (`initializers`), and how
sums are made (`matmul`, `convolution`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from stbp_jax import checks
from stbp_jax.core import Array, Layer, Neuron, Shape, name_of
from stbp_jax.initializers import Initializer, Weights, drawn, fan_in_uniform, plus_bias
from stbp_jax.layers.convolution import convolve
from stbp_jax.layers.matmul import Matmul, full_matmul
from stbp_jax.layers.synapse import Inputs, Synapse, layer_of, varying_input

Constraint = Callable[[Array], Array]


def dense(
    features: int,
    neuron: Neuron | None = None,
    *,
    init: Initializer = fan_in_uniform(),  # noqa: B008 - a function without arrays
    matmul: Matmul = full_matmul,
    constraint: Constraint | None = None,
    inputs: Inputs = varying_input,
) -> Layer:
    """Full connections: Iᵗ = xᵗ W + b, then the neuron.

    Args:
      features: number of post-neurons.
      neuron: their dynamics; None for a plain linear map.
      init: makes `Weights(kernel [in, features], bias [features] or None)`.
      matmul: makes xᵗ W: `full_matmul`, `bfloat16_matmul`, `split_bfloat16_matmul` or, for streams,
        `event_driven_matmul`.
      constraint: kernel -> kernel that is applied before the product: a mask, Dale's law, a norm.
        Gradients cross it. Synaptic operations count the weights that it leaves other than 0.
      inputs: `varying_input`, or `static_input` where all T steps are the same.

    Returns:
      A `Layer` from `[T, B, in]` to `[T, B, features]`.

    Raises:
      ValueError: inputs of another rank or size, or none at all; weights or products of another
        shape; a constraint that changes the kernel's shape.
      TypeError: `features` not a static integer; `neuron` is no `Neuron`; `init`, `matmul`,
        `constraint` or `inputs` not callable, or `init` not making `Weights` of floats; inputs that
        are no real numbers.

    >>> import jax
    >>> params, shape = dense(3).init(jax.random.key(0), (4,))
    >>> params.synapse.kernel.shape, shape
    ((4, 3), (3,))

    Source: Wu et al. 2018, equation (3).
    """
    features = checks.count("features", features)
    checks.function("init", init)
    checks.function("product", matmul)
    name = f"dense({features})"

    def init_(key: Array, shape: Shape) -> tuple[Weights, Shape]:
        shape = checks.shape("shape", shape)
        if len(shape) != 1:
            raise ValueError(
                f"{name} needs inputs of shape [in], got {list(shape)}; put flatten() before it"
            )
        if shape[0] == 0:
            raise ValueError(f"{name} needs at least one input, got shape [0]")
        weights = drawn(name, init, key, (shape[0], features))
        check_constraint(constraint, weights.kernel)
        return weights, (features,)

    def apply(weights: Weights, x: Array) -> Array:
        wanted = weights.kernel.shape[0]
        checks.array(f"{name}: inputs", x)
        if x.ndim != 2 or x.shape[1] != wanted:
            raise ValueError(
                f"{name} needs time slices [B, {wanted}], got {list(x.shape)}; sequences are "
                "time-major, [T, B, ...]"
            )
        y = matmul(x, _constrained(weights, constraint))
        if y.shape != (x.shape[0], weights.kernel.shape[1]):
            raise ValueError(
                f"{name}: matmul must give shape {[x.shape[0], weights.kernel.shape[1]]}, got "
                f"{list(y.shape)}"
            )
        return plus_bias(y, weights)

    def fan_out(weights: Weights, shape: Shape) -> Array:
        return jnp.sum(_present(weights, constraint), axis=1)

    def named() -> dict[str, Any]:
        return {
            "layer": "dense",
            "features": features,
            "constraint": None if constraint is None else name_of(constraint),
        }

    return layer_of(Synapse(init_, apply, fan_out, named), neuron, inputs)


def conv(
    features: int,
    kernel: int | tuple[int, int],
    neuron: Neuron | None = None,
    *,
    padding: str = "valid",
    init: Initializer = fan_in_uniform(),  # noqa: B008 - a function without arrays
    constraint: Constraint | None = None,
    inputs: Inputs = varying_input,
) -> Layer:
    """Convolution with stride 1 over images `[height, width, channels]`, then the neuron.

    Args:
      features: number of filters.
      kernel: their size in pixels, one number or (height, width).
      neuron: the post-neurons' dynamics; None for a plain linear map.
      padding: `"valid"` (none) or `"same"` (zeros, so that the output has the input's size).
      init: makes `Weights(kernel [kh, kw, channels, features], bias [features] or None)`.
      constraint: kernel -> kernel, as of `dense`.
      inputs: `varying_input`, or `static_input` where all T steps are the same.

    Returns:
      A `Layer` from `[T, B, height, width, channels]` to `[T, B, height', width', features]`.

    Raises:
      ValueError: inputs of another rank, another number of channels, none at all, or smaller than
        the kernel; an unknown padding; weights of another shape; a constraint that changes the
        kernel's shape.
      TypeError: `features` or `kernel` not static integers; `neuron` is no `Neuron`; `init`,
        `constraint` or `inputs` not callable, or `init` not making `Weights` of floats; inputs that
        are no real numbers.

    >>> import jax
    >>> conv(15, 5).init(jax.random.key(0), (28, 28, 1))[1]
    (24, 24, 15)
    """
    features = checks.count("features", features)
    sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    if len(sizes) != 2:
        raise ValueError(f"kernel must be one integer or two, got {kernel!r}")
    height, width = (checks.count("kernel", size) for size in sizes)
    if not isinstance(padding, str) or padding not in ("valid", "same"):
        raise ValueError(f"padding must be 'valid' or 'same', got {padding!r}")
    checks.function("init", init)
    name = f"conv({features}, {height}x{width})"

    def check(shape: Shape) -> None:
        if len(shape) != 3:
            raise ValueError(f"{name} needs images [height, width, channels], got {list(shape)}")
        if padding == "valid" and (shape[0] < height or shape[1] < width):
            raise ValueError(f"{name} with valid padding needs larger images than {list(shape)}")

    def init_(key: Array, shape: Shape) -> tuple[Weights, Shape]:
        shape = checks.shape("shape", shape)
        check(shape)
        if 0 in shape:
            raise ValueError(f"{name} needs pixels and channels, got {list(shape)}")
        weights = drawn(name, init, key, (height, width, shape[2], features))
        check_constraint(constraint, weights.kernel)
        if padding == "same":
            return weights, (shape[0], shape[1], features)
        return weights, (shape[0] - height + 1, shape[1] - width + 1, features)

    def apply(weights: Weights, x: Array) -> Array:
        checks.array(f"{name}: inputs", x)
        check(x.shape[1:])
        if x.shape[3] != weights.kernel.shape[2]:
            raise ValueError(
                f"{name} needs {weights.kernel.shape[2]} channels, got images {list(x.shape[1:])}"
            )
        kernel = _constrained(weights, constraint)
        return plus_bias(convolve(x.astype(kernel.dtype), kernel, padding), weights)

    def fan_out(weights: Weights, shape: Shape) -> Array:
        present = _present(weights, constraint)
        summed = jax.grad(lambda x: jnp.sum(convolve(x[None], present, padding)))
        return summed(jnp.zeros(shape, present.dtype))

    def named() -> dict[str, Any]:
        return {
            "layer": "conv",
            "features": features,
            "size": [height, width],
            "padding": padding,
            "constraint": None if constraint is None else name_of(constraint),
        }

    return layer_of(Synapse(init_, apply, fan_out, named), neuron, inputs)


def check_constraint(constraint: Constraint | None, kernel: Array) -> None:
    """Refuses a constraint that is no function from a kernel to one of its shape."""
    if constraint is None:
        return
    checks.function("constraint", constraint, "a function from kernel to kernel")
    shape = jnp.shape(jax.eval_shape(constraint, kernel))
    if shape != kernel.shape:
        raise ValueError(
            f"constraint must keep the kernel's shape {list(kernel.shape)}, got {list(shape)}"
        )


def _constrained(weights: Weights, constraint: Constraint | None) -> Array:
    return weights.kernel if constraint is None else constraint(weights.kernel)


def _present(weights: Weights, constraint: Constraint | None) -> Array:
    """1 where a synapse is, float32; where a constraint makes a weight 0 is none."""
    if constraint is None:
        return jnp.ones(weights.kernel.shape, jnp.float32)
    return (constraint(weights.kernel) != 0).astype(jnp.float32)
