"""Synapses, and the layers that are built from a synapse and a neuron.

A layer is one definition with two schedules. `step` is for streaming and computes one product per
step. `unroll` computes ONE product for all T steps, then scans over the membrane alone. A synapse
has no state and works on any batch, which makes the product over all steps possible.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Shaped

from stbp_jax import arguments, meshes, reprs
from stbp_jax.calls import without_stats
from stbp_jax.core import (
    AnyArray,
    Array,
    Layer,
    LayerStats,
    Neuron,
    Params,
    Shape,
    State,
    constants_of,
    float_dtype,
    given,
    is_shape,
    map_shapes,
    restart_where,
)
from stbp_jax.metrics import synaptic_operations


class Synapse(NamedTuple):
    """A stateless map of one time slice.

    Attributes:
      init: `(key, shape) -> (params, out_shape)`; shapes without T and B.
      apply: `(params, x [B, *in]) -> y [B, *out]`, independent for each example.
      fan_out: `(params, shape of the input without T and B) -> [*in]`, the number of synapses that
        each input drives; `linear_fan_out` makes such a function. With None, the reported number of
        synaptic operations is NaN.
      constants: `() -> dict`, as in `Neuron`.
      over_time: `(params, xs [T, B, *in]) -> ys [T, B, *out]`, `apply` at all steps, for batches
        on a mesh; None for `jax.vmap` of `apply` over T.

    >>> import stbp_jax as sj
    >>> double = Synapse(lambda key, shape: ((), shape), lambda params, x: 2 * x)
    >>> params, _ = pointwise(double).init(jax.random.key(0), (1,))
    >>> sj.apply(pointwise(double), params, jnp.ones((3, 1, 1)))[1].ravel()
    Array([2., 2., 2.], dtype=float32)
    """

    init: Callable[[Array, Shape], tuple[Params, Shape]]
    apply: Callable[[Params, Array], Array]
    fan_out: Callable[[Params, Shape], Array] | None = None
    constants: Callable[[], dict[str, Any]] | None = None
    over_time: Callable[[Params, Array], Array] | None = None

    def __repr__(self) -> str:
        """The call that makes the synapse, as far as `constants` describe it."""
        named = constants_of(self)
        text = reprs.call_text(named) if named else reprs.value_text(self.apply)
        return f"Synapse({text})"


class LayerParams(NamedTuple):
    """The parameters of a layer: those of its synapse and those of its neuron.

    >>> import stbp_jax as sj
    >>> params, _ = sj.dense(2, sj.lif()).init(jax.random.key(0), (3,))
    >>> jax.tree.map(jnp.shape, params)
    LayerParams(synapse=Weights(kernel=(3, 2), bias=(2,)), neuron=())
    """

    synapse: Params
    neuron: Params


Inputs = Callable[[Array], Array]
"""`xs [T, B, *in] -> [T, B, *in]` or `[1, B, *in]`: the steps that the synapse is applied to."""


def varying_input(xs: Shaped[AnyArray, "T B *in"]) -> Shaped[Any, "T B *in"]:
    """Inputs that differ from step to step; the synapse is applied at every step.

    Args:
      xs: `[T, B, *in]`.

    Returns:
      `xs`, all of its steps.

    >>> varying_input(jnp.ones((5, 2, 3))).shape
    (5, 2, 3)
    """
    return xs


def static_input(xs: Shaped[AnyArray, "T B *in"]) -> Shaped[Any, "1 B *in"]:
    """Inputs that are the same at all T steps; the synapse is applied once.

    The current of the first step serves for all steps. With the `constant` encoding this makes the
    first layer's product T times as cheap. Traced inputs, for example under `jit`, are not checked:
    if they vary, the result is wrong without an error.

    Args:
      xs: `[T, B, *in]`, the same at all steps.

    Returns:
      `[1, B, *in]`, the first step.

    Raises:
      ValueError: concrete inputs differ between steps.

    >>> from stbp_jax import apply, constant, dense, lif
    >>> layer = dense(3, lif(), inputs=static_input)
    >>> params, _ = layer.init(jax.random.key(0), (4,))
    >>> apply(layer, params, constant(jnp.ones((2, 4)), 5))[1].shape
    (5, 2, 3)
    """
    if arguments.concrete(xs):
        arguments.same_steps("xs", xs)
    return xs[:1]


def _over_time(synapse: Synapse, inputs: Inputs, params: Params, xs: Array) -> Array:
    """The synapse on the selected steps of `[T, B, ...]`, as one product of all of them.

    T is folded into B, which is the fastest product on one device. The fold would gather a batch
    that is sharded over a mesh; there, T stays an axis of its own.
    """
    arguments.sequence("xs", xs)
    seen = inputs(xs)
    if meshes.on_mesh((params, seen)):
        ys = (synapse.over_time or jax.vmap(synapse.apply, (None, 0)))(params, seen)
    else:
        steps, batch = seen.shape[:2]
        ys = synapse.apply(params, seen.reshape((steps * batch, *seen.shape[2:])))
        ys = ys.reshape((steps, batch, *ys.shape[1:]))
    return jnp.broadcast_to(ys, (xs.shape[0], *ys.shape[1:]))


def check_slice(shape: Shape) -> None:
    """Raises if the shape of a time slice has no B axis, or if it is a pytree of shapes."""
    if not is_shape(shape):
        raise TypeError(
            "the layer takes one array [B, ...], got a pytree of arrays of the shapes "
            f"{map_shapes(list, shape)}: `parallel` takes a pytree"
        )
    if not shape:
        raise ValueError(
            "a network takes sequences [T, B, ...]: its state needs the shape of one time slice, "
            f"[B, ...], got {list(shape)}"
        )


def pointwise(synapse: Synapse, *, inputs: Inputs = varying_input) -> Layer:
    """A stateless layer from a synapse: yᵗ = synapse(xᵗ).

    Args:
      synapse: the map that is applied at every step.
      inputs: `varying_input`, or `static_input` if all T steps are the same.

    Returns:
      A `Layer` with `LayerParams` that hold the synapse's parameters; its state is `()`.

    >>> import stbp_jax as sj
    >>> layer = pointwise(identity)
    >>> params, _ = layer.init(jax.random.key(0), (4,))
    >>> sj.apply(layer, params, jnp.ones((3, 2, 4)))[1].shape
    (3, 2, 4)
    """

    def init(key: Array, shape: Shape) -> tuple[LayerParams, Shape]:
        params, out = synapse.init(key, shape)
        return LayerParams(params, ()), out

    def initial_state(
        params: LayerParams, shape: Shape, *, key: Array | None = None
    ) -> tuple[State, Shape]:
        return (), out_shape(synapse, params.synapse, shape)

    def step(
        params: LayerParams, state: State, x: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        return state, synapse.apply(params.synapse, x)

    def unroll(
        params: LayerParams, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        return state, _over_time(synapse, inputs, params.synapse, xs)

    return Layer(
        init, initial_state, step, unroll, without_stats(unroll), lambda: constants_of(synapse)
    )


def out_shape(synapse: Synapse, params: Params, shape: Shape) -> Shape:
    """The shape `[B, *out]` of a synapse's output for a time slice of shape `[B, *in]`."""
    check_slice(shape)
    x = jax.ShapeDtypeStruct(shape, jnp.result_type(float))
    return jax.eval_shape(synapse.apply, params, x).shape


def spiking(synapse: Synapse, neuron: Neuron, *, inputs: Inputs = varying_input) -> Layer:
    """A layer from a synapse and a neuron: Iᵗ = synapse(xᵗ), then the neuron's dynamics.

    `unroll` applies the synapse to all steps at once, then unrolls the neuron over the currents.

    Args:
      synapse: any `Synapse`; `dense` and `conv` make their own.
      neuron: any `Neuron`, such as `lif()`.
      inputs: `varying_input`, or `static_input` if all T steps are the same.

    Returns:
      A `Layer` with `LayerParams`; its state is the neuron's.

    >>> import stbp_jax as sj
    >>> layer = spiking(identity, sj.lif(threshold=0.5))
    >>> params, _ = layer.init(jax.random.key(0), (2,))
    >>> sj.apply(layer, params, jnp.array([[[0.2, 0.8]]]))[1]
    Array([[[0., 1.]]], dtype=float32)
    """

    def init(key: Array, shape: Shape) -> tuple[LayerParams, Shape]:
        key_synapse, key_neuron = jax.random.split(key)
        params, units = synapse.init(key_synapse, shape)
        return LayerParams(params, neuron.init(key_neuron, units)), units

    def initial_state(
        params: LayerParams, shape: Shape, *, key: Array | None = None
    ) -> tuple[State, Shape]:
        out = out_shape(synapse, params.synapse, shape)
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(params)]
        dtype = jnp.result_type(*dtypes) if dtypes else jnp.result_type(float)
        return neuron.initial_state(out, dtype), out

    def step(
        params: LayerParams, state: State, x: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        if not hasattr(x, "shape"):
            raise TypeError(
                f"x must be one array [B, ...], got {type(x).__name__}: `parallel` takes a pytree"
            )
        arguments.batch("state", state, x.shape[0])
        current = synapse.apply(params.synapse, x)
        if is_first is not None:
            arguments.flags("is_first", is_first)
            rest = neuron.initial_state(current.shape, float_dtype(state, current))
            state = restart_where(is_first, state, rest)
        return neuron.step(params.neuron, state, current)

    def unroll(
        params: LayerParams, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        arguments.sequence("xs", xs)
        arguments.batch("state", state, xs.shape[1])
        currents = _over_time(synapse, inputs, params.synapse, xs)
        return neuron.unroll(params.neuron, state, currents, *given(is_first))

    def named() -> dict[str, Any]:
        return {**constants_of(synapse), "units": constants_of(neuron)}

    if not neuron.spiking:
        return Layer(init, initial_state, step, unroll, without_stats(unroll), named)

    def unroll_with_stats(
        params: LayerParams,
        state: State,
        xs: Array,
        is_first: Array | None = None,
        mask: Array | None = None,
    ) -> tuple[State, Array, tuple[LayerStats]]:
        arguments.sequence("xs", xs)
        arguments.batch("state", state, xs.shape[1])
        currents = _over_time(synapse, inputs, params.synapse, xs)

        def observed(params: Params, carried: Any, now: Any) -> tuple[Any, Array]:
            (state, spikes, inside), (current, first, own) = carried, now
            state = state if first is None else restart_where(first, state, rest)
            state, out = neuron.step(params, state, current)
            inside = inside + _share_in_window(neuron, params, state, own)
            return (state, spikes + _over_examples(out, own), inside), out

        zeros = jnp.zeros(currents.shape[2:], jnp.float32), jnp.zeros((), jnp.float32)
        rest = neuron.initial_state(currents.shape[1:], float_dtype(state, currents))
        if is_first is not None:
            arguments.restarts("is_first", is_first, xs)
        (state, spikes, inside), outs = meshes.scan(
            lambda carried, now: observed(params.neuron, carried, now),
            (state, *zeros),
            (currents, is_first, mask),
        )
        fan_out = (
            jnp.nan if synapse.fan_out is None else synapse.fan_out(params.synapse, xs.shape[2:])
        )
        seen = inputs(xs)
        if mask is None:
            steps: Any = xs.shape[0]
            operations = jnp.mean(synaptic_operations(seen, fan_out))
        else:
            own = jnp.expand_dims(mask[: seen.shape[0]], range(2, seen.ndim))
            seen = jnp.where(own, seen, jnp.zeros((), seen.dtype))
            examples = jnp.sum(jnp.any(mask, axis=0), dtype=jnp.float32)
            operations = jnp.sum(synaptic_operations(seen, fan_out)) / jnp.maximum(examples, 1)
            steps = jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1)
        report = LayerStats(spikes / steps, inside / steps, operations)
        return state, outs, (report,)

    return Layer(init, initial_state, step, unroll, unroll_with_stats, named)


def _over_examples(out: Array, own: Array | None) -> Array:
    """The mean over a batch, or the sum over the examples of a mask `[B]`."""
    if own is None:
        return jnp.mean(out, axis=0, dtype=jnp.float32)
    own = jnp.expand_dims(own, range(1, out.ndim))
    return jnp.sum(jnp.where(own, out, jnp.zeros((), out.dtype)), axis=0, dtype=jnp.float32)


def _share_in_window(neuron: Neuron, params: Params, state: State, own: Array | None) -> Array:
    """The share of units inside the surrogate's window; NaN if the neuron has no `probe`."""
    if neuron.probe is None:
        return jnp.float32(jnp.nan)
    in_window = neuron.probe(params, state).in_window
    if own is None:
        return jnp.mean(in_window, dtype=jnp.float32)
    return jnp.mean(_over_examples(in_window, own))


def linear_fan_out(
    apply: Callable[[Params, Array], Array],
) -> Callable[[Params, Shape], Array]:
    """The `fan_out` of a synapse that is linear in its input and in its parameters.

    The number of synapses that an input drives is the gradient of the summed output when all
    parameters are 1. It is exact at the borders of convolutions too.

    Args:
      apply: the synapse's `apply`, `(params, x [B, *in]) -> y [B, *out]`.

    Returns:
      `(params, shape) -> [*in]`, float32. The values of the parameters do not matter.

    >>> linear_fan_out(lambda kernel, x: x @ kernel)(jnp.zeros((2, 3)), (2,))
    Array([3., 3.], dtype=float32)
    """

    def fan_out(params: Params, shape: Shape) -> Array:
        # In bfloat16, sums of ones stop at 256.
        ones = jax.tree.map(lambda p: jnp.ones(p.shape, jnp.float32), params)
        count = jax.grad(lambda x: jnp.sum(apply(ones, x[None])))
        return count(jnp.zeros(shape, jnp.float32))

    return fan_out


identity = Synapse(
    lambda key, shape: ((), shape),
    lambda params, x: x,
    lambda params, shape: jnp.ones(shape, jnp.float32),
    lambda: {"layer": "identity"},
)
"""No connections: the current is the input.

`spiking(identity, neuron)` is a layer of neurons alone, for inputs that are currents already, such
as those of a normalization.

:meta hide-value:
"""


def layer_of(synapse: Synapse, neuron: Neuron | None, inputs: Inputs) -> Layer:
    """The layer of `spiking`, or of `pointwise` if `neuron` is None."""
    arguments.instance("neuron", neuron, Neuron | None, "a Neuron, such as lif(), or None")
    arguments.function("inputs", inputs, "varying_input or static_input")
    if neuron is None:
        return pointwise(synapse, inputs=inputs)
    return spiking(synapse, neuron, inputs=inputs)
