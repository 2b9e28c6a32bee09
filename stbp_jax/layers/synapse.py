"""Synapses, and how one becomes a layer.

Decides one definition with two schedules: a layer is a synapse (pure, any batch) and a neuron, and
from them come `step` (streaming, one product a step) and `unroll` (layer by layer, ONE product for
all T steps, then the scan over the membrane alone). Leaves out the dynamics: any `core.Neuron`
will do.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from stbp_jax import arguments, reprs
from stbp_jax.core import (
    Array,
    Layer,
    LayerStats,
    Neuron,
    Params,
    Shape,
    State,
    constants_of,
    scan,
    without_report,
)
from stbp_jax.metrics import synaptic_operations


class Synapse(NamedTuple):
    """A stateless map of one time slice.

    Attributes:
      init: `(key, shape) -> (params, out_shape)`; shapes without T and B.
      apply: `(params, x [B, *in]) -> y [B, *out]`, each example by itself.
      fan_out: `(params, shape of the input without T and B) -> [*in]`: how many synapses each
        input drives, `linear_fan_out` for one. None where it is not known: reports of synaptic
        operations are then NaN.
      constants: `() -> dict`, as of a `Neuron`.
    """

    init: Callable[[Array, Shape], tuple[Params, Shape]]
    apply: Callable[[Params, Array], Array]
    fan_out: Callable[[Params, Shape], Array] | None = None
    constants: Callable[[], dict[str, Any]] | None = None

    def __repr__(self) -> str:
        """The call that makes it, as far as `constants` say."""
        named = constants_of(self)
        text = reprs.call_text(named) if named else reprs.value_text(self.apply)
        return f"Synapse({text})"


class LayerParams(NamedTuple):
    """What a layer of synapse and neuron learns."""

    synapse: Params
    neuron: Params


Inputs = Callable[[Array], Array]


def varying_input(xs: Array) -> Array:
    """Inputs that differ from step to step: the synapse is applied to all of them."""
    return xs


def static_input(xs: Array) -> Array:
    """Inputs that are the same at all T steps: the synapse is applied once, its current held.

    For `constant` encoding, where it makes the first layer T times as cheap. Concrete inputs that
    vary are refused. Traced inputs, under `jit` for one, cannot be checked: their first step counts
    for all, and a wrong result comes without an error.

    Raises:
      ValueError: concrete inputs that differ between steps.

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
    """The synapse on `[T, B, ...]`: the steps that it is applied to are folded into the batch."""
    arguments.sequence("xs", xs)
    seen = inputs(xs)
    steps, batch = seen.shape[:2]
    ys = synapse.apply(params, seen.reshape((steps * batch, *seen.shape[2:])))
    return jnp.broadcast_to(
        ys.reshape((steps, batch, *ys.shape[1:])), (xs.shape[0], batch, *ys.shape[1:])
    )


def check_slice(shape: Shape) -> None:
    """The shape of one time slice has a B axis."""
    if not shape:
        raise ValueError(
            "a network takes sequences [T, B, ...]: its state needs the shape of one time slice, "
            f"[B, ...], got {list(shape)}"
        )


def pointwise(synapse: Synapse, *, inputs: Inputs = varying_input) -> Layer:
    """A layer without memory, from a synapse alone: yᵗ = apply(params, xᵗ).

    Args:
      synapse: what to apply at every step.
      inputs: `varying_input`, or `static_input` where all T steps are the same.

    Returns:
      A `Layer` whose params are the synapse's, in `LayerParams`, and whose state is `()`.
    """

    def init(key: Array, shape: Shape) -> tuple[LayerParams, Shape]:
        params, out = synapse.init(key, shape)
        return LayerParams(params, ()), out

    def initial_state(
        params: LayerParams, shape: Shape, *, key: Array | None = None
    ) -> tuple[State, Shape]:
        return (), out_shape(synapse, params.synapse, shape)

    def step(params: LayerParams, state: State, x: Array) -> tuple[State, Array]:
        return state, synapse.apply(params.synapse, x)

    def unroll(params: LayerParams, state: State, xs: Array) -> tuple[State, Array]:
        return state, _over_time(synapse, inputs, params.synapse, xs)

    return Layer(
        init, initial_state, step, unroll, without_report(unroll), lambda: constants_of(synapse)
    )


def out_shape(synapse: Synapse, params: Params, shape: Shape) -> Shape:
    """What a synapse makes of a time slice `[B, *in]`: `[B, *out]`."""
    check_slice(shape)
    x = jax.ShapeDtypeStruct(shape, jnp.result_type(float))
    return jax.eval_shape(synapse.apply, params, x).shape


def spiking(synapse: Synapse, neuron: Neuron, *, inputs: Inputs = varying_input) -> Layer:
    """A layer from a synapse and a neuron: Iᵗ = synapse(xᵗ), then the neuron's dynamics.

    `unroll` applies the synapse to all steps at once, then unrolls the neuron over the currents.

    Args:
      synapse: `dense(...)` and `conv(...)` make theirs; any pure map will do.
      neuron: any `Neuron`; `lif(...)` for one.
      inputs: `varying_input`, or `static_input` where all T steps are the same.

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

    def step(params: LayerParams, state: State, x: Array) -> tuple[State, Array]:
        arguments.batch("state", state, len(x))
        return neuron.step(params.neuron, state, synapse.apply(params.synapse, x))

    def unroll(params: LayerParams, state: State, xs: Array) -> tuple[State, Array]:
        arguments.sequence("xs", xs)
        arguments.batch("state", state, xs.shape[1])
        currents = _over_time(synapse, inputs, params.synapse, xs)
        return neuron.unroll(params.neuron, state, currents)

    def named() -> dict[str, Any]:
        return {**constants_of(synapse), "units": constants_of(neuron)}

    if not neuron.spiking:
        return Layer(init, initial_state, step, unroll, without_report(unroll), named)

    def unroll_with_stats(
        params: LayerParams, state: State, xs: Array
    ) -> tuple[State, Array, tuple[LayerStats]]:
        arguments.sequence("xs", xs)
        arguments.batch("state", state, xs.shape[1])
        currents = _over_time(synapse, inputs, params.synapse, xs)

        def observed(params: Params, carried: Any, current: Array) -> tuple[Any, Array]:
            state, spikes, inside = carried
            state, out = neuron.step(params, state, current)
            inside = inside + _share_in_window(neuron, params, state)
            return (state, spikes + jnp.mean(out, axis=0, dtype=jnp.float32), inside), out

        zeros = jnp.zeros(currents.shape[2:], jnp.float32), jnp.zeros((), jnp.float32)
        (state, spikes, inside), outs = scan(observed)(params.neuron, (state, *zeros), currents)
        steps = xs.shape[0]
        fan_out = (
            jnp.nan if synapse.fan_out is None else synapse.fan_out(params.synapse, xs.shape[2:])
        )
        operations = synaptic_operations(inputs(xs), fan_out)
        report = LayerStats(spikes / steps, inside / steps, jnp.mean(operations))
        return state, outs, (report,)

    return Layer(init, initial_state, step, unroll, unroll_with_stats, named)


def _share_in_window(neuron: Neuron, params: Params, state: State) -> Array:
    """Share of the units inside the surrogate's window; NaN where the neuron does not say."""
    if neuron.in_window is None:
        return jnp.float32(jnp.nan)
    return jnp.mean(neuron.in_window(params, state), dtype=jnp.float32)


def linear_fan_out(
    apply: Callable[[Params, Array], Array],
) -> Callable[[Params, Shape], Array]:
    """The `fan_out` of a synapse that is linear in its input and in its parameters.

    How many synapses each input unit drives, borders of convolutions included: the gradient of the
    summed output of an all-ones synapse.

    Args:
      apply: of the synapse, `(params, x [B, *in]) -> y [B, *out]`.

    Returns:
      `(params, shape) -> [*in]`, float32; of the parameters only their shapes matter.

    >>> linear_fan_out(lambda kernel, x: x @ kernel)(jnp.zeros((2, 3)), (2,))
    Array([3., 3.], dtype=float32)
    """

    def fan_out(params: Params, shape: Shape) -> Array:
        # bfloat16 counts to 256 alone.
        ones = jax.tree.map(lambda p: jnp.ones(p.shape, jnp.float32), params)
        count = jax.grad(lambda x: jnp.sum(apply(ones, x[None])))
        return count(jnp.zeros(shape, jnp.float32))

    return fan_out


def layer_of(synapse: Synapse, neuron: Neuron | None, inputs: Inputs) -> Layer:
    """`spiking`, or `pointwise` where there is no neuron."""
    arguments.instance("neuron", neuron, Neuron | None, "a Neuron, such as lif(), or None")
    arguments.function("inputs", inputs, "varying_input or static_input")
    if neuron is None:
        return pointwise(synapse, inputs=inputs)
    return spiking(synapse, neuron, inputs=inputs)
