"""The command line: `JAX_PLATFORMS=cpu python -m experiments.benchmarks.compiled`.

It compiles the cases for accelerators that are not at hand, and appends a row for each. It needs a
Python with JAX, its plugin for CUDA and libtpu; `make compiled` makes one.
"""

import argparse
import datetime
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version

import jax

from experiments.benchmarks.compiled import cases, programs, tables, targets
from experiments.engine import provenance
from experiments.engine import rows as result_rows

# Other targets than the first have the default alone, and only what was measured on an H200.
MEASURED = tuple(f"step-784-400-10-T{steps}-B100" for steps in (30, 300))
MEASURED += ("lif-T32-64x16384", "cnn-T5-B100")


def main(argv: list[str]) -> int:
    """Compile all cases, or those that the arguments name; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.compiled")
    parser.add_argument("--target", action="append", choices=list(targets.TARGETS))
    parser.add_argument("--workload", action="append", help="default: all of them")
    parser.add_argument("--implementation", action="append", help="default: all of them")
    parser.add_argument("--dry", action="store_true", help="write no rows")
    args = parser.parse_args(argv)
    command = shlex.join(["python", "-m", "experiments.benchmarks.compiled", *argv])
    failed = False
    for target in args.target or list(targets.TARGETS):
        for case in cases.cases():
            if args.workload and case.workload not in args.workload:
                continue
            if args.implementation and case.implementation not in args.implementation:
                continue
            if not (args.workload or args.implementation) and not _wanted(target, case):
                continue
            try:
                row = measure(target, case)
            except ImportError as error:
                print(f"left out: {case.implementation}: {error}", file=sys.stderr)
                continue
            except Exception as error:
                print(f"failed: {case.workload}, {case.implementation}: {error}", file=sys.stderr)
                failed = True
                continue
            print(
                f"{target}, {case.workload}, {case.implementation}: {tables.line(row)}", flush=True
            )
            if not args.dry:
                result_rows.append(
                    tables.RESULTS / f"{tables.slug(target)}.jsonl", row | {"command": command}
                )
    return int(failed)


def _wanted(target: str, case: cases.Case) -> bool:
    if target == "H100":
        return True
    default = case.implementation == cases.VARIANTS[0]
    return default and (target != "H200" or case.workload in MEASURED)


def measure(target: str, case: cases.Case) -> dict:
    """Compile one case for one target; return its row."""
    task = case.task()
    mesh = targets.mesh(target, case.devices)
    args = (task.carried, *task.inputs)
    program = programs.compile_for(mesh, task.function, *args, specs=case.specs, donate_argnums=0)
    return {
        "target": target,
        "workload": case.workload,
        "implementation": case.implementation,
        "devices": case.devices,
        **program.counts._asdict(),
        "flops": case.flops,
        "temp_bytes": program.temp_bytes,
        "trace_seconds": program.trace_seconds,
        "compile_seconds": program.compile_seconds,
        "jax": jax.__version__,
        "compiler": _compiler(target),
        "commit": provenance.commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _compiler(target: str) -> str:
    name = "libtpu" if targets.TARGETS[target].platform == "tpu" else "jax-cuda12-pjrt"
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
