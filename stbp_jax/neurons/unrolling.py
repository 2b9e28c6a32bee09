"""The fast unroll of any spiking neuron, with the paper's recursion as its gradient.

A `Dynamics` describes one kind of neuron by four functions; `unroll` runs it forward over T steps,
and its custom_vjp runs the recursion backward. The hidden variables of a neuron are its state
without the spikes: the membrane, and for `alif` also the adaptation. The backward pass stores the
hidden variables of every step and recomputes the spikes from them.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Bool, Float, Real

from stbp_jax import arguments, meshes
from stbp_jax.closures import no_gradient, opened, reverse_mode
from stbp_jax.core import AnyArray, Array, restart_where, wide_dtype
from stbp_jax.neurons.blocks import block_steps, by_platform, check_block
from stbp_jax.reprs import record_text

# The `checkpoint_name` of what the backward pass stores, for policies of `jax.checkpoint`.
MEMBRANE = "membrane"

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
      state: `(hidden, spikes) -> state`.
      hidden: `state -> hidden`.
    """

    reset: Callable[[Any, Any], Hidden]
    distance: Callable[[Any, Hidden], Array]
    state: Callable[[Hidden, Array], Any]
    hidden: Callable[[Any], Hidden]

    def __repr__(self) -> str:
        """The fields, functions by their names."""
        return record_text(self)


def in_dtype(constants: Any, like: Array) -> Any:
    """Convert constants to the dtype of a state, so that they do not widen it."""
    return jax.tree.map(lambda c: jnp.asarray(c, like.dtype), constants)


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
      dynamics: the neuron's functions; they and the surrogate may close over traced numbers.
      constants: a pytree; gradients reach all its leaves except those of the surrogate.
      state: before the first step, `[B, *units]`.
      currents: `[T, B, *units]`; converted to the dtype of the state.
      is_first: `[T, B]` bool; where it is set, that example enters the step at rest. None for
        nowhere.
      rest: the state at rest, of the form of `state`, for `is_first`; None for zeros. Gradients do
        not reach it.
      block: steps per block on a GPU; None chooses it by T (`blocks`).

    Returns:
      `(last state, spikes [T, B, *units])`.

    Raises:
      TypeError: `is_first` is not an array of bool; `block` is not an integer.
      ValueError: T = 0, a state of another shape than one time slice of the currents, `is_first` of
        another shape than `[T, B]`, or `block` below 1.
    """
    block = check_block(block)
    arguments.sequence("currents", currents)
    arguments.state("state", state, currents.shape[1:])
    restarts = None
    if is_first is not None:
        arguments.restarts("is_first", is_first, currents)
        at_rest = jax.tree.map(jnp.zeros_like, state) if rest is None else rest
        restarts = jnp.asarray(is_first), lax.stop_gradient(at_rest)
    constants = in_dtype(constants, state.spikes)
    functions, numbers, fixed = _open(dynamics, constants, state, block)
    currents = currents.astype(state.spikes.dtype)
    given = constants, numbers
    fixed, restarts, given, state, currents = meshes.vary_alike(
        fixed, restarts, given, state, currents
    )

    def first(state: Any, currents: Array) -> Any:
        hidden = _enter(functions, (*given, fixed), state, currents[0])
        return functions.state(hidden, _fire(functions, (*given, fixed), hidden))

    state = meshes.settle(first, state, currents)
    run = _unroll if jax.tree.leaves((numbers, fixed)) else _compiled
    return reverse_mode(run, functions, (fixed, restarts), given, state, currents)


class _Functions(NamedTuple):
    """A `Dynamics` and its surrogate, with `(constants, numbers, fixed)` as first argument.

    `block` is the number of steps in a block, where the loop goes by blocks.
    """

    reset: Callable[[Any, Any], Hidden]
    distance: Callable[[Any, Hidden], Array]
    fire: Callable[[Any, Array], Array]
    slope: Callable[[Any, Array], Array]
    state: Callable[[Hidden, Array], Any]
    hidden: Callable[[Any], Hidden]
    block: int | None


def _spikes(constants: Any, distance: Array) -> Array:
    return constants.surrogate(distance)


def _slope(constants: Any, distance: Array) -> Array:
    return constants.surrogate.derivative(distance)


def _open(
    dynamics: Dynamics, constants: Any, state: Any, block: int | None
) -> tuple[_Functions, Any, Any]:
    """Turn the traced numbers that the functions close over into arguments for a custom_vjp.

    Returns:
      `(functions, numbers, fixed)`: the closed-over arrays with a gradient, and those without.
    """
    hidden = dynamics.hidden(state)
    parts: tuple[tuple[Callable[..., Any], tuple[Any, ...], bool], ...] = (
        (dynamics.reset, (constants, state), True),
        (dynamics.distance, (constants, hidden), True),
        (_spikes, (constants, hidden[0]), False),
        (_slope, (constants, hidden[0]), False),
    )
    functions: list[Callable[..., Any]] = []
    numbers: list[list[Array]] = []
    fixed: list[list[Array]] = []
    for index, (function, args, has_gradient) in enumerate(parts):
        opened_function, closed = opened(function, *args)
        differentiable = tuple(
            has_gradient and jnp.issubdtype(c.dtype, jnp.inexact) for c in closed
        )
        with_closed = _with_closed if closed else _with_nothing_closed
        functions.append(with_closed(opened_function, index, differentiable))
        numbers.append([c for c, moving in zip(closed, differentiable, strict=True) if moving])
        fixed.append([c for c, moving in zip(closed, differentiable, strict=True) if not moving])
    reset, distance, fire, slope = functions
    opened_all = _Functions(reset, distance, fire, slope, dynamics.state, dynamics.hidden, block)
    return opened_all, numbers, fixed


def _with_closed(
    function: Callable[..., Any], index: int, differentiable: tuple[bool, ...]
) -> Callable[..., Any]:
    """Make a function of `(constants, numbers, fixed)` and one more argument."""

    def with_closed(given: Any, x: Any) -> Any:
        constants, numbers, fixed = given
        moving, rest = iter(numbers[index]), iter(fixed[index])
        return function(constants, x, *(next(moving if m else rest) for m in differentiable))

    return with_closed


_with_nothing_closed = functools.lru_cache(_with_closed)  # equal functions share a program


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _unroll(
    functions: _Functions, fixed: Any, given: Any, state: Any, currents: Array
) -> tuple[Any, Array]:
    closed, restarts = fixed
    c = (*given, closed)
    last, (spikes,) = _run_steps(
        lambda h: (_fire(functions, c, h),), functions, c, restarts, state, currents
    )
    return last, spikes


def _run_steps(
    keep: Callable[[Hidden], tuple[Array, ...]],
    functions: _Functions,
    constants: Any,
    restarts: Any,
    state: Any,
    currents: Array,
) -> tuple[Any, tuple[Array, ...]]:
    """Run all steps; return the last state and `keep(hidden)` of every step, stacked over T."""
    return by_platform(
        functools.partial(_loop, keep, functions),
        functools.partial(_blocks, keep, functions),
        currents.shape[0],
        (constants, restarts, state, currents),
    )


# On a CPU the loops carry the hidden variables and no spikes: with spikes XLA takes twice as long.
# The first and the last step are outside of the loops, because only the caller's state, and the
# cotangent of the last state, have spikes of their own. Each step writes its result over its input
# in the same stack, so that XLA neither copies nor clears a stack.


def _loop(
    keep: Callable[[Hidden], tuple[Array, ...]],
    functions: _Functions,
    constants: Any,
    restarts: Any,
    state: Any,
    currents: Array,
) -> tuple[Any, tuple[Array, ...]]:
    """`_run_steps` step by step; the first stack overwrites `currents`."""

    def enter(before: Any, t: Any, stacks: tuple[Array, ...]) -> tuple[Hidden, tuple[Array, ...]]:
        entering = _entering(restarts, before, t)
        hidden = _enter(functions, constants, entering, _at(stacks[0], t))
        kept = zip(stacks, keep(hidden), strict=True)
        return hidden, tuple(lax.dynamic_update_index_in_dim(s, k, t, 0) for s, k in kept)

    def step(t: Array, now: tuple[Hidden, tuple[Array, ...]]) -> tuple[Hidden, tuple[Array, ...]]:
        hidden, stacks = now
        return enter(functions.state(hidden, _fire(functions, constants, hidden)), t, stacks)

    others = len(jax.eval_shape(keep, functions.hidden(state))) - 1
    stacks = (currents, *(jnp.zeros_like(currents) for _ in range(others)))
    last, kept = lax.fori_loop(1, currents.shape[0], step, enter(state, 0, stacks))
    return functions.state(last, _fire(functions, constants, last)), kept


# On a GPU every operation of a loop's body is a launch, which costs more than the few bytes of a
# step. The scans below are unrolled by blocks of steps. XLA fuses the steps of a block.


def _blocks(
    keep: Callable[[Hidden], tuple[Array, ...]],
    functions: _Functions,
    constants: Any,
    restarts: Any,
    state: Any,
    currents: Array,
) -> tuple[Any, tuple[Array, ...]]:
    """`_run_steps` by blocks of steps."""
    is_first, rest = (None, None) if restarts is None else restarts

    def state_of(hidden: Hidden) -> Any:
        return functions.state(hidden, _fire(functions, constants, hidden))

    def reset(state: Any, first: Any) -> Hidden:
        entering = state if first is None else restart_where(first, state, rest)
        return functions.reset(constants, entering)

    # The carry is what enters the next step: all blocks are alike, the first one too.
    def step(carry: Any, now: Any) -> tuple[Any, tuple[Array, ...]]:
        ((membrane, *others), _), (current, first) = carry, now
        hidden = (membrane + current, *others)
        return (reset(state_of(hidden), first), hidden), keep(hidden)

    first, following = (None, None) if is_first is None else (is_first[0], _rolled(is_first))
    start = reset(state, first)
    block = block_steps(currents.shape[0], functions.block)
    (_, last), kept = lax.scan(step, (start, start), (currents, following), unroll=block)
    return state_of(last), kept


def _rolled(is_first: Array) -> Array:
    """The restarts of the following step; those after the last step are not used."""
    return jnp.roll(is_first, -1, axis=0)


def _enter(functions: _Functions, constants: Any, before: Any, current: Array) -> Hidden:
    membrane, *rest = functions.reset(constants, before)
    return membrane + current, *rest


def _entering(restarts: Any, before: Any, t: Any) -> Any:
    """The state that enters step t: the one before it, or that at rest."""
    if restarts is None:
        return before
    is_first, rest = restarts
    return restart_where(_at(is_first, t), before, rest)


def _at(stack: Array, t: Any) -> Array:
    return lax.dynamic_index_in_dim(stack, t, keepdims=False)


def _fire(functions: _Functions, constants: Any, hidden: Hidden) -> Array:
    return functions.fire(constants, functions.distance(constants, hidden))


def _forward(
    functions: _Functions, fixed: Any, given: Any, state: Any, currents: Array
) -> tuple[tuple[Any, Array], tuple[Any, Any, Any, tuple[Array, ...]]]:
    closed, restarts = fixed
    c = (*given, closed)
    last, kept = _run_steps(lambda hidden: hidden, functions, c, restarts, state, currents)
    kept = tuple(checkpoint_name(stack, MEMBRANE) for stack in kept)
    spikes = jax.vmap(functools.partial(_fire, functions, c))(kept)
    return (last, spikes), (fixed, given, state, kept)


def _backward(
    functions: _Functions,
    residuals: tuple[Any, Any, Any, tuple[Array, ...]],
    cotangents: tuple[Any, Array],
) -> tuple[Any, Any, Any, Array]:
    fixed = residuals[0]
    bars = by_platform(
        functools.partial(_loop_back, functions),
        functools.partial(_blocks_back, functions),
        cotangents[1].shape[0],
        (*residuals, *cotangents),
    )
    return jax.tree.map(no_gradient, fixed), *bars


def _loop_back(
    functions: _Functions,
    fixed: Any,
    given: Any,
    initial: Any,
    kept: tuple[Array, ...],
    last_bar: Any,
    spikes_bar: Array,
) -> tuple[Any, Any, Array]:
    """Cotangents of the constants, of the first state and of the currents, step by step."""
    closed, restarts = fixed
    constants = (*given, closed)

    def hidden_at(t: Any) -> Hidden:
        return tuple(_at(stack, t) for stack in kept)

    # The loop also sums the gradient of the constants; XLA removes the sum if it is not used.
    def add(total: Any, bar: Any) -> Any:
        return jax.tree.map(lambda a, b: a + b.astype(a.dtype), total, bar)

    def future_of(state: Any, t: Any, eps: Hidden, total: Any) -> tuple[Any, Any]:
        def reset(given: Any, state: Any) -> Hidden:
            return functions.reset((*given, closed), _entering(restarts, state, t))

        bar, future = jax.vjp(reset, given, state)[1](eps)
        return future, add(total, bar)

    def leave(future: Any, t: Any, total: Any, stack: Array) -> tuple[Hidden, Any, Array]:
        def distance_of(given: Any, hidden: Hidden) -> Array:
            return functions.distance((*given, closed), hidden)

        distance, pull = jax.vjp(distance_of, given, hidden_at(t))
        delta = _at(stack if single else spikes_bar, t) + future.spikes
        bar, through_spike = pull(delta * functions.slope(constants, distance))
        later = functions.hidden(future)
        eps = tuple(a + b for a, b in zip(through_spike, later, strict=True))
        return eps, add(total, bar), lax.dynamic_update_index_in_dim(stack, eps[0], t, 0)

    steps = spikes_bar.shape[0]
    # With several hidden arrays, reading from the written stack makes XLA copy it at every step.
    single = len(kept) == 1

    def step(back: Array, later: tuple[Any, Any, Array]) -> tuple[Hidden, Any, Array]:
        t, (eps, total, stack) = steps - 1 - back, later
        hidden = hidden_at(t)
        state = functions.state(hidden, _fire(functions, constants, hidden))
        future, total = future_of(state, t + 1, eps, total)
        return leave(future, t, total, stack)

    zero = jax.tree.map(lambda c: jnp.zeros_like(c, dtype=wide_dtype(c.dtype)), given)
    stack = spikes_bar if single else jnp.zeros_like(spikes_bar)
    final = leave(last_bar, steps - 1, zero, stack)
    eps, total, currents_bar = lax.fori_loop(1, steps, step, final)
    initial_bar, total = future_of(initial, 0, eps, total)
    given_bar = jax.tree.map(lambda b, c: b.astype(c.dtype), total, given)
    return given_bar, initial_bar, currents_bar


def _blocks_back(
    functions: _Functions,
    fixed: Any,
    given: Any,
    initial: Any,
    kept: tuple[Array, ...],
    last_bar: Any,
    spikes_bar: Array,
) -> tuple[Any, Any, Array]:
    """`_loop_back` by blocks of steps; the gradient of the constants is one sum over all steps."""
    closed, restarts = fixed
    constants = (*given, closed)
    steps = spikes_bar.shape[0]
    is_first, rest = (None, None) if restarts is None else restarts

    def reset(given: Any, state: Any, first: Any) -> Hidden:
        entering = state if first is None else restart_where(first, state, rest)
        return functions.reset((*given, closed), entering)

    def distance_of(given: Any, hidden: Hidden) -> Array:
        return functions.distance((*given, closed), hidden)

    def state_of(hidden: Hidden) -> Any:
        return functions.state(hidden, _fire(functions, constants, hidden))

    def step(later: Hidden, now: Any) -> tuple[Hidden, tuple[Hidden, Array]]:
        hidden, bar, first, is_last = now
        _, pull = jax.vjp(lambda state: reset(given, state, first), state_of(hidden))
        (future,) = pull(later)
        future = jax.tree.map(functools.partial(jnp.where, is_last), last_bar, future)
        distance, pull = jax.vjp(functools.partial(distance_of, given), hidden)
        through_spike = (bar + future.spikes) * functions.slope(constants, distance)
        (by_spike,) = pull(through_spike)
        eps = tuple(a + b for a, b in zip(by_spike, functions.hidden(future), strict=True))
        return eps, (eps, through_spike)

    is_last = jnp.arange(steps) == steps - 1
    following = None if is_first is None else _rolled(is_first)
    # The cotangent of the last state replaces what the last step would take from a later one.
    first_eps, (eps, through_spike) = lax.scan(
        step,
        functions.hidden(last_bar),
        (kept, spikes_bar, following, is_last),
        reverse=True,
        unroll=block_steps(steps, functions.block),
    )
    first = None if is_first is None else is_first[0]
    (initial_bar,) = jax.vjp(lambda state: reset(given, state, first), initial)[1](first_eps)

    # XLA removes what follows if the gradient of the constants is not used.
    def of_constants(before: Any, first: Any, hidden: Hidden, eps: Hidden, through: Array) -> Any:
        def both(given: Any) -> tuple[Hidden, Array]:
            return reset(given, before, first), distance_of(given, hidden)

        return jax.vjp(both, given)[1]((eps, through))[0]

    states = jax.vmap(state_of)(kept)
    before = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b[:-1]]), initial, states)
    bars = jax.vmap(of_constants)(before, is_first, kept, eps, through_spike)
    given_bar = jax.tree.map(
        lambda b, c: b.sum(0, dtype=wide_dtype(c.dtype)).astype(c.dtype), bars, given
    )
    return given_bar, initial_bar, eps[0]


_unroll.defvjp(_forward, _backward)

# One trace for all calls with equal functions and shapes: of equal layers, of the inner steps of
# MAML, and of calls outside of `jit`. Functions with closed-over tracers differ at every call.
_compiled = jax.jit(_unroll, static_argnums=0)
