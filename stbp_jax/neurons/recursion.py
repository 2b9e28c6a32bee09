"""The equations of a spiking neuron as functions, and one step of them for the fast unrolls."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from stbp_jax.core import Array, restart_where
from stbp_jax.reprs import record_text

Hidden = tuple[Array, ...]
"""Hidden variables of one step, each `[B, *units]`; the first is the membrane."""


class Dynamics(NamedTuple):
    """The equations of one kind of spiking neuron, as functions.

    In one step, `reset` gives the hidden variables, the current is added to the first of them (the
    membrane), and the spikes are H of the `distance`. A state is a NamedTuple with `spikes`; the
    constants have a `surrogate`.

    Attributes:
      reset: `(constants, state) -> hidden`, from the previous step to the current one.
      distance: `(constants, hidden) -> [B, *units]`, the membrane minus the threshold.
      state: `(hidden, spikes) -> state`; gradients cross what it computes.
      hidden: `state -> hidden`, the inverse of `state`.

    `reset` and `distance` may close over traced numbers, `state` and `hidden` may not.

    >>> from stbp_jax.neurons import LIFState
    >>> dynamics = Dynamics(
    ...     reset=lambda c, s: (c.decay * s.membrane * (1 - s.spikes),),
    ...     distance=lambda c, hidden: hidden[0] - c.threshold,
    ...     state=lambda hidden, spikes: LIFState(hidden[0], spikes),
    ...     hidden=lambda state: (state.membrane,),
    ... )
    >>> dynamics.hidden(LIFState(1.0, 0.0))
    (1.0,)
    """

    reset: Callable[[Any, Any], Hidden]
    distance: Callable[[Any, Hidden], Array]
    state: Callable[[Hidden, Array], Any]
    hidden: Callable[[Any], Hidden]

    def __repr__(self) -> str:
        """The fields, functions by their names."""
        return record_text(self)


def hidden_of(found: Any) -> Hidden:
    """Return what a reset gives, a tuple; an array in its place would be taken apart by examples.

    Raises:
      TypeError: it is no tuple.
    """
    if not isinstance(found, tuple):
        raise TypeError(
            "reset must return a tuple of the hidden variables, the membrane first, got "
            f"{type(found).__name__ if not hasattr(found, 'shape') else 'one array'}"
        )
    return found


def in_dtype(constants: Any, like: Array) -> Any:
    """Convert constants to the dtype of a state, so that they do not widen it."""
    return jax.tree.map(lambda c: jnp.asarray(c, like.dtype), constants)


class Functions(NamedTuple):
    """A `Dynamics` and its surrogate, with `(constants, numbers, closed)` as first argument.

    `numbers` and `closed` are what the functions closed over, with a gradient and without one.
    """

    reset: Callable[[Any, Any], Hidden]
    distance: Callable[[Any, Hidden], Array]
    fire: Callable[[Any, Array], Array]
    slope: Callable[[Any, Array], Array]
    state: Callable[[Hidden, Array], Any]
    hidden: Callable[[Any], Hidden]


class Fixed(NamedTuple):
    """Arguments of an unroll without a gradient.

    Attributes:
      closed: as in `Functions`.
      is_first: `[T, B]` bool, or None for no restarts.
      rest: the state at rest, for restarts.
    """

    closed: Any
    is_first: Array | None
    rest: Any


class Step(NamedTuple):
    """One step; the first argument, `given`, is `(constants, numbers)`, all that has a gradient.

    Attributes:
      reset: `(given, state, first) -> hidden`, from the previous step to the current one; an
        example whose `first [B]` is set enters at rest, and `first` is None for no restarts.
      distance: `(given, hidden) -> [B, *units]`, the membrane minus the threshold.
      slope: `(given, distance) -> [B, *units]`, the surrogate's value.
      spikes: `(given, hidden) -> [B, *units]`.
      state: `(given, hidden) -> state`, with the spikes of the hidden variables.
      hidden: `state -> hidden`.
      parts: `(given, hidden, bar) -> (hidden_bar, spikes_bar)`, what the cotangent of a state is to
        the hidden variables and to the spikes that it is made of.
    """

    reset: Callable[[Any, Any, Any], Hidden]
    distance: Callable[[Any, Hidden], Array]
    slope: Callable[[Any, Array], Array]
    spikes: Callable[[Any, Hidden], Array]
    state: Callable[[Any, Hidden], Any]
    hidden: Callable[[Any], Hidden]
    parts: Callable[[Any, Hidden, Any], tuple[Hidden, Array]]


def step_of(functions: Functions, fixed: Fixed) -> Step:
    """Return the equations of one step."""

    def reset(given: Any, state: Any, first: Any) -> Hidden:
        entering = state if first is None else restart_where(first, state, fixed.rest)
        return hidden_of(functions.reset((*given, fixed.closed), entering))

    def distance(given: Any, hidden: Hidden) -> Array:
        return functions.distance((*given, fixed.closed), hidden)

    def slope(given: Any, distance: Array) -> Array:
        return functions.slope((*given, fixed.closed), distance)

    def spikes(given: Any, hidden: Hidden) -> Array:
        return functions.fire((*given, fixed.closed), distance(given, hidden))

    def state(given: Any, hidden: Hidden) -> Any:
        return functions.state(hidden, spikes(given, hidden))

    def parts(given: Any, hidden: Hidden, bar: Any) -> tuple[Hidden, Array]:
        hidden_bar, spikes_bar = jax.vjp(functions.state, hidden, spikes(given, hidden))[1](bar)
        return hidden_bar, spikes_bar

    return Step(reset, distance, slope, spikes, state, functions.hidden, parts)


Keep = Callable[[Step, Any, Hidden], tuple[Array, ...]]
"""What a forward pass stores of a step: `(step, given, hidden) -> arrays`."""
