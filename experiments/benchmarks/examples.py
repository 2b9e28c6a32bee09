"""The programs of `docs/examples` beside the same programs by hand: lines and times.

    python -m experiments.benchmarks.examples [--program NAME] [--rounds N]
    python -m experiments.benchmarks.examples --render    # the table from the rows
    python -m experiments.benchmarks.examples --check     # exits with 1 if the table is stale

A program and its twin in `by_hand` have two functions: `start(key)` makes arguments, and `update`
is one jitted step of training on them. A program that gives its `build` to `train_epochs` has the
step of that pipeline. Each has one process. The twin is timed only if its step gives the same
results from the same parameters. Both are then timed in turn.
"""

import argparse
import collections
import datetime
import importlib.util
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import stbp_jax as sj
from experiments.benchmarks import tables, worker
from experiments.engine import provenance
from experiments.engine import rows as result_rows

FOLDER = worker.ROOT / "docs" / "examples"
PAGE = FOLDER / "README.md"
RESULTS = tables.HERE / "results" / "examples"
NAMES = sorted(file.stem for file in FOLDER.glob("[a-z]*.py"))
LIBRARY, BY_HAND = "stbp_jax", "by hand"
TRACES, COMPILATIONS, SAMPLES = 5, 3, 20
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
SECOND_ORDER = ("maml",)  # reported, without a bound


def file_of(implementation: str, name: str) -> Path:
    """The file of a program, or of its twin by hand."""
    return (FOLDER if implementation == LIBRARY else FOLDER / "by_hand") / f"{name}.py"


def load(file: Path) -> ModuleType:
    """Import a program from its file."""
    spec = importlib.util.spec_from_file_location(f"{file.parent.name}_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if hasattr(module, "build"):
        module.start, module.update = _step_of(module)  # type: ignore[attr-defined]
    return module


def _step_of(program: ModuleType) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`start` and `update` of a program with `build`, `hparams` and `batches`."""
    pipeline = program.build(program.hparams, 1)
    step = sj.training.make_train_step(sj.training.loss_of(pipeline), pipeline.optimizer)

    def start(key: Any) -> tuple[Any, ...]:
        batch = next(program.batches(1))
        config = sj.TrainConfig(epochs=1, updates_per_epoch=1)
        state = sj.training.init_state(program.build, config, key, program.hparams, batch)
        return state.params, state.opt_state, *jax.device_put(batch)

    def update(params: Any, opt_state: Any, *batch: Any) -> tuple[Any, ...]:
        state = sj.TrainState(params, opt_state, jax.random.key(0), jnp.int32(0))
        state, (_, metrics) = step(state, batch)
        return state.params, state.opt_state, *metrics.values()

    return start, jax.jit(update)


def arguments(implementation: str, name: str) -> tuple[ModuleType, tuple[Any, ...]]:
    """A program and the arguments of its step; a twin starts from the program's arrays."""
    ours = load(file_of(LIBRARY, name))
    given = ours.start(jax.random.key(0))
    if implementation == LIBRARY:
        return ours, given
    twin = load(file_of(implementation, name))
    own = twin.start(jax.random.key(0))
    found, wanted = named(given), named(own)
    assert found.keys() == wanted.keys(), f"{name}: other arguments: {[*found]}, {[*wanted]}"
    names = iter(wanted)
    return twin, jax.tree.map(lambda x: found[next(names)] if isinstance(x, jax.Array) else x, own)


def named(tree: Any) -> dict[str, jax.Array]:
    """The arrays of a tree by dtype, shape and number, because trees differ in their order."""
    counts: collections.Counter[str] = collections.Counter()
    arrays = {}
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.Array):
            kind = f"{leaf.dtype}{list(leaf.shape)}"
            counts[kind] += 1
            arrays[f"{kind} {counts[kind]}"] = leaf
    return arrays


def results(step: Callable[..., Any], args: tuple[Any, ...]) -> dict[str, Any]:
    """Run a step; return its results that are compared: all but the parameters.

    Adam divides a gradient by its size, so that rounding shows in the parameters and not in the
    moments of its state. A step of NNX returns the loss alone, and changes its arguments.
    """
    outputs = step(*args)
    compared = outputs[1:] if isinstance(outputs, tuple) else (args[1], outputs)
    return {k: np.asarray(x) for k, x in named(compared).items() if not k.startswith("key")}


def differing(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """The results that differ by more than the rounding of float32."""

    def same(a: Any, b: Any) -> bool:
        a, b = np.asarray(a, float), np.asarray(b, float)
        return a.shape == b.shape and np.allclose(a, b, 1e-3, 1e-4 * np.abs(b).max(initial=0))

    return [k for k in found.keys() | wanted.keys() if not same(found.get(k), wanted.get(k))]


def prepare(implementation: str, name: str) -> worker.Prepared:
    """Trace, lower and compile the step of a program several times, and run it once."""
    program, args = arguments(implementation, name)
    traces, compilations = [], []
    for i in range(TRACES + 1):  # the first one also imports parts of JAX, and is not counted
        jax.clear_caches()
        start = time.perf_counter()
        lowered = program.update.lower(*args)
        traces.append(time.perf_counter() - start)
        if i < COMPILATIONS:
            start = time.perf_counter()
            compiled = lowered.compile()
            compilations.append(time.perf_counter() - start)

    return worker.Prepared(
        run=lambda: jax.block_until_ready(compiled(*args)) and None,
        check=results(compiled, args),
        claims={},
        remark="",
        version=f"stbp_jax {sj.__version__}" if implementation == LIBRARY else "",
        jax=jax.__version__,
        device=provenance.device(),
        compile_seconds=min(compilations),
        trace_seconds=min(traces[1:]),
    )


def measure(name: str, rounds: int) -> list[dict[str, Any]]:
    """Rows of a program and of its twin, timed in turn.

    Raises:
      WorkerError: a process failed, or the twin computes something else.
    """
    workers = []
    try:
        for implementation in (LIBRARY, BY_HAND):
            w = worker.Worker(Path(sys.executable), "examples", implementation, name, smoke=False)
            workers.append(w)
            w.ask()
            w.hear(None)
        wrong = differing(*(w.ready["check"] for w in workers))
        if wrong:
            raise worker.WorkerError(f"{name}: other {', '.join(sorted(wrong))} by hand")
        samples: list[list[float]] = [[], []]
        for turn in range(rounds):
            for i in (0, 1) if turn % 2 else (1, 0):
                samples[i] += workers[i].sample(SAMPLES)
    finally:
        for w in workers:
            w.close()
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return [
        {
            "program": name,
            "implementation": w.implementation,
            "lines": lines(file_of(w.implementation, name)),
            **{k: w.ready[k] for k in ("trace_seconds", "compile_seconds", "device", "jax")},
            "samples_seconds": taken,
            "commit": provenance.commit(),
            "command": provenance.command(),
            "date": date,
        }
        for w, taken in zip(workers, samples, strict=True)
    ]


def fastest(samples: list[float]) -> float:
    """The tenth percentile: other work on the machine only adds to a sample."""
    return statistics.quantiles(samples, n=10)[0]


def lines(file: Path) -> int:
    """The lines of a file that are neither empty nor comments."""
    text = file.read_text().splitlines()
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text)


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each program of the newest rows; each pair of numbers is library, by hand."""
    newest = {(row["program"], row["implementation"]): row for row in rows}
    shown = [
        "| program | lines | tracing (s) | compiling (s) | a step (ms) | times by hand |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in sorted({name for name, _ in newest}):
        pair = [newest[name, implementation] for implementation in (LIBRARY, BY_HAND)]
        steps = [fastest(row["samples_seconds"]) for row in pair]
        cells = [
            f"[{name}]({name}.py)",
            " / ".join(f"{row['lines']}" for row in pair),
            " / ".join(f"{row['trace_seconds']:.2f}" for row in pair),
            " / ".join(f"{row['compile_seconds']:.2f}" for row in pair),
            " / ".join(f"{1e3 * seconds:.2f}" for seconds in steps),
            f"{steps[0] / steps[1]:.2f}" + (" (second order)" * (name in SECOND_ORDER)),
        ]
        shown.append("| " + " | ".join(cells) + " |")
    sources = sorted({f"{row['device']}, jax {row['jax']}" for row in newest.values()})
    return "\n".join([*shown, "", f"{'; '.join(sources)}."])


def page(text: str) -> str:
    """The page with the table of the committed rows."""
    found = [r for file in sorted(RESULTS.glob("*.jsonl")) for r in result_rows.read_lines(file)]
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{table(found)}\n\n{END}{rest.partition(END)[2]}"


def main(argv: list[str]) -> int:
    """Measure the programs and render the page; or only render or compare it."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.examples")
    parser.add_argument("--program", action="append", choices=NAMES, help="default: all of them")
    parser.add_argument("--rounds", type=int, default=10, help=f"of {SAMPLES} samples; default 10")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--check", action="store_true", help="measure and write nothing")
    args = parser.parse_args(argv)
    failed = False
    for name in [] if args.render or args.check else args.program or NAMES:
        print(f"{name}: measuring", flush=True)
        try:
            for row in measure(name, args.rounds):
                slug = re.sub(r"[^a-z0-9]+", "-", row["device"].lower()).strip("-")
                result_rows.append(RESULTS / f"{slug}.jsonl", row)
        except worker.WorkerError as error:
            print(f"failed: {error}", file=sys.stderr)
            failed = True
    wanted = page(PAGE.read_text())
    if args.check:
        return int(wanted != PAGE.read_text())
    PAGE.write_text(wanted)
    return int(failed)


if __name__ == "__main__":
    if sys.argv[1:2] in ([LIBRARY], [BY_HAND]):  # as a worker
        jax.local_devices()
        worker.answer(lambda: prepare(*sys.argv[1:3]))
    else:
        sys.exit(main(sys.argv[1:]))
