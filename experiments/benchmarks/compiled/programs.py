"""Compilation for an accelerator that is not there."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.benchmarks.compiled import counts


class Program(NamedTuple):
    """A compiled program.

    Attributes:
      counts: launches, bytes and collectives of one run.
      temp_bytes: temporary memory that XLA plans, on each device.
      trace_seconds: of tracing and lowering.
      compile_seconds: of XLA.
      hlo: the optimized module.
    """

    counts: counts.Counts
    temp_bytes: int
    trace_seconds: float
    compile_seconds: float
    hlo: str


def compile_for(
    mesh: Mesh, function: Callable[..., Any], *args: Any, specs: Any = None, **options: Any
) -> Program:
    """Compile a function for the devices of a mesh.

    Args:
      mesh: from `targets.mesh`.
      function: of arrays.
      *args: examples; their values do not matter.
      specs: `PartitionSpec`s of the arguments, or of parts of them; None gives all devices all.
      **options: of `jax.jit`.
    """

    def is_spec(x: Any) -> bool:
        return isinstance(x, PartitionSpec)

    specs = jax.tree.broadcast(PartitionSpec() if specs is None else specs, args, is_leaf=is_spec)
    shapes = jax.tree.map(
        lambda spec, x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec)),
        specs,
        jax.eval_shape(lambda: args),
        is_leaf=is_spec,
    )
    start = time.perf_counter()
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # Pallas needs it
        lowered = jax.jit(function, **options).lower(*shapes)
    lowered_at = time.perf_counter()
    compiled = lowered.compile()
    end = time.perf_counter()
    hlo, memory = compiled.as_text(), compiled.memory_analysis()
    assert hlo is not None
    assert memory is not None
    return Program(
        counts.count(hlo),
        memory.temp_size_in_bytes,
        lowered_at - start,
        end - lowered_at,
        hlo,
    )
