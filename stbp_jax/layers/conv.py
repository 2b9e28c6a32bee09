"""Convolutional layers over images."""

from typing import Any

import jax
import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array, Layer, Neuron, Shape, name_of
from stbp_jax.initializers import Initializer, Weights, drawn, fan_in_uniform, plus_bias
from stbp_jax.layers._constraints import Constraint, check_constraint, constrained, present
from stbp_jax.layers._convolution import Stride, check_stride, convolve, out_sizes
from stbp_jax.layers._matmul import Matmul, event_driven_matmul, full_matmul
from stbp_jax.layers.synapse import Inputs, Synapse, layer_of, varying_input


def conv(
    features: int,
    kernel: int | tuple[int, int],
    neuron: Neuron | None = None,
    *,
    stride: Stride = 1,
    padding: str = "valid",
    init: Initializer = fan_in_uniform(),  # noqa: B008 - a function without arrays
    matmul: Matmul = full_matmul,
    constraint: Constraint | None = None,
    inputs: Inputs = varying_input,
) -> Layer:
    """Convolution over images `[height, width, channels]`, then the neuron.

        Iᵗ[r, c] = Σᵢⱼ xᵗ[r s + i, c s + j] W[i, j] + b,  xᵗ with its padding, s the stride

    Args:
      features: number of filters.
      kernel: size of the filters in pixels, one number or (height, width).
      neuron: dynamics of the output units; None for a plain linear map.
      stride: s in pixels, one number or (rows, columns).
      padding: `"valid"` (none), or `"same"`: zeros on all sides, so that the output has the input's
        size, divided by the stride and rounded up.
      init: makes `Weights(kernel [kh, kw, channels, features], bias [features] or None)`.
      matmul: computes the product of pixels and kernel, as in `dense`: `full_matmul`, which also
        selects the fastest formulation of each platform, `bfloat16_matmul` or
        `split_bfloat16_matmul`.
      constraint: kernel -> kernel, as in `dense`.
      inputs: `varying_input`, or `static_input` if all T steps are the same.

    Returns:
      A `Layer` from `[T, B, height, width, channels]` to `[T, B, height', width', features]`.

    Raises:
      ValueError: the inputs have a wrong rank or number of channels, are empty, or are smaller than
        the kernel; `padding` is unknown; `matmul` is `event_driven_matmul`; the weights have a
        wrong shape; `constraint` changes the kernel's shape.
      TypeError: `features`, `kernel` or `stride` is not a static integer; `neuron` is not a
        `Neuron`; `init`, `matmul`, `constraint` or `inputs` is not callable; `init` does not make
        `Weights` of floats; the inputs are not real numbers.

    >>> import jax
    >>> conv(15, 5).init(jax.random.key(0), (28, 28, 1))[1]
    (24, 24, 15)
    >>> conv(15, 5, stride=2, padding="same").init(jax.random.key(0), (28, 28, 1))[1]
    (14, 14, 15)
    """
    features = arguments.count("features", features)
    sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    if len(sizes) != 2:
        raise ValueError(f"kernel must be one integer or two, got {kernel!r}")
    height, width = (arguments.count("kernel", size) for size in sizes)
    if not isinstance(padding, str) or padding not in ("valid", "same"):
        raise ValueError(f"padding must be 'valid' or 'same', got {padding!r}")
    strides = check_stride(stride)
    arguments.function("init", init)
    arguments.function("matmul", matmul)
    if matmul is event_driven_matmul:
        raise ValueError(
            "matmul must be full_matmul, bfloat16_matmul, split_bfloat16_matmul or a product of "
            "your own, got event_driven_matmul, which saves no time in a convolution"
        )
    name = f"conv({features}, {height}x{width})"

    def check(shape: Shape) -> None:
        if len(shape) != 3:
            gray = ": first rearrange(lambda x: x[..., None])" if len(shape) == 2 else ""
            raise ValueError(
                f"{name} needs images [height, width, channels], got {list(shape)}{gray}"
            )
        if padding == "valid" and (shape[0] < height or shape[1] < width):
            raise ValueError(f"{name} with valid padding needs larger images than {list(shape)}")

    def init_(key: Array, shape: Shape) -> tuple[Weights, Shape]:
        shape = arguments.shape("shape", shape)
        check(shape)
        if 0 in shape:
            raise ValueError(f"{name} needs pixels and channels, got {list(shape)}")
        weights = drawn(name, init, key, (height, width, shape[2], features))
        check_constraint(constraint, weights.kernel)
        rows, *_ = out_sizes(shape[0], height, strides[0], padding)
        columns, *_ = out_sizes(shape[1], width, strides[1], padding)
        return weights, (rows, columns, features)

    def apply(weights: Weights, x: Array) -> Array:
        arguments.array(f"{name}: inputs", x)
        check(x.shape[1:])
        if x.shape[3] != weights.kernel.shape[2]:
            raise ValueError(
                f"{name} needs {weights.kernel.shape[2]} channels, got images {list(x.shape[1:])}"
            )
        kernel = constrained(weights, constraint)
        x = x.astype(kernel.dtype)
        y = convolve(x, kernel, padding, stride=strides, matmul=matmul)
        return plus_bias(y, weights)

    def fan_out(weights: Weights, shape: Shape) -> Array:
        ones = present(weights, constraint)
        summed = jax.grad(lambda x: jnp.sum(convolve(x[None], ones, padding, stride=strides)))
        return summed(jnp.zeros(shape, ones.dtype))

    def named() -> dict[str, Any]:
        return {
            "layer": "conv",
            "features": features,
            "size": [height, width],
            "padding": padding,
            "stride": None if strides == (1, 1) else list(strides),
            "constraint": None if constraint is None else name_of(constraint),
        }

    return layer_of(Synapse(init_, apply, fan_out, named), neuron, inputs)
