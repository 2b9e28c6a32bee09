"""Placement of arrays on device meshes: what a loop and a `custom_vjp` need there.

On a mesh the type of an array holds more than shape and dtype: on Explicit axes its sharding, and
under `jax.shard_map` the axes over which it varies. A loop needs a carry whose type stays the same,
and the rule of a `custom_vjp` returns cotangents of the types of the arguments. A state at rest is
made of zeros, which are on all devices and vary over no axis. These functions give such arrays the
type of the arrays that they meet. Without a mesh they return their arguments.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.sharding import AxisType

PyTree = Any


def settle(step: Callable[..., PyTree], carry: PyTree, *args: PyTree) -> PyTree:
    """Give the carry of a loop the placement that the loop's body returns.

    Args:
      step: `(carry, *args) -> carry`, a body of the loop; it is traced, not computed.
      carry: before the first step.
      *args: further arguments of `step`; the arrays that it closes over count too.

    Returns:
      The carry, of equal numbers.
    """
    if not _typed_mesh():
        return carry
    for _ in jax.tree.leaves(carry):  # each trace may settle one more leaf
        after = jax.eval_shape(step, carry, *args)
        moved = jax.tree.map(_place, carry, after)
        if all(a is b for a, b in zip(*map(jax.tree.leaves, (moved, carry)), strict=True)):
            break
        carry = moved
    return carry


def scan(
    body: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]],
    carry: PyTree,
    xs: PyTree = None,
    length: int | None = None,
    unroll: int = 1,
) -> tuple[PyTree, PyTree]:
    """`lax.scan` whose carry is settled first."""

    def first(carry: PyTree, xs: PyTree) -> PyTree:
        return body(carry, jax.tree.map(lambda x: x[0], xs))[0]

    return lax.scan(body, settle(first, carry, xs), xs, length, unroll=unroll)


def vary_alike(*trees: PyTree) -> tuple[PyTree, ...]:
    """Let all leaves vary over the axes over which any of them varies, under `jax.shard_map`.

    A gradient is summed over an axis where the leaf was cast, outside of the loops that follow.
    """
    axes = frozenset[Any]().union(*map(_varying, jax.tree.leaves(trees)))
    return jax.tree.map(lambda leaf: _cast(leaf, axes), trees) if axes else trees


def over_batch(function: Callable[..., Any], x: Any, *args: PyTree) -> Any:
    """Apply a function of `x [B, ...]` on each device to the examples that it holds.

    `vmap` folds its axis into the batch of a convolution, which a sharded batch does not allow;
    under this function the batch is local.

    Args:
      function: `(x, *args) -> y [B, ...]`, independent for each example.
      x: `[B, ...]`, with a batch that may be sharded over Explicit axes.
      *args: arrays that all devices need whole.
    """
    axes = _spec(x)[0] if _typed_mesh() else None
    if axes is None:
        return function(x, *args)
    batch, whole = jax.sharding.PartitionSpec(axes), jax.sharding.PartitionSpec()
    in_specs = (batch, *(whole for _ in args))
    names = set(axes if isinstance(axes, tuple) else (axes,))
    return jax.shard_map(function, in_specs=in_specs, out_specs=batch, axis_names=names)(x, *args)


def take(x: Any, indices: Any) -> Any:
    """Take examples of a set `x [N, ...]`; a set that is sharded over N gives a sharded batch.

    Args:
      x: `[N, ...]`.
      indices: `[B]`, integers. B that the devices of the set do not divide gives a whole batch on
        every device.
    """
    if not _typed_mesh() or _spec(x)[0] is None:
        return x[indices]
    axes = _spec(x)[0]
    sizes = jax.sharding.get_abstract_mesh().shape
    devices = math.prod(sizes[a] for a in (axes if isinstance(axes, tuple) else (axes,)))
    spec = (axes if indices.shape[0] % devices == 0 else None, *_spec(x)[1:])
    return x.at[indices].get(out_sharding=jax.sharding.PartitionSpec(*spec))


def on_mesh(tree: PyTree) -> bool:
    """Whether any array is placed on a mesh, of whichever axes, or a mesh is set."""
    if not jax.sharding.get_abstract_mesh().empty:
        return True
    meshes = (getattr(jax.typeof(x).sharding, "mesh", None) for x in jax.tree.leaves(tree))
    return any(mesh is not None and not mesh.empty for mesh in meshes)


def placement(x: Any) -> Any:
    """The sharding of an array on Explicit axes, for `out_sharding`; None without such axes."""
    types = jax.sharding.get_abstract_mesh().axis_types
    return jax.typeof(x).sharding if AxisType.Explicit in types else None


def _typed_mesh() -> bool:
    """Whether arrays have placed types here: a mesh with an Explicit or a Manual axis."""
    types = jax.sharding.get_abstract_mesh().axis_types
    return any(kind != AxisType.Auto for kind in types)


def _varying(x: Any) -> frozenset[Any]:
    aval = x if isinstance(x, jax.ShapeDtypeStruct) else jax.typeof(x)
    kind = getattr(aval, "manual_axis_type", None)  # jax 0.10.0 calls it vma
    found = getattr(aval, "vma", None) if kind is None else kind.varying
    return frozenset(found or ())


def _spec(x: Any) -> tuple[Any, ...]:
    aval = x if isinstance(x, jax.ShapeDtypeStruct) else jax.typeof(x)
    spec = tuple(getattr(aval.sharding, "spec", ()))
    return spec + (None,) * (len(aval.shape) - len(spec))


def _cast(x: Any, axes: frozenset[Any]) -> Any:
    missing = tuple(sorted(axes - _varying(x)))
    return lax.pcast(x, missing, to="varying") if missing else x


def _place(x: Any, like: Any) -> Any:
    if any(_spec(like)) and _spec(x) != _spec(like):
        x = jax.sharding.reshard(x, jax.sharding.PartitionSpec(*_spec(like)))
    return _cast(x, _varying(like))
