"""Loops over steps by platform: step by step on a CPU, by blocks of steps on a GPU.

On a GPU every operation of a loop's body is a launch of some microseconds, in which the few bytes
of one step would move many times. A loop over blocks has the steps of a block in its body; they are
elementwise, so that XLA fuses them into one or two kernels. A CPU has no launches, and XLA compiles
a body of one step faster.
"""

from collections.abc import Callable
from typing import Any

from jax import lax

from stbp_jax import arguments

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
      blocks: the same over blocks of steps, for CUDA and ROCm.
      num_steps: T; a symbolic T of `jax.export` has no blocks.
      args: pytrees of arrays.
    """
    if not isinstance(num_steps, int):
        return loop(*args)
    return lax.platform_dependent(*args, default=loop, cuda=blocks, rocm=blocks)
