"""All cells of a sweep as one compiled function: in turn on a CPU, at once on accelerators.

On a CPU a cell that runs alone finds its membranes in the caches, where those of all cells do not
fit, and there is no launch to share. On an accelerator all cells share the launches. Cells on
several devices are spread over them, and each device runs its own.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from stbp_jax import arguments
from stbp_jax.sweeps.placement import auto_axes

Axes = tuple[int | None, ...]
"""For each argument 0 if it has the axis, else None, as `in_axes` of `jax.vmap`."""


def platform_of(keys: Any, where: NamedSharding | None) -> str:
    """The platform on which a sweep runs."""
    if where is not None:
        return str(where.mesh.devices.flat[0].platform)
    if isinstance(keys, jax.Array) and arguments.concrete(keys):
        return str(next(iter(keys.devices())).platform)
    return jax.default_backend()


def over_cells(
    run: Callable[..., Any], seeds: Axes, points: Axes, platform: str, where: NamedSharding | None
) -> Callable[..., Any]:
    """`run` for all points and seeds, compiled; results have the axes `[H, S, ...]`.

    Args:
      run: of one cell.
      seeds: the arguments with an axis of seeds.
      points: the arguments with an axis of points, which leads.
      platform: of the devices.
      where: the sharding of the axes `[H, S]`; None for one device.
    """
    over: Callable[..., Any] = _in_turn if platform == "cpu" else jax.vmap
    cells = over(over(run, seeds), points)
    if where is None:
        return jax.jit(cells)
    of_points, of_seeds = where.spec
    specs = tuple(
        PartitionSpec(*[of_points] * (p == 0), *[of_seeds] * (s == 0))
        for p, s in zip(points, seeds, strict=True)
    )
    local = jax.shard_map(
        cells, mesh=auto_axes(where.mesh), in_specs=specs, out_specs=where.spec, check_vma=False
    )
    return jax.jit(local)


def _in_turn(function: Callable[..., Any], axes: Axes) -> Callable[..., Any]:
    """As `jax.vmap`, by a loop."""

    def mapped(*args: Any) -> Any:
        def one(moving: tuple[Any, ...]) -> Any:
            left = iter(moving)
            filled = zip(args, axes, strict=True)
            return function(*(next(left) if axis == 0 else arg for arg, axis in filled))

        return lax.map(one, tuple(a for a, axis in zip(args, axes, strict=True) if axis == 0))

    return mapped
