"""The types `Neuron` and `Layer`: records of pure functions over pytrees, as in optax.

A neuron is an elementwise recurrent cell; a layer maps sequences to sequences. Both have a `step`
for one time step and an `unroll` for all of them, with equal results.

Axes come in this order: T time, B batch, then the units (`*units`, `*in`). C counts classes, H
hyper-parameter points, S seeds. `x` and `current` are one time slice `[B, ...]`; `xs` and
`currents` have the leading T.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from stbp_jax import arguments, reprs

Array = jax.Array
PyTree = Any
Params = Any
State = Any
Shape = tuple[int, ...]
Step = Callable[[Params, State, Array], tuple[State, Array]]
Unroll = Callable[[Params, State, Array], tuple[State, Array]]


class Neuron(NamedTuple):
    """Dynamics of a population, elementwise over its units.

    Attributes:
      init: `(key, shape) -> params`, `shape = units`; `()` where nothing is learned.
      initial_state: `(shape, dtype) -> state` at rest, `shape = [B, *units]`.
      step: `(params, state, current [B, *units]) -> (state, out [B, *units])`, a `lax.scan` body.
      unroll: `(params, state, currents [T, B, *units]) -> (state, outs [T, B, *units])`; equals
        the scan of `step`.
      in_window: `(params, state) -> bool [B, *units]`: whether each unit's membrane lies inside
        the surrogate's window. None if unknown: the statistics then hold NaN.
      spiking: whether the outputs are spikes; a neuron that does not spike has no statistics.
      constants: `() -> dict` from names to the numbers and function names that shape the forward
        pass, which `save` stores, and to the surrogate, which `save` omits; None if unknown.
    """

    init: Callable[[Array, Shape], Params]
    initial_state: Callable[[Shape, Any], State]
    step: Step
    unroll: Unroll
    in_window: Callable[[Params, State], Array] | None = None
    spiking: bool = True
    constants: Callable[[], dict[str, Any]] | None = None

    def __repr__(self) -> str:
        """The factory's call, as far as `constants` names its arguments."""
        return _text(self)


class LayerStats(NamedTuple):
    """Statistics of one spiking layer over a batch of examples.

    An unknown number is NaN. A layer without statistics has the entry `MISSING`, which is all NaN,
    so that the entries of the other layers keep their places.

    Attributes:
      firing_rate: `[*units]`, spikes per step of each unit, mean over T and B.
      in_window: scalar in [0, 1], fraction of (unit, step) pairs whose membrane lies inside the
        surrogate's window: nearer to the threshold than half the curve's full width at half
        maximum.
      operations: scalar, synaptic operations per example: the synapses that each non-zero input
        drives, summed over inputs and steps; NaN if the synapse has no `fan_out`. Recurrent
        synapses are not counted.
    """

    firing_rate: Array
    in_window: Array
    operations: Array


_UNKNOWN: Any = np.float32(np.nan)
MISSING = LayerStats(_UNKNOWN, _UNKNOWN, _UNKNOWN)


class Layer(NamedTuple):
    """A map with a state from input sequences to output sequences; a network is a layer too.

    Attributes:
      init: `(key, shape) -> (params, out_shape)`; shapes without T and B.
      initial_state: `(params, shape, *, key=None) -> (state, out_shape)` at rest; shapes are of
        one time slice, `[B, *in]`. Random layers (dropout) need `key`; None turns them off.
      step: `(params, state, x [B, *in]) -> (state, y [B, *out])`.
      unroll: `(params, state, xs [T, B, *in]) -> (state, ys [T, B, *out])`; equals the scan of
        `step`.
      unroll_with_stats: as `unroll`, but returns `(state, ys, stats)`; `stats` is a tuple with one
        `LayerStats` for each spiking layer inside, `()` if none spikes. None if unknown: the
        statistics then have one entry `MISSING` for this layer.
      constants: `() -> dict`, as in `Neuron`.
      layers: the layers of a `serial`, in order, for `summary`; `params` is then a tuple with one
        entry for each of them. `()` for a single layer.
    """

    init: Callable[[Array, Shape], tuple[Params, Shape]]
    initial_state: Callable[..., tuple[State, Shape]]
    step: Step
    unroll: Unroll
    unroll_with_stats: (
        Callable[[Params, State, Array], tuple[State, Array, tuple[LayerStats, ...]]] | None
    ) = None
    constants: Callable[[], dict[str, Any]] | None = None
    layers: "tuple[Layer, ...]" = ()

    def __repr__(self) -> str:
        """The factory's call, as far as `constants` names its arguments."""
        return _text(self)


def scan(step: Step) -> Unroll:
    """Make the reference `unroll` of a `step`: `lax.scan` over the leading time axis.

    Args:
      step: `(params, state, x) -> (state, y)`.

    Returns:
      `(params, state, xs [T, ...]) -> (state, ys [T, ...])`.
    """

    def unroll(params: Params, state: State, xs: Array) -> tuple[State, Array]:
        arguments.sequence("xs", xs)
        return lax.scan(lambda s, x: step(params, s, x), state, xs)

    return unroll


def without_stats(unroll: Unroll) -> Callable[..., tuple[State, Array, tuple[LayerStats, ...]]]:
    """Make the `unroll_with_stats` of a layer in which nothing spikes from its `unroll`."""
    return lambda params, state, xs: (*unroll(params, state, xs), ())


def constants_of(part: Any) -> dict[str, Any]:
    """Return the constants of a neuron, layer or synapse; `{}` if they are unknown."""
    return {} if part.constants is None else part.constants()


def _text(part: Any) -> str:
    named = constants_of(part)
    if named:
        return reprs.call_text(named)
    return f"{type(part).__name__}(step={reprs.value_text(part.step)})"


def name_of(function: Any) -> str:
    """Return a function's name, for `constants`: functions of equal names count as equal."""
    return getattr(function, "__name__", None) or type(function).__name__


def unroll_with_stats(
    layer: Layer, params: Params, state: State, xs: Array
) -> tuple[State, Array, tuple[LayerStats, ...]]:
    """Call `layer.unroll_with_stats`; if it is None, `layer.unroll` with the entry `MISSING`."""
    if layer.unroll_with_stats is not None:
        return layer.unroll_with_stats(params, state, xs)
    return (*layer.unroll(params, state, xs), (jax.tree.map(jnp.asarray, MISSING),))
