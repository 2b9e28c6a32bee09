"""Dense layers, in which every input drives every unit."""

from typing import Any

import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array, Layer, Neuron, Shape, name_of
from stbp_jax.initializers import Initializer, Weights, drawn, fan_in_uniform, plus_bias
from stbp_jax.layers._constraints import Constraint, check_constraint, constrained, present
from stbp_jax.layers._matmul import Matmul, full_matmul
from stbp_jax.layers.synapse import Inputs, Synapse, layer_of, varying_input


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
      features: number of output units.
      neuron: dynamics of the output units; None for a plain linear map.
      init: makes `Weights(kernel [in, features], bias [features] or None)`.
      matmul: computes xᵗ W: `full_matmul`, `bfloat16_matmul`, `split_bfloat16_matmul` or, for
        streams, `event_driven_matmul`.
      constraint: kernel -> kernel, applied before the product: a mask, Dale's law, a norm.
        Gradients cross it. Synaptic operations count only the weights that are not 0 after it.
      inputs: `varying_input`, or `static_input` if all T steps are the same.

    Returns:
      A `Layer` from `[T, B, in]` to `[T, B, features]`.

    Raises:
      ValueError: the inputs have a wrong rank or size, or are empty; the weights or the product
        have a wrong shape; `constraint` changes the kernel's shape.
      TypeError: `features` is not a static integer; `neuron` is not a `Neuron`; `init`, `matmul`,
        `constraint` or `inputs` is not callable; `init` does not make `Weights` of floats; the
        inputs are not real numbers.

    >>> import jax
    >>> params, shape = dense(3).init(jax.random.key(0), (4,))
    >>> params.synapse.kernel.shape, shape
    ((4, 3), (3,))

    Source: Wu et al. 2018, equation (3).
    """
    features = arguments.count("features", features)
    arguments.function("init", init)
    arguments.function("matmul", matmul)
    name = f"dense({features})"

    def init_(key: Array, shape: Shape) -> tuple[Weights, Shape]:
        shape = arguments.shape("shape", shape)
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
        arguments.array(f"{name}: inputs", x)
        return product(weights, x, x.shape)

    def over_time(weights: Weights, xs: Array) -> Array:
        arguments.array(f"{name}: inputs", xs)
        return product(weights, xs, xs.shape[1:])

    def product(weights: Weights, x: Array, time_slice: Shape) -> Array:
        wanted, units = weights.kernel.shape
        if len(time_slice) != 2 or time_slice[1] != wanted:
            raise ValueError(
                f"{name} needs time slices [B, {wanted}], got {list(time_slice)}; sequences are "
                "time-major, [T, B, ...]"
            )
        y = matmul(x, constrained(weights, constraint))
        if y.shape != (*x.shape[:-1], units):
            raise ValueError(
                f"{name}: matmul must give shape {[*x.shape[:-1], units]}, got {list(y.shape)}"
            )
        return plus_bias(y, weights)

    def fan_out(weights: Weights, shape: Shape) -> Array:
        return jnp.sum(present(weights, constraint), axis=1)

    def named() -> dict[str, Any]:
        return {
            "layer": "dense",
            "features": features,
            "constraint": None if constraint is None else name_of(constraint),
        }

    return layer_of(Synapse(init_, apply, fan_out, named, over_time), neuron, inputs)
