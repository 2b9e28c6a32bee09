"""Runs a kernel over blocks of neurons: which versions and devices, which block, what is masked.

Decides that a kernel instance owns `BLOCK` neighboring neurons of the flattened `[T, N]` arrays,
for all T. Pallas is lowered through Triton, which takes one and the same `pallas_call` on JAX 0.10
to 0.12, under `vmap` and interpreted. JAX deprecates it from 0.11 on, in favor of Mosaic GPU,
whose kernels are written in another form: hence the upper gate. Leaves out the dynamics.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax.core import Array, PyTree, Shape

# 64 threads with 4 neurons each: 16-byte loads in float32, and a block for each multiprocessor of
# an H100 from 34,000 neurons on. Chosen by counting; not yet timed.
BLOCK = 256
WARPS = 2

TOO_NEW = (0, 13)


def check_version(found: str = jax.__version__) -> None:
    """Refuses a JAX release on which nobody has seen the kernels lower.

    Args:
      found: the release, as in `jax.__version__`.

    Raises:
      NotImplementedError: it is later than 0.12.
    """
    major, minor = (int(part) for part in found.split(".")[:2])
    if (major, minor) >= TOO_NEW:
        raise NotImplementedError(
            f"the Pallas kernels need jax 0.12 or earlier, where their lowering through Triton is "
            f"tested; found jax {found}. lif_unroll computes the same on any release"
        )


class Block:
    """The neurons of one kernel instance: loads and stores that stay inside the arrays.

    Attributes:
      neurons: indices of its neurons, `[BLOCK]`; those from N on do not exist.
    """

    def __init__(self, num_neurons: int) -> None:
        from jax.experimental import pallas as pl
        from jax.experimental.pallas import triton

        self._load, self._store = triton.load, triton.store
        self.neurons = pl.program_id(0) * BLOCK + lax.iota(jnp.int32, BLOCK)
        # No mask where none is needed: masked loads are harder to widen.
        self._mask = None if num_neurons % BLOCK == 0 else self.neurons < num_neurons

    def load(self, ref: Any, row: Any, dtype: Any) -> Array:
        """Row `row` of a `[rows, N]` array for this block, as `dtype`."""
        other = None if self._mask is None else 0.0
        return self._load(_row(ref, row), mask=self._mask, other=other).astype(dtype)

    def store(self, ref: Any, row: Any, x: Array) -> None:
        """Writes `x [BLOCK]` to row `row` of a `[rows, N]` array."""
        self._store(_row(ref, row), x.astype(ref.dtype), mask=self._mask)

    def constant(self, ref: Any, dtype: Any) -> Array:
        """A constant for this block's neurons: a scalar, or `[BLOCK]`."""
        (period,) = ref.shape
        if period == 1:
            return ref[0].astype(dtype)
        return self._load(ref.at[lax.rem(self.neurons, jnp.int32(period))]).astype(dtype)


def _row(ref: Any, row: Any) -> Any:
    # The interpreter wants an array, of the type that Python's integers become.
    return ref.at[jnp.asarray(row, int), :]


def flat_constant(constant: Array, neurons: Shape) -> Array:
    """One period of a constant along the flattened neurons.

    Args:
      constant: a scalar, or broadcasts to `neurons`.
      neurons: `[B, *units]`.

    Returns:
      `[1]` for a scalar, `[prod(units)]` for one number for each unit, else `[N]`.
    """
    if constant.size == 1:
        return constant.reshape(1)
    aligned = (1,) * (len(neurons) - constant.ndim) + constant.shape
    own = next(axis for axis, size in enumerate(aligned) if size != 1)
    if aligned[own:] == neurons[own:]:
        return constant.reshape(-1)
    return jnp.broadcast_to(constant, neurons).reshape(-1)


def launch(
    body: Callable[..., None],
    constants: list[Array],
    arrays: PyTree,
    outs: tuple[jax.ShapeDtypeStruct, ...],
    *,
    interpreted: bool,
    name: str,
) -> tuple[Array, ...]:
    """Runs `body` once for each block of neurons.

    Args:
      body: `(block, constants, arrays, outs)`, all but the first as references.
      constants: each `[period]`, seen whole by every block.
      arrays: each `[rows, N]`, seen by a block as `[rows, BLOCK]`.
      outs: what it writes, each `[rows, N]`.
      interpreted: step by step in XLA, on any device, instead of compiled for CUDA.
      name: of the kernel, for profiles.

    Returns:
      The arrays written.

    Raises:
      NotImplementedError: the release of JAX; when the program is lowered, a device that is not
        CUDA's.
    """
    check_version()
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    num_neurons = outs[0].shape[1]
    if math.prod(outs[0].shape) == 0:
        return tuple(jnp.zeros(out.shape, out.dtype) for out in outs)

    def kernel(constants: Any, arrays: Any, *outs: Any) -> None:
        body(Block(num_neurons), constants, arrays, outs)

    def columns(x: Any) -> Any:
        return pl.BlockSpec((x.shape[0], BLOCK), lambda i: (0, i))

    def whole(x: Any) -> Any:
        return pl.BlockSpec(x.shape, lambda i: (0,))

    call = functools.partial(
        pl.pallas_call,
        kernel,
        out_shape=outs,
        grid=(pl.cdiv(num_neurons, BLOCK),),
        in_specs=(jax.tree.map(whole, constants), jax.tree.map(columns, arrays)),
        out_specs=tuple(columns(out) for out in outs),
        name=name,
    )
    if interpreted:
        return call(interpret=True)(constants, arrays)
    # No default: lowering for any other platform is an error, not another algorithm.
    compiled = call(compiler_params=triton.CompilerParams(num_warps=WARPS))
    return lax.platform_dependent(constants, arrays, cuda=compiled)
