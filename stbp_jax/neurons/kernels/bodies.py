"""The bodies of the LIF's two kernels, forward and backward, for one block of neurons.

A step of a neuron is a few operations, so that memory traffic limits the speed. The forward kernel
reads the currents and writes the spikes, and before every later chunk of `CHUNK` steps also the
membrane. The backward kernel goes through the chunks from the last to the first. It reads a chunk's
currents and cotangents, recomputes the membranes in registers, and writes the currents' gradient.
The traffic is 2 + 1/CHUNK arrays of `[T, N]` forward and 3 + 1/CHUNK backward; with every membrane
stored it would be 3 and 3.

The kernels compute in float32 or wider, and round the membrane to its own dtype after each step.
"""

import functools
from typing import Any

import jax
from jax import lax

from stbp_jax.core import Array, wide_dtype
from stbp_jax.neurons import LIFConstants, LIFState, Reset
from stbp_jax.neurons.kernels.launch import Block
from stbp_jax.spikes import heaviside

# The number of steps whose loads are issued together and whose membranes stay in registers. With 8
# steps and 4 neurons a thread, Triton 3.6 uses up to 64 registers forward and 164 backward for
# sm_90 in float32, and spills none. Chosen by counting, not by timing.
CHUNK = 8


def _step(
    reset: Reset, constants: LIFConstants, before: LIFState, current: Array, dtype: Any
) -> LIFState:
    membrane = reset(constants, before) + current
    return _fired(constants, membrane.astype(dtype).astype(membrane.dtype))


def _fired(constants: LIFConstants, membrane: Array) -> LIFState:
    # Not the surrogate: its custom_vjp has no lowering inside a kernel.
    spikes = heaviside(membrane - constants.threshold)
    return LIFState(membrane, spikes)


def forward_kernel(
    reset: Reset, tree: Any, block: Block, constants: Any, arrays: Any, outs: Any
) -> None:
    """Compute all T steps of one block of neurons.

    Args:
      reset: leak and reset.
      tree: the tree structure of `LIFConstants`.
      block: the neurons.
      constants: references to the leaves of the constants.
      arrays: references to the initial membrane and spikes, `[1, N]`, and the currents `[T, N]`.
      outs: references to the last membrane `[1, N]` and the spikes `[T, N]`; under differentiation,
        with more than one chunk, also to the membranes before the later chunks, `[chunks, N]`.
    """
    membrane, spikes, currents = arrays
    last_out, spikes_out, *entering_out = outs
    dtype, wide = currents.dtype, wide_dtype(currents.dtype)
    numbers = tree.unflatten([block.constant(ref, wide) for ref in constants])
    head, num_later = chunks(currents.shape[0])

    def chunk(start: Any, steps: int, state: LIFState) -> LIFState:
        # All loads come first, so that none waits for the recursion.
        for k, current in enumerate([block.load(currents, start + k, wide) for k in range(steps)]):
            state = _step(reset, numbers, state, current, dtype)
            block.store(spikes_out, start + k, state.spikes)
        return state

    def later(c: Any, state: LIFState) -> LIFState:
        if entering_out:
            block.store(entering_out[0], c, state.membrane)
        return chunk(head + c * CHUNK, CHUNK, state)

    state = LIFState(block.load(membrane, 0, wide), block.load(spikes, 0, wide))
    state = chunk(0, head, state)
    if num_later:
        state = lax.fori_loop(0, num_later, later, state)
    block.store(last_out, 0, state.membrane)


def backward_kernel(
    reset: Reset, tree: Any, block: Block, constants: Any, arrays: Any, outs: Any
) -> None:
    """Compute the gradient of the currents for one block of neurons, from the last step back.

    Args:
      reset: leak and reset.
      tree: the tree structure of `LIFConstants`.
      block: the neurons.
      constants: references to the leaves of the constants.
      arrays: references to the three arrays of `forward_kernel`; to the membranes before the later
        chunks, in a tuple that may be empty; to the cotangents of the spikes, `[T, N]`, and of the
        last state's membrane and spikes, `[1, N]` each.
      outs: reference to the gradient, `[T, N]`.
    """
    membrane, spikes, currents, entering, spikes_bar, membrane_bar, last_spikes_bar = arrays
    (eps_out,) = outs
    dtype, wide = currents.dtype, wide_dtype(currents.dtype)
    numbers = tree.unflatten([block.constant(ref, wide) for ref in constants])
    head, num_later = chunks(currents.shape[0])

    def chunk(start: Any, steps: int, state: LIFState, future: LIFState) -> LIFState:
        inputs = [block.load(currents, start + k, wide) for k in range(steps)]
        from_above = [block.load(spikes_bar, start + k, wide) for k in range(steps)]
        states = [state]
        for current in inputs:
            states.append(_step(reset, numbers, states[-1], current, dtype))
        for k in reversed(range(steps)):
            delta = from_above[k] + future.spikes
            distance = states[k + 1].membrane - numbers.threshold
            eps = delta * numbers.surrogate.derivative(distance) + future.membrane
            block.store(eps_out, start + k, eps)
            _, pull = jax.vjp(functools.partial(reset, numbers), states[k])
            (future,) = pull(eps)
        return future

    def later(i: Any, future: LIFState) -> LIFState:
        c = num_later - 1 - i
        state = _fired(numbers, block.load(entering[0], c, wide))
        return chunk(head + c * CHUNK, CHUNK, state, future)

    future = LIFState(block.load(membrane_bar, 0, wide), block.load(last_spikes_bar, 0, wide))
    if num_later:
        future = lax.fori_loop(0, num_later, later, future)
    # The spikes of the caller's state need not follow from its membrane.
    initial = LIFState(block.load(membrane, 0, wide), block.load(spikes, 0, wide))
    chunk(0, head, initial, future)


def chunks(num_steps: int) -> tuple[int, int]:
    """Return the length of the first chunk, 1 to `CHUNK`, and the number of later, full chunks."""
    num_later = (num_steps - 1) // CHUNK
    return num_steps - num_later * CHUNK, num_later
