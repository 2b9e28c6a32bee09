"""Synapses, and the layers made of them.

Decides one definition with two schedules: a layer is a synapse (pure, any batch) and a neuron, and
from them come `step` (streaming, one product a step) and `unroll` (layer by layer, ONE product for
all T steps, then the scan over the membrane alone). Leaves out the dynamics: any `core.Neuron`
will do.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from stbp_jax import checks
from stbp_jax.convolution import convolve
from stbp_jax.core import Activity, Array, Layer, Neuron, Params, Shape, State, scan
from stbp_jax.initialisers import Initialiser, Weights, affine, fan_in_uniform, plus_bias
from stbp_jax.metrics import synaptic_operations


class Synapse(NamedTuple):
    """A stateless map of one time slice.

    Attributes:
      init: `(key, shape) -> (params, out_shape)`; shapes without T and B.
      apply: `(params, x [B, *in]) -> y [B, *out]`, each example by itself.
    """

    init: Callable[[Array, Shape], tuple[Params, Shape]]
    apply: Callable[[Params, Array], Array]


class SpikingParams(NamedTuple):
    """What a layer of synapse and neuron learns."""

    synapse: Params
    neuron: Params


def _over_time(apply: Callable[[Params, Array], Array]) -> Callable[[Params, Array], Array]:
    """A map of `[B, ...]` as a map of `[T, B, ...]`: time is folded into the batch."""

    def folded(params: Params, xs: Array) -> Array:
        steps, batch = xs.shape[:2]
        ys = apply(params, xs.reshape((steps * batch, *xs.shape[2:])))
        return ys.reshape((steps, batch, *ys.shape[1:]))

    return folded


def _check_slice(shape: Shape) -> None:
    if not shape:
        raise ValueError(
            "a network takes sequences [T, B, ...]: its state needs the shape of one time slice, "
            f"[B, ...], got {list(shape)}"
        )


def pointwise(synapse: Synapse) -> Layer:
    """A layer without memory, from a synapse alone: yᵗ = apply(params, xᵗ).

    Args:
      synapse: what to apply at every step.

    Returns:
      A `Layer` whose params are the synapse's, in `SpikingParams`, and whose state is `()`.
    """

    def init(key: Array, shape: Shape) -> tuple[SpikingParams, Shape]:
        params, out = synapse.init(key, shape)
        return SpikingParams(params, ()), out

    def initial_state(
        params: SpikingParams, shape: Shape, *, key: Array | None = None
    ) -> tuple[State, Shape]:
        return (), _out_shape(synapse, params.synapse, shape)

    def step(params: SpikingParams, state: State, x: Array) -> tuple[State, Array]:
        return state, synapse.apply(params.synapse, x)

    def unroll(params: SpikingParams, state: State, xs: Array) -> tuple[State, Array]:
        return state, _over_time(synapse.apply)(params.synapse, xs)

    return Layer(init, initial_state, step, unroll)


def _out_shape(synapse: Synapse, params: Params, shape: Shape) -> Shape:
    _check_slice(shape)
    x = jax.ShapeDtypeStruct(shape, jnp.result_type(float))
    return jax.eval_shape(synapse.apply, params, x).shape


def spiking(synapse: Synapse, neuron: Neuron) -> Layer:
    """A layer from a synapse and a neuron: Iᵗ = synapse(xᵗ), then the neuron's dynamics.

    `unroll` applies the synapse to all steps at once, then unrolls the neuron over the currents.

    Args:
      synapse: `dense(...)` and `conv(...)` make theirs; any pure map will do.
      neuron: any `Neuron`; `lif(...)` for one.

    Returns:
      A `Layer` with `SpikingParams`; its state is the neuron's.
    """

    def init(key: Array, shape: Shape) -> tuple[SpikingParams, Shape]:
        key_synapse, key_neuron = jax.random.split(key)
        params, units = synapse.init(key_synapse, shape)
        return SpikingParams(params, neuron.init(key_neuron, units)), units

    def initial_state(
        params: SpikingParams, shape: Shape, *, key: Array | None = None
    ) -> tuple[State, Shape]:
        out = _out_shape(synapse, params.synapse, shape)
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(params)]
        dtype = jnp.result_type(*dtypes) if dtypes else jnp.result_type(float)
        return neuron.initial_state(out, dtype), out

    def step(params: SpikingParams, state: State, x: Array) -> tuple[State, Array]:
        return neuron.step(params.neuron, state, synapse.apply(params.synapse, x))

    def unroll(params: SpikingParams, state: State, xs: Array) -> tuple[State, Array]:
        return neuron.unroll(params.neuron, state, _over_time(synapse.apply)(params.synapse, xs))

    in_window = neuron.in_window
    if in_window is None:
        return Layer(init, initial_state, step, unroll)

    def observe(
        params: SpikingParams, state: State, xs: Array
    ) -> tuple[State, Array, tuple[Activity]]:
        currents = _over_time(synapse.apply)(params.synapse, xs)

        def observed(params: Params, carried: Any, current: Array) -> tuple[Any, Array]:
            state, spikes, inside = carried
            state, out = neuron.step(params, state, current)
            inside = inside + jnp.mean(in_window(params, state), dtype=jnp.float32)
            return (state, spikes + jnp.mean(out, axis=0, dtype=jnp.float32), inside), out

        zeros = jnp.zeros(currents.shape[2:], jnp.float32), jnp.zeros((), jnp.float32)
        (state, spikes, inside), outs = scan(observed)(params.neuron, (state, *zeros), currents)
        steps = xs.shape[0]
        operations = synaptic_operations(xs, fan_out(synapse, params.synapse, xs.shape[2:]))
        report = Activity(spikes / steps, inside / steps, jnp.mean(operations))
        return state, outs, (report,)

    return Layer(init, initial_state, step, unroll, observe)


def fan_out(synapse: Synapse, params: Params, shape: Shape) -> Array:
    """How many synapses each input unit drives, `[*in]`; borders of convolutions included.

    The gradient of the summed output of an all-ones synapse: exact for every linear one.

    Args:
      synapse: a linear synapse.
      params: its parameters; only their shapes matter.
      shape: of the input, without T and B.

    Returns:
      `[*in]`, float32.
    """
    ones = jax.tree.map(lambda p: jnp.ones(p.shape, jnp.float32), params)  # bfloat16 counts to 256
    count = jax.grad(lambda x: jnp.sum(synapse.apply(ones, x[None])))
    return count(jnp.zeros(shape, jnp.float32))


def _layer(synapse: Synapse, neuron: Neuron | None) -> Layer:
    if not isinstance(neuron, Neuron | None):
        raise TypeError(f"neuron must be a Neuron or None, got {type(neuron).__name__}")
    return pointwise(synapse) if neuron is None else spiking(synapse, neuron)


def dense(
    features: int,
    neuron: Neuron | None = None,
    *,
    init: Initialiser = fan_in_uniform(),  # noqa: B008 - a function without arrays
) -> Layer:
    """Full connections: Iᵗ = xᵗ W + b, then the neuron.

    Args:
      features: number of post-neurons.
      neuron: their dynamics; None for a plain linear map.
      init: makes `Weights(kernel [in, features], bias [features] or None)`.

    Returns:
      A `Layer` from `[T, B, in]` to `[T, B, features]`.

    Raises:
      ValueError: inputs of another rank or size.

    >>> params, shape = dense(3).init(jax.random.key(0), (4,))
    >>> params.synapse.kernel.shape, shape
    ((4, 3), (3,))

    Source: Wu et al. 2018, equation (3).
    """
    features = checks.count("features", features)
    name = f"dense({features})"

    def init_(key: Array, shape: Shape) -> tuple[Weights, Shape]:
        if len(shape) != 1:
            raise ValueError(
                f"{name} needs inputs of shape [in], got {list(shape)}; put flatten() before it"
            )
        return init(key, (shape[0], features), jnp.result_type(float)), (features,)

    def apply(weights: Weights, x: Array) -> Array:
        wanted = weights.kernel.shape[0]
        if x.ndim != 2 or x.shape[1] != wanted:
            raise ValueError(
                f"{name} needs time slices [B, {wanted}], got {list(x.shape)}; sequences are "
                "time-major, [T, B, ...]"
            )
        return affine(weights, x)

    return _layer(Synapse(init_, apply), neuron)


def conv(
    features: int,
    kernel: int | tuple[int, int],
    neuron: Neuron | None = None,
    *,
    padding: str = "valid",
    init: Initialiser = fan_in_uniform(),  # noqa: B008 - a function without arrays
) -> Layer:
    """Convolution with stride 1 over images `[height, width, channels]`, then the neuron.

    Args:
      features: number of filters.
      kernel: their size in pixels, one number or (height, width).
      neuron: the post-neurons' dynamics; None for a plain linear map.
      padding: `"valid"` (none) or `"same"` (zeros, so that the output has the input's size).
      init: makes `Weights(kernel [kh, kw, channels, features], bias [features] or None)`.

    Returns:
      A `Layer` from `[T, B, height, width, channels]` to `[T, B, height', width', features]`.

    Raises:
      ValueError: inputs of another rank, another number of channels, or smaller than the kernel;
        an unknown padding.

    >>> conv(15, 5).init(jax.random.key(0), (28, 28, 1))[1]
    (24, 24, 15)
    """
    features = checks.count("features", features)
    sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    if len(sizes) != 2:
        raise ValueError(f"kernel must be one integer or two, got {kernel!r}")
    height, width = (checks.count("kernel", size) for size in sizes)
    if padding not in ("valid", "same"):
        raise ValueError(f"padding must be 'valid' or 'same', got {padding!r}")
    name = f"conv({features}, {height}x{width})"

    def check(shape: Shape) -> None:
        if len(shape) != 3:
            raise ValueError(f"{name} needs images [height, width, channels], got {list(shape)}")
        if padding == "valid" and (shape[0] < height or shape[1] < width):
            raise ValueError(f"{name} with valid padding needs larger images than {list(shape)}")

    def init_(key: Array, shape: Shape) -> tuple[Weights, Shape]:
        check(shape)
        weights = init(key, (height, width, shape[2], features), jnp.result_type(float))
        if padding == "same":
            return weights, (shape[0], shape[1], features)
        return weights, (shape[0] - height + 1, shape[1] - width + 1, features)

    def apply(weights: Weights, x: Array) -> Array:
        check(x.shape[1:])
        if x.shape[3] != weights.kernel.shape[2]:
            raise ValueError(
                f"{name} needs {weights.kernel.shape[2]} channels, got images {list(x.shape[1:])}"
            )
        y = convolve(x.astype(weights.kernel.dtype), weights.kernel, padding)
        return plus_bias(y, weights)

    return _layer(Synapse(init_, apply), neuron)


def _float_type(x: Array) -> Any:
    """The dtype of `x` where it is a float, else the default float."""
    return x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.result_type(float)


def avg_pool(window: int) -> Layer:
    """Mean over windows of `window` x `window` pixels, stride `window`; rows left over are cut.

    No neuron follows: the next synapse sees means of spikes, as in the authors' code.

    Args:
      window: in pixels.

    Returns:
      A `Layer` from `[T, B, height, width, channels]` to
      `[T, B, height // window, width // window, channels]`.

    Raises:
      ValueError: inputs that are not images, or smaller than the window.

    >>> avg_pool(2).init(jax.random.key(0), (5, 4, 3))[1]
    (2, 2, 3)
    """
    window = checks.count("window", window)

    def out_shape(shape: Shape) -> Shape:
        if len(shape) != 3 or min(shape[:2]) < window:
            raise ValueError(
                f"avg_pool({window}) needs images [height, width, channels] of at least "
                f"{window}x{window} pixels, got {list(shape)}"
            )
        return (shape[0] // window, shape[1] // window, shape[2])

    def apply(params: Params, x: Array) -> Array:
        rows, columns, channels = out_shape(x.shape[1:])
        x = x[:, : rows * window, : columns * window]
        tiles = x.reshape((x.shape[0], rows, window, columns, window, channels))
        return jnp.mean(tiles, axis=(2, 4), dtype=_float_type(x))

    return pointwise(Synapse(lambda key, shape: ((), out_shape(shape)), apply))


def flatten() -> Layer:
    """Joins all axes of an example: `[T, B, *in]` to `[T, B, prod(in)]`.

    >>> flatten().init(jax.random.key(0), (4, 4, 3))[1]
    (48,)
    """

    def init(key: Array, shape: Shape) -> tuple[Params, Shape]:
        return (), (math.prod(shape),)

    def apply(params: Params, x: Array) -> Array:
        return x.reshape((x.shape[0], math.prod(x.shape[1:])))

    return pointwise(Synapse(init, apply))


def dropout(rate: Any) -> Layer:
    """Silences each unit with probability `rate` for a whole sequence; the rest times 1/(1-rate).

    One mask is drawn in `initial_state` from its key and lives in the state, so that every step,
    and both schedules, see the same. Without a key the layer is the identity.

    Args:
      rate: in [0, 1); a scalar, may be traced.

    Returns:
      A `Layer` that keeps shapes.

    Raises:
      ValueError: `rate` outside [0, 1).
    """
    checks.number("rate", rate, "in [0, 1)", lambda r: (r >= 0) & (r < 1))

    def initial_state(
        params: Params, shape: Shape, *, key: Array | None = None
    ) -> tuple[State, Shape]:
        _check_slice(shape)
        if key is None:
            return (), shape
        kept = jax.random.bernoulli(key, 1 - rate, shape)
        return kept / (1 - jnp.asarray(rate, jnp.result_type(float))), shape

    def masked(state: State, x: Array) -> Array:
        return x if isinstance(state, tuple) else x * state.astype(_float_type(x))

    def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
        return state, masked(state, x)

    def unroll(params: Params, state: State, xs: Array) -> tuple[State, Array]:
        return state, jax.vmap(masked, (None, 0))(state, xs)

    return Layer(lambda key, shape: ((), shape), initial_state, step, unroll)
