"""Placement of a sweep's points and seeds on devices: sharded points and keys stay sharded.

The runs of a sweep are independent, so each device runs its own (`jax.shard_map`). Points on
Explicit axes move to Auto axes of the same devices, where no number is copied, and the results move
back.
"""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from stbp_jax.core import PyTree


def placement(points: PyTree, keys: Any) -> NamedSharding | None:
    """The sharding of the axes `[H, S]`, from the points and the keys; None on one device."""
    over_points = [_sharding(leaf) for leaf in jax.tree.leaves(points)]
    axes = [
        next((s.spec[0] for s in found if s is not None and len(s.spec) and s.spec[0]), None)
        for found in (over_points, [_sharding(keys)])
    ]
    found = [s for s in (*over_points, _sharding(keys)) if s is not None]
    return NamedSharding(found[0].mesh, PartitionSpec(*axes)) if any(axes) else None


def _sharding(x: Any) -> NamedSharding | None:
    """The sharding of a concrete array on several devices."""
    if not isinstance(x, jax.Array) or isinstance(x, jax.core.Tracer):
        return None
    sharding = x.sharding
    if not isinstance(sharding, NamedSharding) or len(sharding.device_set) == 1:
        return None
    return sharding


def check_chunk(chunk: int, where: NamedSharding | None) -> None:
    """Raises unless the points of a chunk can be spread over the devices of the points."""
    if where is None or where.spec[0] is None:
        return
    axes = where.spec[0] if isinstance(where.spec[0], tuple) else (where.spec[0],)
    devices = int(np.prod([where.mesh.shape[axis] for axis in axes]))
    if chunk % devices:
        raise ValueError(
            f"chunk must be a multiple of the {devices} devices of the points, got {chunk}"
        )


def on_auto_axes(tree: PyTree) -> PyTree:
    """The same arrays on axes of type Auto."""

    def moved(x: Any) -> Any:
        sharding = _sharding(x)
        if sharding is None or AxisType.Explicit not in sharding.mesh.axis_types:
            return x
        return _put(x, NamedSharding(auto_axes(sharding.mesh), sharding.spec))

    return jax.tree.map(moved, tree)


def _put(x: Any, where: NamedSharding) -> Any:
    if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.device_put(x, where)
    # JAX puts the words of keys, but no keys, onto devices of other processes.
    words = jax.device_put(jax.random.key_data(x), where)
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(x))


def auto_axes(mesh: Any) -> Mesh:
    """The same devices on axes of type Auto."""
    names = mesh.axis_names
    return Mesh(mesh.devices, names, axis_types=(AxisType.Auto,) * len(names))


def running(where: NamedSharding | None) -> Any:
    """The context in which the program of a sweep is called: the mesh on Auto axes."""
    return contextlib.nullcontext() if where is None else jax.set_mesh(auto_axes(where.mesh))


def placed(tree: PyTree, where: NamedSharding | None) -> PyTree:
    """Results `[H, S, ...]` on the devices of their points and seeds."""
    if where is None:
        return tree
    return jax.tree.map(lambda x: _put(x, where), tree)


def take(tree: PyTree, indices: np.ndarray) -> PyTree:
    """Some points of arrays `[H, ...]`, spread over the same devices."""

    def taken(x: Any) -> Any:
        sharding = _sharding(x)
        if sharding is None:
            return x[indices]
        return jax.jit(lambda x: x[indices], out_shardings=sharding)(x)

    return jax.tree.map(taken, tree)


def known(tree: PyTree) -> PyTree:
    """The same values, where arrays that are spread over processes are whole in each of them."""

    def whole(x: Any) -> Any:
        if _sharding(x) is None or x.is_fully_addressable:
            return x
        if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return multihost_utils.process_allgather(x, tiled=True)
        words = multihost_utils.process_allgather(jax.random.key_data(x), tiled=True)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(x))

    return jax.tree.map(whole, tree)


def entry(tree: PyTree, index: int) -> PyTree:
    """One entry of arrays with a leading axis, for checks; it lies on one device."""

    def at(x: Any) -> Any:
        if _sharding(x) is None:
            return x[index]
        if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jnp.asarray(np.asarray(x)[index])
        words = np.asarray(jax.random.key_data(x))[index]
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(x))

    return jax.tree.map(at, tree)
