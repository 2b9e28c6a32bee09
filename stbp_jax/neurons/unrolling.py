"""Any spiking neuron unrolled over time, with the paper's recursion as its gradient.

Decides how a population is run forwards and backwards over T steps, what of each step is kept, and
that nothing but arrays of the units goes round the loops. Leaves out all dynamics: a `Dynamics`
names them.

Of each step backward keeps what is hidden, the membrane above all; spikes are computed anew.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from stbp_jax.core import Array

# What backward needs of a neuron goes by this name, for policies of `jax.checkpoint`.
MEMBRANE = "membrane"

Hidden = tuple[Array, ...]


class Dynamics(NamedTuple):
    """What sets one kind of spiking neuron apart; functions alone, so that it is static.

    What is hidden is a tuple of arrays `[B, *units]`, first the membrane, to which the current is
    added. A state is a NamedTuple with `spikes`. Constants have a `surrogate`.

    Attributes:
      carry: `(constants, state) -> hidden` that enters the next step.
      distance: `(constants, hidden) -> [B, *units]`, how far above the threshold.
      state: `(hidden, spikes) -> state`.
      hidden: `state -> hidden`.
    """

    carry: Callable[[Any, Any], Hidden]
    distance: Callable[[Any, Hidden], Array]
    state: Callable[[Hidden, Array], Any]
    hidden: Callable[[Any], Hidden]


def in_dtype(constants: Any, like: Array) -> Any:
    """Constants in the dtype of a state, which they must not widen."""
    return jax.tree.map(lambda c: jnp.asarray(c, like.dtype), constants)


def unroll(dynamics: Dynamics, constants: Any, state: Any, currents: Array) -> tuple[Any, Array]:
    """All steps from a state, fast; backward by the recursion that `lif_unroll` shows.

    Args:
      dynamics: whose functions close over no traced values.
      constants: a pytree; gradients reach its leaves but for the surrogate's.
      state: of the step before the first, `[B, *units]`.
      currents: `[T, B, *units]`; taken in the dtype of the state.

    Returns:
      `(last state, spikes [T, B, *units])`.
    """
    return _unroll(dynamics, constants, state, currents.astype(state.spikes.dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _unroll(dynamics: Dynamics, constants: Any, state: Any, currents: Array) -> tuple[Any, Array]:
    c = in_dtype(constants, state.spikes)
    last, (spikes,) = _march(lambda h: (_fire(dynamics, c, h),), dynamics, c, state, currents)
    return last, spikes


# Loops carry what is hidden and no spikes: with them XLA takes twice as long on a CPU. The ends
# stand alone, because only there are spikes given that need not follow their membrane. What is
# written takes the place of what was read at the same step, so that no stack is copied or cleared.


def _march(
    keep: Callable[[Hidden], tuple[Array, ...]],
    dynamics: Dynamics,
    constants: Any,
    state: Any,
    currents: Array,
) -> tuple[Any, tuple[Array, ...]]:
    """Last state, and `keep(hidden)` of every step, the first array in the place of `currents`."""

    def enter(before: Any, t: Any, stacks: tuple[Array, ...]) -> tuple[Hidden, tuple[Array, ...]]:
        membrane, *rest = dynamics.carry(constants, before)
        hidden = (membrane + _at(stacks[0], t), *rest)
        kept = zip(stacks, keep(hidden), strict=True)
        return hidden, tuple(lax.dynamic_update_index_in_dim(s, k, t, 0) for s, k in kept)

    def step(t: Array, now: tuple[Hidden, tuple[Array, ...]]) -> tuple:
        hidden, stacks = now
        return enter(dynamics.state(hidden, _fire(dynamics, constants, hidden)), t, stacks)

    others = len(jax.eval_shape(keep, dynamics.hidden(state))) - 1
    stacks = (currents, *(jnp.zeros_like(currents) for _ in range(others)))
    last, kept = lax.fori_loop(1, len(currents), step, enter(state, 0, stacks))
    return dynamics.state(last, _fire(dynamics, constants, last)), kept


def _at(stack: Array, t: Any) -> Array:
    return lax.dynamic_index_in_dim(stack, t, keepdims=False)


def _fire(dynamics: Dynamics, constants: Any, hidden: Hidden) -> Array:
    return constants.surrogate(dynamics.distance(constants, hidden))


def _forward(
    dynamics: Dynamics, constants: Any, state: Any, currents: Array
) -> tuple[tuple[Any, Array], tuple[Any, Any, tuple[Array, ...]]]:
    c = in_dtype(constants, state.spikes)
    last, kept = _march(lambda hidden: hidden, dynamics, c, state, currents)
    kept = tuple(checkpoint_name(stack, MEMBRANE) for stack in kept)
    spikes = jax.vmap(functools.partial(_fire, dynamics, c))(kept)
    return (last, spikes), (constants, state, kept)


def _backward(
    dynamics: Dynamics,
    residuals: tuple[Any, Any, tuple[Array, ...]],
    cotangents: tuple[Any, Array],
) -> tuple[Any, Any, Array]:
    given, initial, kept = residuals
    last_bar, spikes_bar = cotangents
    constants, to_given = jax.vjp(lambda c: in_dtype(c, kept[0]), given)

    def hidden_at(t: Any) -> Hidden:
        return tuple(_at(stack, t) for stack in kept)

    # The gradient to the constants rides along; where nobody asks for it, XLA drops it.
    def add(total: Any, bar: Any) -> Any:
        return jax.tree.map(lambda a, b: a + b.astype(a.dtype), total, bar)

    def future_of(state: Any, eps: Hidden, total: Any) -> tuple[Any, Any]:
        bar, future = jax.vjp(dynamics.carry, constants, state)[1](eps)
        return future, add(total, bar)

    def leave(future: Any, t: Any, total: Any, stack: Array) -> tuple[Hidden, Any, Array]:
        distance, pull = jax.vjp(dynamics.distance, constants, hidden_at(t))
        delta = _at(stack if alone else spikes_bar, t) + future.spikes
        bar, through_spike = pull(delta * constants.surrogate.derivative(distance))
        later = dynamics.hidden(future)
        eps = tuple(a + b for a, b in zip(through_spike, later, strict=True))
        return eps, add(total, bar), lax.dynamic_update_index_in_dim(stack, eps[0], t, 0)

    steps = len(spikes_bar)
    # Where each of several hidden arrays reads the stack that is written, XLA copies it every step.
    alone = len(kept) == 1

    def step(back: Array, later: tuple) -> tuple:
        t, (eps, total, stack) = steps - 1 - back, later
        hidden = hidden_at(t)
        state = dynamics.state(hidden, _fire(dynamics, constants, hidden))
        future, total = future_of(state, eps, total)
        return leave(future, t, total, stack)

    zero = jax.tree.map(
        lambda c: jnp.zeros(c.shape, jnp.promote_types(c.dtype, jnp.float32)), constants
    )
    stack = spikes_bar if alone else jnp.zeros_like(spikes_bar)
    final = leave(last_bar, steps - 1, zero, stack)
    eps, total, currents_bar = lax.fori_loop(1, steps, step, final)
    initial_bar, total = future_of(initial, eps, total)
    (constants_bar,) = to_given(jax.tree.map(lambda b, c: b.astype(c.dtype), total, constants))
    return constants_bar, initial_bar, currents_bar


_unroll.defvjp(_forward, _backward)
