"""The command line: `python -m experiments.benchmarks [--peers] [--smoke] [...]`.

For each workload it starts one process for each implementation, checks that all compute the same,
and then times them in turn, round after round, so that a busy moment hits all alike. Rows are
written when a workload is through. Exit codes: 0 done, 1 some implementation failed or disagreed
(the others were measured), 2 wrong usage.
"""

import argparse
import datetime
import os
import re
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

from experiments import harness
from experiments.benchmarks import environment, ours, shapes, tables, worker

SAMPLES = 3  # of each implementation in a round
PEERS = {
    "PyTorch loop": "peers_torch",
    "PyTorch compiled": "peers_torch",
    "SpikingJelly": "peers_torch",
    "snnTorch": "peers_torch",
    "Norse": "peers_torch",
    "Spyx": "peers_spyx",
}


def main(argv: list[str]) -> int:
    """Measures what the arguments name; returns the exit code."""
    args = _parser().parse_args(argv)
    pythons = {"ours": Path(sys.executable)}
    if args.peers:
        # PyTorch is the CPU's build: all run there.
        os.environ["JAX_PLATFORMS"] = "cpu"
        pythons |= {module: environment.python(module) for module in set(PEERS.values())}
    results = args.results or (None if args.smoke else tables.HERE / "results")
    command = shlex.join(["python", "-m", "experiments.benchmarks", *argv])
    failed = False
    for name in args.workload or shapes.WORKLOADS:
        implementations = dict.fromkeys(ours.implementations(shapes.WORKLOADS[name]), "ours")
        if args.peers:
            implementations |= PEERS
        if args.implementation:
            implementations = {
                i: module
                for i, module in implementations.items()
                if i == ours.DEFAULT or i in args.implementation
            }
        rows = measure(name, implementations, pythons, rounds=args.rounds, smoke=args.smoke)
        failed |= len(rows) < len(implementations)
        for row in rows:
            row["command"] = command
            if results is not None:
                harness.append_row(results / f"{_slug(row['device'])}.jsonl", row)
        print(f"\n{name}\n{tables.table(rows)}\n" if rows else f"\n{name}: nothing measured\n")
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks",
        description="Times training steps and LIF unrolls, and appends rows to results/.",
        epilog="exit codes: 0 done, 1 some implementation failed or disagreed, 2 wrong usage",
    )
    parser.add_argument("--peers", action="store_true", help="other packages too, on the CPU")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes; writes no rows")
    parser.add_argument(
        "--workload", action="append", choices=list(shapes.WORKLOADS), help="default: all of them"
    )
    parser.add_argument(
        "--implementation", action="append", help="besides the default only these; all if absent"
    )
    parser.add_argument(
        "--rounds", type=int, default=10, metavar="N", help=f"of {SAMPLES} samples each; default 10"
    )
    parser.add_argument("--results", type=Path, metavar="DIR", help="where the rows go")
    return parser


def measure(
    workload: str,
    implementations: dict[str, str],
    pythons: dict[str, Path],
    *,
    rounds: int,
    smoke: bool,
) -> list[dict[str, Any]]:
    """Times all implementations of one workload in turn.

    Args:
      workload: its name.
      implementations: name -> module of its worker; the default, which comes first, is what the
        others are compared with.
      pythons: module -> interpreter.
      rounds: how often each gets its turn.
      smoke: the tiny version.

    Returns:
      Rows, without their command; implementations that failed or disagreed are told and left out.
    """
    workers: list[worker.Worker] = []
    try:
        for name, module in implementations.items():
            print(f"{workload}: preparing {name}", flush=True)
            try:
                w = worker.Worker(pythons[module], module, name, workload, smoke=smoke)
                workers.append(w)
                w.ask()
                w.hear()
            except worker.WorkerError as error:
                print(f"failed: {error}", file=sys.stderr)
                workers.pop().close()
                if not workers:  # nothing to compare the others with
                    return []
                continue
            wrong = worker.disagreements(workers[-1].ready, workers[0].ready)
            if wrong:
                print(f"failed: {name} computes other {', '.join(wrong)}", file=sys.stderr)
                workers.pop().close()
        samples: dict[str, list[float]] = {w.implementation: [] for w in workers}
        for turn in range(rounds):
            first = turn % len(workers)  # nobody always follows the same one
            for w in workers[first:] + workers[:first]:
                samples[w.implementation] += w.sample(SAMPLES)
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        rows = [_row(workload, w, samples[w.implementation], date, workers) for w in workers]
        for w, row in zip(workers, rows, strict=True):
            row["peak_bytes"] = w.memory()
        return rows
    finally:
        for w in workers:
            w.close()


def _row(
    workload: str, w: worker.Worker, samples: list[float], date: str, workers: list[worker.Worker]
) -> dict[str, Any]:
    ready = w.ready
    # The default is borne out by the plain loop, every other one by the default.
    reference = "bare lax.scan" if w is workers[0] else workers[0].implementation
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
        "compile_seconds": ready["compile_seconds"],
        "peak_bytes": None,  # asked for when all samples are taken
        "temp_bytes": ready["temp_bytes"],
        "hugepages": ready["hugepages"],
        "device": ready["device"] or workers[0].ready["device"],
        "jax": ready["jax"],
        "python": ready["python"],
        "commit": harness.commit(),
        "date": date,
        "checked": checked,
        "remark": ready["remark"],
    }


def _slug(device: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
