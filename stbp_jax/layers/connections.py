"""Layers with weights: who drives whom.

Decides full and convolutional connections. Leaves out their first values (`initialisers`), and how
sums are made (`products`, `convolution`).
"""

from stbp_jax import checks
from stbp_jax.convolution import convolve
from stbp_jax.core import Array, Layer, Neuron, Shape
from stbp_jax.initialisers import Initialiser, Weights, drawn, fan_in_uniform, plus_bias
from stbp_jax.layers.synapse import Inputs, Synapse, changing, layer_of
from stbp_jax.products import Product, full_product


def dense(
    features: int,
    neuron: Neuron | None = None,
    *,
    init: Initialiser = fan_in_uniform(),  # noqa: B008 - a function without arrays
    product: Product = full_product,
    inputs: Inputs = changing,
) -> Layer:
    """Full connections: Iᵗ = xᵗ W + b, then the neuron.

    Args:
      features: number of post-neurons.
      neuron: their dynamics; None for a plain linear map.
      init: makes `Weights(kernel [in, features], bias [features] or None)`.
      product: makes xᵗ W: `full_product`, `bfloat16_product`, `split_product` or, for streams,
        `gathered_product`.
      inputs: `changing`, or `still` where all T steps are the same.

    Returns:
      A `Layer` from `[T, B, in]` to `[T, B, features]`.

    Raises:
      ValueError: inputs of another rank or size, or none at all; weights or products of another
        shape.
      TypeError: `features` not a static integer; `init`, `product` or `inputs` not callable, or
        `init` not making `Weights` of floats; inputs that are no real numbers.

    >>> import jax
    >>> params, shape = dense(3).init(jax.random.key(0), (4,))
    >>> params.synapse.kernel.shape, shape
    ((4, 3), (3,))

    Source: Wu et al. 2018, equation (3).
    """
    features = checks.count("features", features)
    for argument, f in (("init", init), ("product", product), ("inputs", inputs)):
        checks.function(argument, f)
    name = f"dense({features})"

    def init_(key: Array, shape: Shape) -> tuple[Weights, Shape]:
        shape = checks.shape("shape", shape)
        if len(shape) != 1:
            raise ValueError(
                f"{name} needs inputs of shape [in], got {list(shape)}; put flatten() before it"
            )
        if shape[0] == 0:
            raise ValueError(f"{name} needs at least one input, got shape [0]")
        return drawn(name, init, key, (shape[0], features)), (features,)

    def apply(weights: Weights, x: Array) -> Array:
        wanted = weights.kernel.shape[0]
        checks.real(f"{name}: inputs", x)
        if x.ndim != 2 or x.shape[1] != wanted:
            raise ValueError(
                f"{name} needs time slices [B, {wanted}], got {list(x.shape)}; sequences are "
                "time-major, [T, B, ...]"
            )
        y = product(x, weights.kernel)
        if y.shape != (x.shape[0], weights.kernel.shape[1]):
            raise ValueError(
                f"{name}: product must have shape {[x.shape[0], weights.kernel.shape[1]]}, got "
                f"{list(y.shape)}"
            )
        return plus_bias(y, weights)

    return layer_of(Synapse(init_, apply), neuron, inputs)


def conv(
    features: int,
    kernel: int | tuple[int, int],
    neuron: Neuron | None = None,
    *,
    padding: str = "valid",
    init: Initialiser = fan_in_uniform(),  # noqa: B008 - a function without arrays
    inputs: Inputs = changing,
) -> Layer:
    """Convolution with stride 1 over images `[height, width, channels]`, then the neuron.

    Args:
      features: number of filters.
      kernel: their size in pixels, one number or (height, width).
      neuron: the post-neurons' dynamics; None for a plain linear map.
      padding: `"valid"` (none) or `"same"` (zeros, so that the output has the input's size).
      init: makes `Weights(kernel [kh, kw, channels, features], bias [features] or None)`.
      inputs: `changing`, or `still` where all T steps are the same.

    Returns:
      A `Layer` from `[T, B, height, width, channels]` to `[T, B, height', width', features]`.

    Raises:
      ValueError: inputs of another rank, another number of channels, none at all, or smaller than
        the kernel; an unknown padding; weights of another shape.
      TypeError: `features` or `kernel` not static integers; `init` or `inputs` not callable, or
        `init` not making `Weights` of floats; inputs that are no real numbers.

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
    for argument, f in (("init", init), ("inputs", inputs)):
        checks.function(argument, f)
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
        if padding == "same":
            return weights, (shape[0], shape[1], features)
        return weights, (shape[0] - height + 1, shape[1] - width + 1, features)

    def apply(weights: Weights, x: Array) -> Array:
        checks.real(f"{name}: inputs", x)
        check(x.shape[1:])
        if x.shape[3] != weights.kernel.shape[2]:
            raise ValueError(
                f"{name} needs {weights.kernel.shape[2]} channels, got images {list(x.shape[1:])}"
            )
        y = convolve(x.astype(weights.kernel.dtype), weights.kernel, padding)
        return plus_bias(y, weights)

    return layer_of(Synapse(init_, apply), neuron, inputs)
