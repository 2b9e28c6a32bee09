"""The recursion step by step, for a CPU.

The loops carry the hidden variables and no spikes: with spikes XLA takes twice as long. The first
and the last step are outside of the loops, because only the caller's state, and the cotangent of
the last state, have spikes of their own. Each step writes its result over its input in the same
stack, so that XLA neither copies nor clears a stack.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax.core import Array, wide_dtype
from stbp_jax.neurons.recursion import Fixed, Functions, Hidden, Keep, step_of


def forward(
    keep: Keep,
    functions: Functions,
    fixed: Fixed,
    given: Any,
    state: Any,
    currents: Array,
) -> tuple[Any, tuple[Array, ...]]:
    """Run all steps; the first of the stored stacks overwrites `currents`.

    Args:
      keep: what is stored of each step.
      functions: the neuron's functions.
      fixed: arguments without a gradient.
      given: `(constants, numbers)`.
      state: before the first step, `[B, *units]`.
      currents: `[T, B, *units]`.

    Returns:
      `(last state, stored arrays [T, B, *units])`.
    """
    step = step_of(functions, fixed)

    def enter(before: Any, t: Any, stacks: tuple[Array, ...]) -> tuple[Hidden, tuple[Array, ...]]:
        membrane, *others = step.reset(given, before, _at(fixed.is_first, t))
        hidden = (membrane + _at(stacks[0], t), *others)
        kept = zip(stacks, keep(step, given, hidden), strict=True)
        return hidden, tuple(lax.dynamic_update_index_in_dim(s, k, t, 0) for s, k in kept)

    def body(t: Array, now: tuple[Hidden, tuple[Array, ...]]) -> tuple[Hidden, tuple[Array, ...]]:
        hidden, stacks = now
        return enter(step.state(given, hidden), t, stacks)

    stored = jax.eval_shape(functools.partial(keep, step), given, step.hidden(state))
    stacks = (currents, *(jnp.zeros_like(currents) for _ in stored[1:]))
    last, kept = lax.fori_loop(1, currents.shape[0], body, enter(state, 0, stacks))
    return step.state(given, last), kept


def backward(
    functions: Functions,
    fixed: Fixed,
    given: Any,
    initial: Any,
    kept: tuple[Array, ...],
    last_bar: Any,
    spikes_bar: Array,
) -> tuple[Any, Any, Array]:
    """Return the cotangents of `given`, of the first state and of the currents.

    Args:
      functions: the neuron's functions.
      fixed: arguments without a gradient.
      given: `(constants, numbers)`.
      initial: the state before the first step.
      kept: the hidden variables of all steps, each `[T, B, *units]`.
      last_bar: cotangent of the last state.
      spikes_bar: cotangents of the spikes, `[T, B, *units]`.
    """
    step = step_of(functions, fixed)
    steps = spikes_bar.shape[0]
    # With several hidden arrays, reading from the written stack makes XLA copy it at every step.
    single = len(kept) == 1

    def hidden_at(t: Any) -> Hidden:
        return tuple(_at(stack, t) for stack in kept)

    # The loop also sums the gradient of the constants; XLA removes the sum if it is not used.
    def add(total: Any, bar: Any) -> Any:
        return jax.tree.map(lambda a, b: a + b.astype(a.dtype), total, bar)

    def future_of(state: Any, t: Any, eps: Hidden, total: Any) -> tuple[Any, Any]:
        first = _at(fixed.is_first, t)
        bar, future = jax.vjp(lambda g, s: step.reset(g, s, first), given, state)[1](eps)
        return future, add(total, bar)

    def leave(future: Any, t: Any, total: Any, stack: Array) -> tuple[Hidden, Any, Array]:
        hidden = hidden_at(t)
        later, by_reset = step.parts(given, hidden, future)
        distance, pull = jax.vjp(step.distance, given, hidden)
        delta = _at(stack if single else spikes_bar, t) + by_reset
        bar, through_spike = pull(delta * step.slope(given, distance))
        eps = tuple(a + b for a, b in zip(through_spike, later, strict=True))
        return eps, add(total, bar), lax.dynamic_update_index_in_dim(stack, eps[0], t, 0)

    def body(back: Array, later: tuple[Any, Any, Array]) -> tuple[Hidden, Any, Array]:
        t, (eps, total, stack) = steps - 1 - back, later
        future, total = future_of(step.state(given, hidden_at(t)), t + 1, eps, total)
        return leave(future, t, total, stack)

    zero = jax.tree.map(lambda c: jnp.zeros_like(c, dtype=wide_dtype(c.dtype)), given)
    stack = spikes_bar if single else jnp.zeros_like(spikes_bar)
    final = leave(last_bar, steps - 1, zero, stack)
    eps, total, currents_bar = lax.fori_loop(1, steps, body, final)
    initial_bar, total = future_of(initial, 0, eps, total)
    given_bar = jax.tree.map(lambda b, c: b.astype(c.dtype), total, given)
    return given_bar, initial_bar, currents_bar


def _at(stack: Array | None, t: Any) -> Any:
    return None if stack is None else lax.dynamic_index_in_dim(stack, t, keepdims=False)
