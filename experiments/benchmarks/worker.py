"""One process for one implementation, and its protocol with the orchestrator.

Each answer of the child is a JSON line. `prepare` returns the prepared values, a number returns as
many timed seconds, and `memory`, the last request, returns the memory of a call; a failure returns
`error` with a traceback. Every implementation has its own allocator, threads and environment. All
processes stay alive, so they can be timed in turn under the same load of the machine. The module
needs no JAX.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import shapes, timing

ROOT = Path(__file__).parents[2]
HUGEPAGES = "glibc.malloc.hugetlb=1"

# The same for all. Threads of a waiting process sleep instead of spinning, and no compiled
# code of an earlier run is reused, so that the compile time is true.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "passive",
    "KMP_BLOCKTIME": "0",
    "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONPATH": str(ROOT),
}


class Prepared(NamedTuple):
    """An implementation that is compiled and ready to be timed.

    Attributes:
      run: one call, blocked on outputs and gradients.
      check: results on the tiny workload by name: `spikes`, `loss`, `grad0`, ...
      claims: which of these equal the default implementation's; a name of the form `cut/grad0`
        in the default's check is the gradient without its path through the reset.
      remark: differences from the default, the reason if not all values are claimed; else empty.
      version: version of the timed package.
      precision: precision of the numbers and products.
      jax: version of JAX, if used.
      device: name of the device; None for a CPU without a name.
      compile_seconds: time of compilation; None if nothing is compiled.
      trace_seconds: time of tracing and lowering, if `compile_seconds` does not include it.
      temp_bytes: temporary memory that XLA plans.
      growth: `run -> bytes`, the memory that one call needs.
    """

    run: timing.Run
    check: dict[str, Any]
    claims: dict[str, str]
    remark: str
    version: str
    precision: str = "float32"
    jax: str | None = None
    device: str | None = None
    compile_seconds: float | None = None
    temp_bytes: int | None = None
    growth: Callable[[timing.Run], int | None] = timing.growth
    trace_seconds: float | None = None


Prepare = Callable[[str, shapes.Workload, shapes.Workload], Prepared]


def serve(prepare: Prepare, argv: list[str]) -> None:
    """The child's side; `argv` is implementation, workload and, for the small one, `--smoke`.

    Args:
      prepare: `(implementation, workload to time, workload to check on) -> Prepared`.
      argv: the process's arguments.
    """

    def prepared() -> Prepared:
        implementation, name, *flags = argv
        workload = shapes.WORKLOADS[name]
        small = shapes.tiny(workload)
        return prepare(implementation, small if "--smoke" in flags else workload, small)

    answer(prepared)


def answer(prepare: Callable[[], Prepared]) -> None:
    """Answer the requests of a `Worker` on standard input; `prepare` runs on its request."""
    # Keep the output of libraries out of the protocol.
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)

        def say(message: dict[str, Any]) -> None:
            print(json.dumps(message), file=replies, flush=True)

        try:
            if sys.stdin.readline().strip() != "prepare":
                return
            ready = prepare()
            timing.sample(ready.run, 2)
            say(
                {
                    "check": {k: np.asarray(v).tolist() for k, v in ready.check.items()},
                    "claims": ready.claims,
                    "remark": ready.remark,
                    "version": ready.version,
                    "precision": ready.precision,
                    "jax": ready.jax,
                    "device": ready.device,
                    "compile_seconds": ready.compile_seconds,
                    "trace_seconds": ready.trace_seconds,
                    "temp_bytes": ready.temp_bytes,
                    "hugepages": HUGEPAGES in os.environ.get("GLIBC_TUNABLES", ""),
                    "python": sys.version.split()[0],
                }
            )
            for line in map(str.strip, sys.stdin):
                if line == "memory":
                    say({"peak_bytes": ready.growth(ready.run)})
                else:
                    say({"seconds": timing.sample(ready.run, int(line))})
        except Exception:
            say({"error": traceback.format_exc()})


class WorkerError(Exception):
    """A worker failed or died; the message has its traceback or the end of its log."""


class Worker:
    """The orchestrator's side: a process that holds one implementation of one workload.

    Attributes:
      implementation: name of the implementation.
      ready: its answer to `prepare`.
    """

    ready: dict[str, Any]

    def __init__(
        self, python: Path, module: str, implementation: str, workload: str, *, smoke: bool
    ) -> None:
        """Start the process, which imports its packages and waits."""
        self.implementation = implementation
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        arguments = [implementation, workload, *(["--smoke"] if smoke else [])]
        self._process = subprocess.Popen(
            [str(python), "-m", f"experiments.benchmarks.{module}", *arguments],
            cwd=ROOT,
            env={"GLIBC_TUNABLES": HUGEPAGES, **os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def ask(self) -> None:
        """Request the preparation; `hear` waits for its end."""
        self._say("prepare")

    def hear(self, limit: float | None = None) -> dict[str, Any]:
        """Wait until the worker is ready.

        Args:
          limit: seconds after which the process is ended.

        Returns:
          The answer to `prepare`, also kept in `ready`.

        Raises:
          WorkerError: the worker failed, died or took too long.
        """
        self.ready = self._hear(limit)
        return self.ready

    def sample(self, count: int, limit: float | None = None) -> list[float]:
        """Seconds of `count` calls; raises WorkerError as `hear` does."""
        self._say(str(count))
        return self._hear(limit)["seconds"]

    def memory(self, limit: float | None = None) -> int | None:
        """Memory of a call in bytes; the last request, because later calls are slower."""
        self._say("memory")
        return self._hear(limit)["peak_bytes"]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the next read reports a dead process
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _hear(self, limit: float | None) -> dict[str, Any]:
        assert self._process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(threading.TIMEOUT_MAX if limit is None else limit, stop)
        timer.daemon = True
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if line:
            message = json.loads(line)
            if "error" not in message:
                return message
            raise WorkerError(f"{self.implementation}: {message['error']}")
        code = self._process.wait()
        if late.is_set():
            raise WorkerError(f"{self.implementation} was not done after {limit:.0f} s")
        self._log.seek(0)
        raise WorkerError(
            f"{self.implementation} ended with code {code}:\n{self._log.read()[-2000:]}"
        )


def disagreements(ready: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    """The claims of a worker that differ from the reference.

    Spikes must be equal to the last bit, other numbers to their precision's rounding.
    """
    half = "float16" in ready.get("precision", "")
    rtol, atol = (1e-2, 1e-3) if half else (1e-5, 1e-6)
    wrong = []
    for name, of_reference in ready["claims"].items():
        ours, theirs = (
            np.asarray(ready["check"][name]),
            np.asarray(reference["check"][of_reference]),
        )
        if name == "spikes":
            same = np.array_equal(ours, theirs)
        else:
            same = ours.shape == theirs.shape and np.allclose(ours, theirs, rtol, atol)
        if not same:
            wrong.append(name)
    return wrong
