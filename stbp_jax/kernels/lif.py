"""The LIF's unroll as two Pallas kernels: one over all T forwards, one over all T backwards.

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

from stbp_jax.core import Array, Shape
from stbp_jax.kernels.launch import Block, flat_constant, launch
from stbp_jax.neurons import Carry, LIFConstants, LIFState

# Steps whose loads are issued together and whose membranes stay in registers. At 8 and 4 neurons a
# thread Triton 3.6 takes, for sm_90 in float32, up to 64 registers forwards and 164 backwards and
# spills none. Not yet timed.
CHUNK = 8

Residuals = tuple[LIFConstants, LIFState, Array, Array, tuple[Array, ...]]


def lif_pallas(
    carry: Carry, constants: LIFConstants, state: LIFState, currents: Array
) -> tuple[LIFState, Array]:
    """The unroll for CUDA, by Pallas: `lif_unroll`'s values and gradients in fewer bytes.

    With u, o, f and h as in `lif_unroll`:

        uᵗ = f(uᵗ⁻¹, oᵗ⁻¹) + Iᵗ        oᵗ = H(uᵗ - Vth)
        epsᵗ = (dL/doᵗ + epsᵗ⁺¹ · ∂f/∂oᵗ) · h(uᵗ - Vth) + epsᵗ⁺¹ · ∂f/∂uᵗ        dL/dIᵗ = epsᵗ

    A spike sees its own step's input; the reset acts on the next step; gradients cross it unless
    the carry detaches it. In bfloat16 a step is rounded once, not after each operation.

    Whether it is faster than `lif_unroll` is not measured. The gradients to decay and threshold
    are one pull-back over the trajectory outside the kernel, and cost nothing where nobody asks.
    Lowering through Triton draws JAX's DeprecationWarning from 0.11 on.

    Args:
      carry: leak and reset; must close over no arrays.
      constants: decay, threshold and surrogate, each leaf a scalar or broadcasting to
        `[B, *units]`; gradients reach decay and threshold.
      state: of the step before the first, `[B, *units]`.
      currents: `[T, B, *units]`, T >= 1, in the state's dtype.

    Returns:
      `(last state, spikes [T, B, *units])`.

    Raises:
      NotImplementedError: a JAX release other than 0.10 to 0.12; a dtype that is not float16,
        bfloat16, float32 or float64, or two of them; a carry or curve that closes over arrays;
        no steps; on lowering, a device that is not CUDA's.
      ValueError: shapes of state and currents that do not fit.

    Source: Wu et al. 2018, equations (10)-(20), with their errata mended.
    """
    return _unroll(carry, False, constants, state, currents)


def lif_pallas_interpreted(
    carry: Carry, constants: LIFConstants, state: LIFState, currents: Array
) -> tuple[LIFState, Array]:
    """`lif_pallas` on any device, its kernels interpreted by XLA: slow, for tests.

    Args:
      carry: as for `lif_pallas`.
      constants: as for `lif_pallas`.
      state: as for `lif_pallas`.
      currents: as for `lif_pallas`.

    Returns:
      `(last state, spikes [T, B, *units])`.

    Raises:
      NotImplementedError: as `lif_pallas`, but for the device.
      ValueError: shapes of state and currents that do not fit.
    """
    return _unroll(carry, True, constants, state, currents)


# Kernels ------------------------------------------------------------------------------------------


def _step(
    carry: Carry, constants: LIFConstants, before: LIFState, current: Array, dtype: Any
) -> LIFState:
    membrane = carry(constants, before) + current
    return _fired(constants, membrane.astype(dtype).astype(membrane.dtype))


def _fired(constants: LIFConstants, membrane: Array) -> LIFState:
    # H written out: the surrogate's custom_vjp has no lowering inside a kernel.
    spikes = (membrane - constants.threshold >= 0).astype(membrane.dtype)
    return LIFState(membrane, spikes)


def _forward_kernel(
    carry: Carry, tree: Any, block: Block, constants: Any, arrays: Any, outs: Any
) -> None:
    membrane, spikes, currents = arrays
    last_out, spikes_out, *entering_out = outs
    dtype, wide = currents.dtype, _wide(currents.dtype)
    numbers = tree.unflatten([block.constant(ref, wide) for ref in constants])
    head, num_later = _chunks(currents.shape[0])

    def chunk(start: Any, steps: int, state: LIFState) -> LIFState:
        # All loads first: they do not wait for the recursion.
        for k, current in enumerate([block.load(currents, start + k, wide) for k in range(steps)]):
            state = _step(carry, numbers, state, current, dtype)
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


def _backward_kernel(
    carry: Carry, tree: Any, block: Block, constants: Any, arrays: Any, outs: Any
) -> None:
    membrane, spikes, currents, entering, spikes_bar, membrane_bar, last_spikes_bar = arrays
    (eps_out,) = outs
    dtype, wide = currents.dtype, _wide(currents.dtype)
    numbers = tree.unflatten([block.constant(ref, wide) for ref in constants])
    head, num_later = _chunks(currents.shape[0])

    def chunk(start: Any, steps: int, state: LIFState, future: LIFState) -> LIFState:
        inputs = [block.load(currents, start + k, wide) for k in range(steps)]
        from_above = [block.load(spikes_bar, start + k, wide) for k in range(steps)]
        states = [state]
        for current in inputs:
            states.append(_step(carry, numbers, states[-1], current, dtype))
        for k in reversed(range(steps)):
            delta = from_above[k] + future.spikes
            distance = states[k + 1].membrane - numbers.threshold
            eps = delta * numbers.surrogate.derivative(distance) + future.membrane
            block.store(eps_out, start + k, eps)
            _, pull = jax.vjp(functools.partial(carry, numbers), states[k])
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


def _chunks(num_steps: int) -> tuple[int, int]:
    """Steps of the first chunk, 1 to `CHUNK`, and how many whole chunks follow it."""
    num_later = (num_steps - 1) // CHUNK
    return num_steps - num_later * CHUNK, num_later


def _wide(dtype: Any) -> Any:
    return jnp.promote_types(dtype, jnp.float32)


# The unroll ---------------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _unroll(
    carry: Carry, interpreted: bool, constants: LIFConstants, state: LIFState, currents: Array
) -> tuple[LIFState, Array]:
    return _run_forward(carry, interpreted, constants, state, currents, keep=False)[0]


def _forward(
    carry: Carry, interpreted: bool, constants: LIFConstants, state: LIFState, currents: Array
) -> tuple[tuple[LIFState, Array], Residuals]:
    out, entering = _run_forward(carry, interpreted, constants, state, currents, keep=True)
    return out, (constants, state, currents, out[1], entering)


def _run_forward(
    carry: Carry,
    interpreted: bool,
    constants: LIFConstants,
    state: LIFState,
    currents: Array,
    *,
    keep: bool,
) -> tuple[tuple[LIFState, Array], tuple[Array, ...]]:
    _check(carry, constants, state, currents)
    leaves, tree = _flat(constants, state)
    arrays = (_rows(state.membrane), _rows(state.spikes), _steps(currents))
    num_steps, num_neurons = arrays[2].shape
    rows = [1, num_steps]
    if keep and _chunks(num_steps)[1]:
        rows.append(_chunks(num_steps)[1])
    outs = tuple(jax.ShapeDtypeStruct((n, num_neurons), currents.dtype) for n in rows)
    body = functools.partial(_forward_kernel, carry, tree)
    last, spikes, *entering = launch(
        body, leaves, arrays, outs, interpreted=interpreted, name="lif_forward"
    )
    spikes = spikes.reshape(currents.shape)
    last = last.reshape(state.membrane.shape)
    return (LIFState(last, spikes[-1]), spikes), tuple(entering)


def _backward(
    carry: Carry, interpreted: bool, residuals: Residuals, cotangents: tuple[LIFState, Array]
) -> tuple[LIFConstants, LIFState, Array]:
    given, initial, currents, spikes, entering = residuals
    last_bar, spikes_bar = cotangents
    leaves, tree = _flat(given, initial)
    arrays = (
        _rows(initial.membrane),
        _rows(initial.spikes),
        _steps(currents),
        entering,
        _steps(spikes_bar),
        _rows(last_bar.membrane),
        _rows(last_bar.spikes),
    )
    body = functools.partial(_backward_kernel, carry, tree)
    outs = (jax.ShapeDtypeStruct(arrays[2].shape, currents.dtype),)
    (eps,) = launch(body, leaves, arrays, outs, interpreted=interpreted, name="lif_backward")
    eps = eps.reshape(currents.shape)

    constants = _in_dtype(given, currents)
    _, pull = jax.vjp(functools.partial(carry, constants), initial)
    (initial_bar,) = pull(eps[0])
    constants_bar = _pull_constants(carry, given, initial, currents, spikes, cotangents, eps)
    return constants_bar, initial_bar, eps


def _pull_constants(
    carry: Carry,
    given: LIFConstants,
    initial: LIFState,
    currents: Array,
    spikes: Array,
    cotangents: tuple[LIFState, Array],
    eps: Array,
) -> LIFConstants:
    """Gradients to the constants: all steps share them, so one pull-back over the trajectory.

    Runs in XLA, since only its own answer needs the membranes: dead code where nobody asks.
    """
    last_bar, spikes_bar = cotangents
    constants = _in_dtype(given, currents)
    spikes_tm1 = jnp.concatenate([initial.spikes[None], spikes[:-1]])

    def enter(membrane: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        # The kernel's own spikes: near a threshold another compiler may round to the other side.
        spike, current = now
        return carry(constants, LIFState(membrane, spike)) + current, membrane

    last, membrane_tm1 = lax.scan(enter, initial.membrane, (spikes_tm1, currents))
    membrane = jnp.concatenate([membrane_tm1[1:], last[None]])

    def carried(c: LIFConstants, before: LIFState) -> Array:
        return jax.vmap(functools.partial(carry, _in_dtype(c, currents)))(before)

    def distance(c: LIFConstants) -> Array:
        threshold = _in_dtype(c, currents).threshold
        return jax.vmap(lambda u: u - threshold)(membrane)

    # What reached each spike: from above, and from the step that it reset.
    after = LIFState(membrane[:-1], spikes[:-1])
    _, pull = jax.vjp(functools.partial(carried, given), after)
    (future,) = pull(eps[1:])
    delta = spikes_bar + jnp.concatenate([future.spikes, last_bar.spikes[None]])
    through_spike = delta * jax.vmap(constants.surrogate.derivative)(distance(given))

    def of_constants(c: LIFConstants) -> tuple[Array, Array]:
        return carried(c, LIFState(membrane_tm1, spikes_tm1)), distance(c)

    _, pull_constants = jax.vjp(of_constants, given)
    (constants_bar,) = pull_constants((eps, through_spike))
    return constants_bar


_unroll.defvjp(_forward, _backward)


# Shapes and checks --------------------------------------------------------------------------------


def _in_dtype(constants: LIFConstants, membrane: Array) -> LIFConstants:
    """Constants in the membrane's dtype, which they must not widen."""
    return jax.tree.map(lambda c: jnp.asarray(c, membrane.dtype), constants)


def _flat(constants: LIFConstants, state: LIFState) -> tuple[list[Array], Any]:
    leaves, tree = jax.tree.flatten(_in_dtype(constants, state.membrane))
    return [flat_constant(leaf, state.membrane.shape) for leaf in leaves], tree


def _rows(x: Array) -> Array:
    """`[B, *units]` as `[1, N]`."""
    return x.reshape(1, x.size)


def _steps(xs: Array) -> Array:
    """`[T, B, *units]` as `[T, N]`."""
    return xs.reshape(xs.shape[0], xs[0].size)


def _check(carry: Carry, constants: LIFConstants, state: LIFState, currents: Array) -> None:
    shapes: list[Shape] = [state.membrane.shape, state.spikes.shape, currents.shape[1:]]
    if len(set(shapes)) > 1:
        raise ValueError(f"membrane, spikes and currents[t] must have one shape, got {shapes}")
    if currents.shape[0] == 0:
        raise NotImplementedError("the Pallas kernels need at least one step, got T = 0")
    dtypes = {jnp.dtype(x.dtype).name for x in (state.membrane, state.spikes, currents)}
    if len(dtypes) > 1 or not dtypes <= {"float16", "bfloat16", "float32", "float64"}:
        raise NotImplementedError(
            f"the Pallas kernels take state and currents in one float dtype, got {sorted(dtypes)}"
        )

    def one_step(constants: LIFConstants, state: LIFState) -> tuple[Array, Array]:
        return carry(constants, state), constants.surrogate.derivative(state.membrane)

    if jax.make_jaxpr(one_step)(_in_dtype(constants, currents), state).consts:
        raise NotImplementedError(
            "the carry or the curve closes over arrays, which a Pallas kernel cannot hold; "
            "write them as Python numbers"
        )
