"""The launch of a kernel over blocks of neurons, with its checks of JAX release and device.

A kernel instance computes `BLOCK` neighboring neurons of the flattened `[T, N]` arrays, for all T.
Pallas lowers through Triton, which accepts the same `pallas_call` on JAX 0.10 to 0.12, under `vmap`
and interpreted. JAX deprecates Triton from 0.11 on, in favor of Mosaic GPU, which needs kernels of
another form: hence the upper bound on the release.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax.core import Array, PyTree, Shape

# 64 threads with 4 neurons each: 16-byte loads in float32, and at least one block for each
# multiprocessor of an H100 from 34,000 neurons on. Chosen by counting, not by timing.
BLOCK = 256
WARPS = 2

TOO_NEW = (0, 13)


def check_version(found: str = jax.__version__) -> None:
    """Check that the kernels are known to lower on a release of JAX.

    Args:
      found: the release, as in `jax.__version__`.

    Raises:
      NotImplementedError: the release is later than 0.12.
    """
    major, minor = (int(part) for part in found.split(".")[:2])
    if (major, minor) >= TOO_NEW:
        raise NotImplementedError(
            f"jax must be 0.12 or earlier for the Pallas kernels, which lower through Triton, got "
            f"jax {found}; lif_unroll computes the same on any release"
        )


class Block:
    """The neurons of one kernel instance, with loads and stores masked to the arrays.

    Attributes:
      neurons: indices of the neurons, `[BLOCK]`; indices from N on are masked.
    """

    def __init__(self, num_neurons: int) -> None:
        from jax.experimental import pallas as pl
        from jax.experimental.pallas import triton

        self._load, self._store = triton.load, triton.store
        self.neurons = pl.program_id(0) * BLOCK + lax.iota(jnp.int32, BLOCK)
        # Whole blocks need no mask, and loads without a mask are easier to vectorize.
        self._mask = None if num_neurons % BLOCK == 0 else self.neurons < num_neurons

    def load(self, ref: Any, row: Any, dtype: Any) -> Array:
        """Load row `row` of a `[rows, N]` array for this block, as `dtype [BLOCK]`."""
        other = None if self._mask is None else 0.0
        return self._load(_row(ref, row), mask=self._mask, other=other).astype(dtype)

    def store(self, ref: Any, row: Any, x: Array) -> None:
        """Store `x [BLOCK]` in row `row` of a `[rows, N]` array."""
        self._store(_row(ref, row), x.astype(ref.dtype), mask=self._mask)

    def constant(self, ref: Any, dtype: Any) -> Array:
        """Load a constant for this block's neurons, as a scalar or `[BLOCK]`."""
        (period,) = ref.shape
        if period == 1:
            return ref[0].astype(dtype)
        return self._load(ref.at[lax.rem(self.neurons, jnp.int32(period))]).astype(dtype)


def _row(ref: Any, row: Any) -> Any:
    # The interpreter needs an array index of JAX's default integer type.
    return ref.at[jnp.asarray(row, int), :]


def flat_constant(constant: Array, neurons: Shape) -> Array:
    """Flatten a constant to one period along the flattened neurons.

    Args:
      constant: a scalar or an array that broadcasts to `neurons`.
      neurons: `[B, *units]`.

    Returns:
      `[1]` for a scalar, `[prod(units)]` for a constant per unit, else `[N]`.
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
    """Run a kernel body once for each block of neurons.

    Args:
      body: `(block, constants, arrays, outs)`; the last three are references.
      constants: each `[period]`; every block reads them whole.
      arrays: each `[rows, N]`; a block reads `[rows, BLOCK]`.
      outs: shapes and dtypes of the results, each `[rows, N]`.
      interpreted: True interprets the kernel in XLA on any device; False compiles it for CUDA.
      name: of the kernel, in profiles.

    Returns:
      The results.

    Raises:
      NotImplementedError: a JAX release later than 0.12; on lowering, a device other than CUDA.
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
    # Without a default, lowering for another platform raises instead of changing the algorithm.
    compiled = call(compiler_params=triton.CompilerParams(num_warps=WARPS))
    return lax.platform_dependent(constants, arrays, cuda=compiled)
