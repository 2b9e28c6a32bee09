"""The recursion by blocks of steps, for GPUs and TPUs, and the choice by platform.

On a GPU every operation of a loop's body is a launch of some microseconds, in which the few bytes
of one step would move many times. A loop over blocks has the steps of a block in its body; they are
elementwise, so that XLA fuses them into one or two kernels. A TPU has no launches, but runs fewer
operations so: a half to a third, for a tenth more bytes (experiments/benchmarks/compiled; it was
compiled for one and not timed). A CPU has no launches either, and XLA compiles a body of one step
(`loop`) faster.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax import arguments
from stbp_jax.core import Array, wide_dtype
from stbp_jax.neurons.recursion import Fixed, Functions, Hidden, Keep, step_of

# The programs of experiments/benchmarks/compiled: longer blocks compile for longer, in shorter ones
# more is launched.
LONGEST, SHORTEST = 20, 10


def check_block(block: Any) -> int | None:
    """Return a number of steps per block as a static integer; raises unless it is one or None."""
    return None if block is None else arguments.count("block", block)


def block_steps(num_steps: int, block: int | None = None) -> int:
    """Choose the number of steps in a block, K.

    Args:
      num_steps: T.
      block: K if it is given, cut to T; None chooses it by T.

    Returns:
      By default the largest divisor of T from 10 to 20, since the steps that remain after whole
      blocks copy the sequence; for a T without such a divisor, blocks of nearly equal size.

    >>> [block_steps(t) for t in (1, 20, 30, 300, 31)]
    [1, 20, 15, 20, 16]
    """
    if block is not None:
        return max(1, min(block, num_steps))
    if num_steps <= LONGEST:
        return num_steps
    for steps in range(LONGEST, SHORTEST - 1, -1):
        if num_steps % steps == 0:
            return steps
    return -(-num_steps // -(-num_steps // LONGEST))


def by_platform(
    loop: Callable[..., Any], blocks: Callable[..., Any], num_steps: Any, args: tuple[Any, ...]
) -> Any:
    """Run one of two equal loops; JAX selects it when it lowers the program.

    Args:
      loop: `(*args) -> result` over single steps.
      blocks: the same over blocks of steps, for CUDA, ROCm and TPUs.
      num_steps: T; a symbolic T of `jax.export` has no blocks.
      args: pytrees of arrays.
    """
    if not isinstance(num_steps, int):
        return loop(*args)
    return lax.platform_dependent(*args, default=loop, cuda=blocks, rocm=blocks, tpu=blocks)


def forward(
    keep: Keep,
    functions: Functions,
    block: int | None,
    fixed: Fixed,
    given: Any,
    state: Any,
    currents: Array,
) -> tuple[Any, tuple[Array, ...]]:
    """Run all steps: `loop.forward` by blocks of `block` steps; None chooses their number."""
    step = step_of(functions, fixed)

    # The carry is what enters the next step: all blocks are alike, the first one too.
    def body(carry: Any, now: Any) -> tuple[Any, tuple[Array, ...]]:
        ((membrane, *others), _), (current, first) = carry, now
        hidden = (membrane + current, *others)
        entering = step.reset(given, step.state(given, hidden), first)
        return (entering, hidden), keep(step, given, hidden)

    first, following = _shifted(fixed.is_first)
    start = step.reset(given, state, first)
    unroll = block_steps(currents.shape[0], block)
    (_, last), kept = lax.scan(body, (start, start), (currents, following), unroll=unroll)
    return step.state(given, last), kept


def backward(
    functions: Functions,
    block: int | None,
    fixed: Fixed,
    given: Any,
    initial: Any,
    kept: tuple[Array, ...],
    last_bar: Any,
    spikes_bar: Array,
) -> tuple[Any, Any, Array]:
    """`loop.backward` by blocks; the gradient of the constants is one sum over all steps."""
    step = step_of(functions, fixed)
    steps = spikes_bar.shape[0]

    def body(later: Hidden, now: Any) -> tuple[Hidden, tuple[Hidden, Array]]:
        hidden, bar, first, is_last = now
        state = step.state(given, hidden)
        (future,) = jax.vjp(lambda s: step.reset(given, s, first), state)[1](later)
        future = jax.tree.map(functools.partial(jnp.where, is_last), last_bar, future)
        distance, pull = jax.vjp(functools.partial(step.distance, given), hidden)
        following, by_reset = step.parts(given, hidden, future)
        through_spike = (bar + by_reset) * step.slope(given, distance)
        (by_spike,) = pull(through_spike)
        eps = tuple(a + b for a, b in zip(by_spike, following, strict=True))
        return eps, (eps, through_spike)

    is_last = jnp.arange(steps) == steps - 1
    first, following = _shifted(fixed.is_first)
    # The cotangent of the last state replaces what the last step would take from a later one.
    first_eps, (eps, through_spike) = lax.scan(
        body,
        jax.tree.map(lambda stack: jnp.zeros_like(stack[0]), kept),  # replaced at the last step
        (kept, spikes_bar, following, is_last),
        reverse=True,
        unroll=block_steps(steps, block),
    )
    (initial_bar,) = jax.vjp(lambda s: step.reset(given, s, first), initial)[1](first_eps)

    # XLA removes what follows if the gradient of the constants is not used.
    def of_constants(before: Any, first: Any, hidden: Hidden, eps: Hidden, through: Array) -> Any:
        def both(given: Any) -> tuple[Hidden, Array]:
            return step.reset(given, before, first), step.distance(given, hidden)

        return jax.vjp(both, given)[1]((eps, through))[0]

    states = jax.vmap(functools.partial(step.state, given))(kept)
    before = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b[:-1]]), initial, states)
    bars = jax.vmap(of_constants)(before, fixed.is_first, kept, eps, through_spike)
    given_bar = jax.tree.map(
        lambda b, c: b.sum(0, dtype=wide_dtype(c.dtype)).astype(c.dtype), bars, given
    )
    return given_bar, initial_bar, eps[0]


def _shifted(is_first: Array | None) -> tuple[Any, Any]:
    """The restarts of the first step, and those of each following one; the last are not used."""
    return (None, None) if is_first is None else (is_first[0], jnp.roll(is_first, -1, axis=0))
