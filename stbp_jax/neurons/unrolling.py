"""The fast unroll of any spiking neuron, with the paper's recursion as its gradient.

A `Dynamics` describes one kind of neuron by four functions; `unroll` runs it forward over T steps,
and its custom_vjp runs the recursion backward, on a CPU by `loop` and elsewhere by `blocks`. The
hidden variables of a neuron are its state without the spikes: the membrane, and for `alif` also the
adaptation. The backward pass stores the hidden variables of every step and recomputes the spikes
from them.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Bool, Float, Real

from stbp_jax import arguments, meshes
from stbp_jax.closures import no_gradient, opened, reverse_mode
from stbp_jax.core import AnyArray, Array
from stbp_jax.neurons import blocks, loop
from stbp_jax.neurons.recursion import (
    Dynamics,
    Fixed,
    Functions,
    Hidden,
    Keep,
    Step,
    in_dtype,
    step_of,
)

# The `checkpoint_name` of what the backward pass stores, for policies of `jax.checkpoint`.
MEMBRANE = "membrane"
"""The name under which unrolls save membranes, for policies of `jax.checkpoint`."""


def unroll(
    dynamics: Dynamics,
    constants: Any,
    state: Any,
    currents: Real[AnyArray, "T B *units"],
    is_first: Bool[AnyArray, "T B"] | None = None,
    rest: Any = None,
    *,
    block: int | None = None,
) -> tuple[Any, Float[Array, "T B *units"]]:
    """Run all T steps from a state; the gradient is the recursion in `lif_unroll`.

    Args:
      dynamics: the neuron's functions; `reset`, `distance` and the surrogate may close over traced
        numbers.
      constants: a pytree; gradients reach all its leaves except those of the surrogate.
      state: before the first step, `[B, *units]`.
      currents: `[T, B, *units]`; converted to the dtype of the state.
      is_first: `[T, B]` bool; where it is set, that example enters the step at rest. None for
        nowhere.
      rest: the state at rest, of the form of `state`, for `is_first`; None for zeros. Gradients do
        not reach it.
      block: steps per block on a GPU or TPU; None chooses it by T (`blocks`).

    Returns:
      `(last state, spikes [T, B, *units])`.

    Raises:
      TypeError: `is_first` is not an array of bool; `block` is not an integer; `state` or `hidden`
        of the dynamics closes over a traced number.
      ValueError: T = 0, a state of another shape than one time slice of the currents, `is_first` of
        another shape than `[T, B]`, or `block` below 1.
    """
    block = blocks.check_block(block)
    arguments.sequence("currents", currents)
    arguments.state("state", state, currents.shape[1:])
    constants = in_dtype(constants, state.spikes)
    functions, numbers, closed = _open(dynamics, constants, state)
    fixed = Fixed(closed, None, None)
    if is_first is not None:
        arguments.restarts("is_first", is_first, currents)
        at_rest = jax.tree.map(jnp.zeros_like, state) if rest is None else rest
        fixed = Fixed(closed, jnp.asarray(is_first), lax.stop_gradient(at_rest))
    fixed, given, state, currents = meshes.vary_alike(
        fixed, (constants, numbers), state, currents.astype(state.spikes.dtype)
    )

    def first(state: Any, currents: Array) -> Any:
        step = step_of(functions, fixed)
        membrane, *others = step.reset(given, state, None)
        return step.state(given, (membrane + currents[0], *others))

    state = meshes.settle(first, state, currents)
    run = _unroll if jax.tree.leaves((numbers, closed)) else _compiled
    return reverse_mode(run, functions, block, fixed, given, state, currents)


def _spikes(constants: Any, distance: Array) -> Array:
    return constants.surrogate(distance)


def _slope(constants: Any, distance: Array) -> Array:
    return constants.surrogate.derivative(distance)


def _open(dynamics: Dynamics, constants: Any, state: Any) -> tuple[Functions, Any, Any]:
    """Turn the traced numbers that the functions close over into arguments for a custom_vjp.

    Returns:
      `(functions, numbers, closed)`: the closed-over arrays with a gradient, and those without.
    """
    hidden = dynamics.hidden(state)
    for name, args in (("state", (hidden, state.spikes)), ("hidden", (state,))):
        if opened(getattr(dynamics, name), *args)[1]:
            raise TypeError(
                f"dynamics.{name} must not close over traced numbers, because they would get no "
                "gradient: only reset and distance may, or have them from the constants"
            )
    parts: tuple[tuple[Callable[..., Any], tuple[Any, ...], bool], ...] = (
        (dynamics.reset, (constants, state), True),
        (dynamics.distance, (constants, hidden), True),
        (_spikes, (constants, hidden[0]), False),
        (_slope, (constants, hidden[0]), False),
    )
    functions: list[Callable[..., Any]] = []
    numbers: list[list[Array]] = []
    others: list[list[Array]] = []
    for index, (function, args, has_gradient) in enumerate(parts):
        opened_function, closed = opened(function, *args)
        differentiable = tuple(
            has_gradient and jnp.issubdtype(c.dtype, jnp.inexact) for c in closed
        )
        with_closed = _with_closed if closed else _with_nothing_closed
        functions.append(with_closed(opened_function, index, differentiable))
        numbers.append([c for c, moving in zip(closed, differentiable, strict=True) if moving])
        others.append([c for c, moving in zip(closed, differentiable, strict=True) if not moving])
    reset, distance, fire, slope = functions
    opened_all = Functions(reset, distance, fire, slope, dynamics.state, dynamics.hidden)
    return opened_all, numbers, others


def _with_closed(
    function: Callable[..., Any], index: int, differentiable: tuple[bool, ...]
) -> Callable[..., Any]:
    """Make a function of `(constants, numbers, closed)` and one more argument."""

    def with_closed(given: Any, x: Any) -> Any:
        constants, numbers, closed = given
        moving, rest = iter(numbers[index]), iter(closed[index])
        return function(constants, x, *(next(moving if m else rest) for m in differentiable))

    return with_closed


_with_nothing_closed = functools.lru_cache(_with_closed)  # equal functions share a program


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _unroll(
    functions: Functions, block: int | None, fixed: Fixed, given: Any, state: Any, currents: Array
) -> tuple[Any, Array]:
    last, (spikes,) = _run_steps(_spikes_of, functions, block, fixed, given, state, currents)
    return last, spikes


def _spikes_of(step: Step, given: Any, hidden: Hidden) -> tuple[Array, ...]:
    return (step.spikes(given, hidden),)


def _hidden(step: Step, given: Any, hidden: Hidden) -> tuple[Array, ...]:
    return hidden


def _run_steps(
    keep: Keep,
    functions: Functions,
    block: int | None,
    fixed: Fixed,
    given: Any,
    state: Any,
    currents: Array,
) -> tuple[Any, tuple[Array, ...]]:
    """Run all steps; return the last state and what `keep` stores, stacked over T."""
    return blocks.by_platform(
        functools.partial(loop.forward, keep, functions),
        functools.partial(blocks.forward, keep, functions, block),
        currents.shape[0],
        (fixed, given, state, currents),
    )


def _forward(
    functions: Functions, block: int | None, fixed: Fixed, given: Any, state: Any, currents: Array
) -> tuple[tuple[Any, Array], tuple[Fixed, Any, Any, tuple[Array, ...]]]:
    last, kept = _run_steps(_hidden, functions, block, fixed, given, state, currents)
    kept = tuple(checkpoint_name(stack, MEMBRANE) for stack in kept)
    spikes = jax.vmap(functools.partial(step_of(functions, fixed).spikes, given))(kept)
    return (last, spikes), (fixed, given, state, kept)


def _backward(
    functions: Functions,
    block: int | None,
    residuals: tuple[Fixed, Any, Any, tuple[Array, ...]],
    cotangents: tuple[Any, Array],
) -> tuple[Any, Any, Any, Array]:
    bars = blocks.by_platform(
        functools.partial(loop.backward, functions),
        functools.partial(blocks.backward, functions, block),
        cotangents[1].shape[0],
        (*residuals, *cotangents),
    )
    return jax.tree.map(no_gradient, residuals[0]), *bars


_unroll.defvjp(_forward, _backward)

# One trace for all calls with equal functions and shapes: of equal layers, of the inner steps of
# MAML, and of calls outside of `jit`. Functions with closed-over tracers differ at every call.
_compiled = jax.jit(_unroll, static_argnums=(0, 1))
