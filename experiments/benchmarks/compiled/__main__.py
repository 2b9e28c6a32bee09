"""The command line: `JAX_PLATFORMS=cpu python -m experiments.benchmarks.compiled [WORKLOAD ...]`.

It needs a Python with JAX and its plugin for CUDA, and no device; `make compiled` makes one.
"""

import sys

from experiments.benchmarks import ours, shapes, variants
from experiments.benchmarks.compiled import programs


def main(names: list[str]) -> None:
    """Compile the default of each workload for an H100 and print what it launches."""
    for name in names or list(shapes.WORKLOADS):
        workload = shapes.WORKLOADS[name]
        variant = variants.VARIANTS[variants.DEFAULT]
        task = ours.whole(workload, variant.forward(workload), variant.encode)
        program = programs.compile_for(
            "H100", task.function, task.carried, *task.inputs, donate_argnums=0
        )
        print(
            f"{name}: {program.counts}, temp {program.temp_bytes}, "
            f"trace {program.trace_seconds:.1f} s, compile {program.compile_seconds:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
