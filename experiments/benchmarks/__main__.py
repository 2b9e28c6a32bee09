"""The command line: `python -m experiments.benchmarks [--peers] [--cuda] [--smoke] [...]`.

For each workload the command starts one process per implementation, checks that all compute the
same, and times them in turn, round after round, so that a busy moment of the machine affects all
equally. Rows are written at the end of each workload. Exit codes: 0 done, 1 some implementation
failed or disagreed, or time ran out (the others were measured), 2 wrong usage.

With a time budget every workload gets an equal share of the remaining time. Its processes must be
ready within 65 % of the share, and sampling stops at its end.
"""

import argparse
import datetime
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from experiments.benchmarks import environment, ours, shapes, tables, worker
from experiments.engine import provenance
from experiments.engine import rows as result_rows

SAMPLES = 3  # per implementation and round
CUDA_SECONDS = 480.0
PREPARING = 0.65  # largest part of a workload's share for preparation
LONGEST_PREPARATION = 240.0  # seconds; torch.compile needs more for loops of hundreds of steps
PEERS = {
    "PyTorch loop": "peers_torch",
    "PyTorch compiled": "peers_torch",
    "SpikingJelly": "peers_torch",
    "snnTorch": "peers_torch",
    "Norse": "peers_torch",
    "Spyx": "peers_spyx",
    "jaxpike": "peers_jaxpike",
}
CPU_PEERS = {"braintrace": "peers_braintrace"}  # it imports Matplotlib, which is not carried
CUDA_PEERS = {"SpikingJelly Triton": "peers_torch"}


def main(argv: list[str]) -> int:
    """Run the benchmarks that the arguments name; return the exit code."""
    start = time.monotonic()
    parser = _parser()
    args = parser.parse_args(argv)
    modules = dict.fromkeys(PEERS.values())
    pythons = {"ours": Path(sys.executable)}
    on_cuda = False
    with tempfile.TemporaryDirectory() as site:
        if args.cuda:
            on_cuda = _has_cuda()
            if not on_cuda and not args.smoke:
                parser.error("--cuda needs a JAX that finds a CUDA device, or --smoke")
            pythons |= dict.fromkeys(modules, Path(sys.executable))
            environment.install_carried(Path(site))
        elif args.peers:
            # This PyTorch is a CPU build, so all run on the CPU.
            os.environ["JAX_PLATFORMS"] = "cpu"
            asked = args.implementation or PEERS | CPU_PEERS
            modules = dict.fromkeys(m for name, m in (PEERS | CPU_PEERS).items() if name in asked)
            pythons |= {module: environment.python(module) for module in modules}
        seconds = args.seconds or (CUDA_SECONDS if args.cuda else None)
        end = None if seconds is None else start + seconds
        return _run(args, argv, pythons, end, on_cuda=on_cuda)


def _run(
    args: argparse.Namespace,
    argv: list[str],
    pythons: dict[str, Path],
    end: float | None,
    *,
    on_cuda: bool,
) -> int:
    out = Path(os.environ["OUT"]) if args.cuda and "OUT" in os.environ else tables.HERE / "results"
    results = args.results or (None if args.smoke else out)
    command = shlex.join(["python", "-m", "experiments.benchmarks", *argv])
    names = args.workload or [
        name for name in shapes.WORKLOADS if args.cuda or name not in shapes.CUDA_ONLY
    ]
    failed = False
    for i, name in enumerate(names):
        implementations = dict.fromkeys(
            ours.implementations(shapes.WORKLOADS[name], cuda=on_cuda), "ours"
        )
        if args.peers or args.cuda:
            implementations |= PEERS
            if not args.cuda:
                implementations |= CPU_PEERS
            elif on_cuda:
                implementations |= CUDA_PEERS
            if shapes.precision(shapes.WORKLOADS[name]) != "float32":
                for peer in ("Spyx", "jaxpike", "braintrace"):  # they keep float32 in any case
                    implementations.pop(peer, None)
        if args.implementation:
            implementations = {
                i: module
                for i, module in implementations.items()
                if i == ours.DEFAULT or i in args.implementation
            }
        share = None if end is None else (end - time.monotonic()) / (len(names) - i)
        if share is not None and share <= 0:
            print(f"failed: no time left for {name}", file=sys.stderr)
            failed = True
            continue
        rows = measure(
            name,
            implementations,
            pythons,
            rounds=args.rounds,
            smoke=args.smoke,
            seconds=share,
            together=args.cuda,
        )
        failed |= len(rows) < len(implementations)
        for row in rows:
            row["command"] = command
            if results is not None:
                result_rows.append(results / f"{_slug(row['device'])}.jsonl", row)
        shown = f"{tables.table(rows)}\n\n{tables.ratios(rows)}" if rows else "nothing measured"
        print(f"\n{name}\n{shown}\n", flush=True)
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks",
        description="Time training steps and LIF unrolls, and append rows to results/.",
        epilog="exit codes: 0 done, 1 some implementation failed or disagreed, or time ran out, "
        "2 wrong usage",
    )
    parser.add_argument("--peers", action="store_true", help="other packages too, on the CPU")
    parser.add_argument(
        "--cuda",
        action="store_true",
        help="all, other packages too, on a CUDA device; rows go to $OUT if it is set",
    )
    parser.add_argument("--smoke", action="store_true", help="tiny sizes; writes no rows")
    parser.add_argument(
        "--workload", action="append", choices=list(shapes.WORKLOADS), help="default: all of them"
    )
    parser.add_argument(
        "--implementation", action="append", help="only the default and these; default: all"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=10,
        metavar="N",
        help=f"rounds of {SAMPLES} samples; default 10",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help=f"time for all workloads; default {CUDA_SECONDS:.0f} with --cuda, else no limit",
    )
    parser.add_argument("--results", type=Path, metavar="DIR", help="folder of the rows")
    return parser


def _has_cuda() -> bool:
    # In another process, because this one must hold no memory of the device.
    found = subprocess.run(
        [sys.executable, "-c", "import jax; print(jax.default_backend())"],
        env={**os.environ, **worker.ENVIRONMENT},
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() == "gpu"


def measure(
    workload: str,
    implementations: dict[str, str],
    pythons: dict[str, Path],
    *,
    rounds: int,
    smoke: bool,
    seconds: float | None = None,
    together: bool = False,
) -> list[dict[str, Any]]:
    """Time all implementations of one workload in turn.

    Args:
      workload: name of the workload.
      implementations: name -> module of its worker. The default comes first; the others are
        compared with it.
      pythons: module -> interpreter.
      rounds: largest number of rounds.
      smoke: whether to run the tiny version.
      seconds: time for the workload, which limits the rounds to at least one; None is no limit.
      together: whether all processes start at once, and peers prepare while ours prepare in turn.
        Otherwise a process starts when the previous one is ready.

    Returns:
      Rows without their command. Implementations that failed or disagreed are printed and have no
      row.
    """
    start = time.monotonic()

    def left(share: float = 1.0) -> float | None:
        return None if seconds is None else max(1.0, start + share * seconds - time.monotonic())

    def attempt(w: worker.Worker, act: Callable[[], Any]) -> Any:
        """The result of `act`; None if the worker failed, which is printed and closes it."""
        try:
            return act()
        except worker.WorkerError as error:
            print(f"failed: {error}", file=sys.stderr, flush=True)
            w.close()
            workers.remove(w)
            return None

    def begin(name: str, module: str) -> worker.Worker:
        w = worker.Worker(pythons[module], module, name, workload, smoke=smoke)
        workers.append(w)
        return w

    workers: list[worker.Worker] = []
    try:
        if together:
            for name, module in implementations.items():
                w = begin(name, module)
                if module != "ours":
                    w.ask()
        for name, module in implementations.items():
            print(f"{workload}: preparing {name}", flush=True)
            w = next((w for w in workers if w.implementation == name), None) or begin(name, module)
            if module == "ours" or not together:
                w.ask()
            limit = min(left(PREPARING) or LONGEST_PREPARATION, LONGEST_PREPARATION)
            if attempt(w, partial(w.hear, limit)) is None:
                if name == ours.DEFAULT:  # the others have no reference
                    return []
                continue
            wrong = worker.disagreements(w.ready, workers[0].ready)
            if wrong:
                print(f"failed: {name} computes other {', '.join(wrong)}", file=sys.stderr)
                workers.remove(w)
                w.close()
        samples: dict[str, list[float]] = {w.implementation: [] for w in workers}
        began = time.monotonic()
        for turn in range(rounds):
            now = time.monotonic()
            another = (now - began) / turn if turn else 0.0  # seconds of a round, by the mean
            if turn and seconds is not None and now + another > start + 0.95 * seconds:
                print(f"{workload}: time for {turn} of {rounds} rounds", flush=True)
                break
            first = turn % max(
                1, len(workers)
            )  # rotates, so that no worker always follows the same one
            for w in workers[first:] + workers[:first]:
                taken = attempt(w, partial(w.sample, SAMPLES, left(1.1)))
                samples[w.implementation] += taken or []
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        rows = [_row(workload, w, samples[w.implementation], date, workers) for w in workers]
        for w, row in zip(list(workers), rows, strict=True):
            row["peak_bytes"] = attempt(w, partial(w.memory, left(1.1)))
        return rows
    finally:
        for w in workers:
            w.close()


def _row(
    workload: str, w: worker.Worker, samples: list[float], date: str, workers: list[worker.Worker]
) -> dict[str, Any]:
    ready = w.ready
    # The reference of the default is the plain loop; that of all others is the default.
    default = w.implementation == ours.DEFAULT
    reference = "bare lax.scan" if default else ours.DEFAULT
    known = reference in (other.implementation for other in workers)
    claimed = {c.rstrip("0123456789") for c in ready["claims"]}
    same = [what for what in ("spikes", "loss", "grad") if what in claimed]
    checked = (
        f"{', '.join(same).replace('grad', 'gradients')} as {reference}" if known and same else None
    )
    return {
        "workload": workload,
        "implementation": w.implementation,
        "version": ready["version"],
        "precision": ready["precision"],
        "samples_seconds": samples,
        "median_seconds": statistics.median(samples),
        "trace_seconds": ready["trace_seconds"],
        "compile_seconds": ready["compile_seconds"],
        "peak_bytes": None,  # measured after all samples
        "temp_bytes": ready["temp_bytes"],
        "hugepages": ready["hugepages"],
        "device": ready["device"] or workers[0].ready["device"],
        "jax": ready["jax"],
        "python": ready["python"],
        "commit": provenance.commit(),
        "date": date,
        "checked": checked,
        "remark": ready["remark"],
    }


def _slug(device: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
