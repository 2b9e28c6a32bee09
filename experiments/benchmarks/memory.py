"""Growth of memory with T: `python -m experiments.benchmarks.memory`.

The whole training step of 784-400-10 at B = 100 is compiled for a few T, in variants that differ in
the residuals of the backward pass. Nothing is run: the number is the temporary memory that XLA
plans, without weights, images and optimizer state.
"""

import datetime
import platform
import sys

import jax

import stbp_jax as sj
from experiments.benchmarks import ours, shapes, tables, timing, variants
from experiments.engine import provenance
from experiments.engine import rows as result_rows

STEPS = (10, 30, 100, 300, 1000)
# Plain autodiff is the network in one scan, written without the library.
COLUMNS = {
    "plain autodiff": ours.BARE,
    "default": variants.VARIANTS[variants.DEFAULT],
    "chunked, membranes kept": variants.VARIANTS["stbp_jax chunked"],
    "chunked, packed input": variants.VARIANTS["stbp_jax chunked, lean"],
}
RESULTS = tables.HERE / "results" / "memory"


def main(steps: tuple[int, ...] = STEPS) -> list[dict]:
    """Compile every variant for every T; return the rows."""
    base = shapes.WORKLOADS["step-784-400-10-T30-B100"]
    assert isinstance(base, shapes.Step)
    rows = []
    for num_steps in steps:
        for name, variant in COLUMNS.items():
            workload = base._replace(steps=num_steps)
            task = ours.whole(workload, variant.forward(workload), variant.encode)
            jitted = jax.jit(task.function, donate_argnums=0)
            program = timing.compiled(jitted, task.carried, *task.inputs)
            rows.append(
                {
                    "workload": "step-784-400-10-B100",
                    "implementation": name,
                    "num_steps": num_steps,
                    "temp_bytes": program.temp_bytes,
                    "trace_seconds": program.trace_seconds,
                    "compile_seconds": program.compile_seconds,
                    "version": sj.__version__,
                    "device": provenance.device(),
                    "jax": jax.__version__,
                    "python": platform.python_version(),
                    "commit": provenance.commit(),
                    "command": "python -m experiments.benchmarks.memory",
                    "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                }
            )
            print(f"T = {num_steps}, {name}: {program.temp_bytes} bytes", flush=True)
    return rows


if __name__ == "__main__":
    for row in main():
        result_rows.append(RESULTS / "step-784-400-10.jsonl", row)
    sys.exit(tables.main([]))
