"""Compilation for a GPU that is not there, from the description of its hardware."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec

from experiments.benchmarks.compiled import counts

TARGETS = {"H100": Path(__file__).with_name("h100.textproto")}


class Program(NamedTuple):
    """A compiled program.

    Attributes:
      counts: launches and bytes of one run.
      temp_bytes: temporary memory that XLA plans.
      trace_seconds: of tracing and lowering.
      compile_seconds: of XLA.
      hlo: the optimized module.
    """

    counts: counts.Counts
    temp_bytes: int
    trace_seconds: float
    compile_seconds: float
    hlo: str


def compile_for(target: str, function: Callable[..., Any], *args: Any, **options: Any) -> Program:
    """Compile a function for one device of a target.

    Args:
      target: a name in `TARGETS`.
      function: of arrays.
      *args: examples; their values do not matter.
      **options: of `jax.jit`.
    """
    description = topologies.get_topology_desc(
        platform="cuda", target_config=TARGETS[target].read_text(), topology="1x1x1"
    )
    mesh = topologies.make_mesh(description, (1,), ("device",))
    where = NamedSharding(mesh, PartitionSpec())
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
        jax.eval_shape(lambda: args),
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
