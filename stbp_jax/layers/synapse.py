"""Synapses, and the layers that are built from a synapse and a neuron.

A layer is one definition with two schedules. `step` is for streaming and computes one product per
step. `unroll` computes ONE product for all T steps, then scans over the membrane alone. A synapse
has no state and works on any batch, which makes the product over all steps possible.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Shaped

from stbp_jax import arguments, reprs
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
    restart_where,
    without_stats,
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
    """

    init: Callable[[Array, Shape], tuple[Params, Shape]]
    apply: Callable[[Params, Array], Array]
    fan_out: Callable[[Params, Shape], Array] | None = None
    constants: Callable[[], dict[str, Any]] | None = None

    def __repr__(self) -> str:
        """The call that makes the synapse, as far as `constants` describe it."""
        named = constants_of(self)
        text = reprs.call_text(named) if named else reprs.value_text(self.apply)
        return f"Synapse({text})"


class LayerParams(NamedTuple):
    """The parameters of a layer: those of its synapse and those of its neuron."""

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
    """The synapse on `[T, B, ...]`, with the selected steps folded into the batch."""
    arguments.sequence("xs", xs)
    seen = inputs(xs)
    steps, batch = seen.shape[:2]
    ys = synapse.apply(params, seen.reshape((steps * batch, *seen.shape[2:])))
    return jnp.broadcast_to(
        ys.reshape((steps, batch, *ys.shape[1:])), (xs.shape[0], batch, *ys.shape[1:])
    )


def check_slice(shape: Shape) -> None:
    """Raises if the shape of a time slice has no B axis."""
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
        arguments.batch("state", state, len(x))
        current = synapse.apply(params.synapse, x)
        if is_first is not None:
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
        params: LayerParams, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array, tuple[LayerStats]]:
        arguments.sequence("xs", xs)
        arguments.batch("state", state, xs.shape[1])
        currents = _over_time(synapse, inputs, params.synapse, xs)

        def observed(params: Params, carried: Any, now: Any) -> tuple[Any, Array]:
            (state, spikes, inside), (current, first) = carried, now
            state = state if first is None else restart_where(first, state, rest)
            state, out = neuron.step(params, state, current)
            inside = inside + _share_in_window(neuron, params, state)
            return (state, spikes + jnp.mean(out, axis=0, dtype=jnp.float32), inside), out

        zeros = jnp.zeros(currents.shape[2:], jnp.float32), jnp.zeros((), jnp.float32)
        rest = neuron.initial_state(currents.shape[1:], float_dtype(state, currents))
        if is_first is not None:
            arguments.restarts("is_first", is_first, xs)
        (state, spikes, inside), outs = lax.scan(
            lambda carried, now: observed(params.neuron, carried, now),
            (state, *zeros),
            (currents, is_first),
        )
        steps = xs.shape[0]
        fan_out = (
            jnp.nan if synapse.fan_out is None else synapse.fan_out(params.synapse, xs.shape[2:])
        )
        operations = synaptic_operations(inputs(xs), fan_out)
        report = LayerStats(spikes / steps, inside / steps, jnp.mean(operations))
        return state, outs, (report,)

    return Layer(init, initial_state, step, unroll, unroll_with_stats, named)


def _share_in_window(neuron: Neuron, params: Params, state: State) -> Array:
    """The share of units inside the surrogate's window; NaN if the neuron has no `probe`."""
    if neuron.probe is None:
        return jnp.float32(jnp.nan)
    return jnp.mean(neuron.probe(params, state).in_window, dtype=jnp.float32)


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


def layer_of(synapse: Synapse, neuron: Neuron | None, inputs: Inputs) -> Layer:
    """The layer of `spiking`, or of `pointwise` if `neuron` is None."""
    arguments.instance("neuron", neuron, Neuron | None, "a Neuron, such as lif(), or None")
    arguments.function("inputs", inputs, "varying_input or static_input")
    if neuron is None:
        return pointwise(synapse, inputs=inputs)
    return spiking(synapse, neuron, inputs=inputs)
