"""The kernels of the LIF, as one block of neurons runs them.

Decides what is kept between them. The dynamics are a few operations a neuron-step, so the bytes
decide. Forward reads the currents and writes the spikes. Backward reads the currents again, runs
`CHUNK` steps of the membrane anew in registers, and walks them back: it reads the currents and the
spikes' cotangents and writes the currents' gradient. So that it can start anywhere, forward also
writes the membrane that enters every `CHUNK`-th step. That is 2 + 1/CHUNK arrays of `[T, N]`
forwards and 3 + 1/CHUNK backwards; keeping every membrane would be 3 and 3.

Steps are computed in float32 or wider, and the membrane is rounded to its own type after each.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax.core import Array
from stbp_jax.neurons import LIFConstants, LIFState, Reset
from stbp_jax.neurons.kernels.launch import Block
from stbp_jax.surrogates import heaviside

# Steps whose loads are issued together and whose membranes stay in registers. At 8 and 4 neurons a
# thread Triton 3.6 takes, for sm_90 in float32, up to 64 registers forwards and 164 backwards and
# spills none. Not yet timed.
CHUNK = 8


def _step(
    reset: Reset, constants: LIFConstants, before: LIFState, current: Array, dtype: Any
) -> LIFState:
    membrane = reset(constants, before) + current
    return _fired(constants, membrane.astype(dtype).astype(membrane.dtype))


def _fired(constants: LIFConstants, membrane: Array) -> LIFState:
    # H alone: the surrogate's custom_vjp has no lowering inside a kernel.
    spikes = heaviside(membrane - constants.threshold)
    return LIFState(membrane, spikes)


def forward_kernel(
    reset: Reset, tree: Any, block: Block, constants: Any, arrays: Any, outs: Any
) -> None:
    """All steps of one block of neurons.

    Args:
      reset: leak and reset.
      tree: the structure of `LIFConstants`.
      block: which neurons.
      constants: references to its leaves.
      arrays: to membrane and spikes `[1, N]`, and currents `[T, N]`.
      outs: to the last membrane `[1, N]` and spikes `[T, N]`; where a gradient will be asked for
        and there are later chunks, also to the membranes that enter them, `[chunks, N]`.
    """
    membrane, spikes, currents = arrays
    last_out, spikes_out, *entering_out = outs
    dtype, wide = currents.dtype, _wide(currents.dtype)
    numbers = tree.unflatten([block.constant(ref, wide) for ref in constants])
    head, num_later = chunks(currents.shape[0])

    def chunk(start: Any, steps: int, state: LIFState) -> LIFState:
        # All loads first: they do not wait for the recursion.
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
    """The gradient to the currents of one block of neurons, from the last step to the first.

    Args:
      reset: leak and reset.
      tree: the structure of `LIFConstants`.
      block: which neurons.
      constants: references to its leaves.
      arrays: to what `forward_kernel` read; a tuple that is empty or holds the membranes that
        enter later chunks; cotangents of the spikes `[T, N]` and of the last state, `[1, N]` each.
      outs: to the gradient, `[T, N]`.
    """
    membrane, spikes, currents, entering, spikes_bar, membrane_bar, last_spikes_bar = arrays
    (eps_out,) = outs
    dtype, wide = currents.dtype, _wide(currents.dtype)
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
    # The first step was entered by the caller's state, whose spikes need not follow its membrane.
    initial = LIFState(block.load(membrane, 0, wide), block.load(spikes, 0, wide))
    chunk(0, head, initial, future)


def chunks(num_steps: int) -> tuple[int, int]:
    """Steps of the first chunk, 1 to `CHUNK`, and how many whole chunks follow it."""
    num_later = (num_steps - 1) // CHUNK
    return num_steps - num_later * CHUNK, num_later


def _wide(dtype: Any) -> Any:
    return jnp.promote_types(dtype, jnp.float32)
