"""The origin of a result: device, versions, commit, command, time and memory."""

import contextlib
import datetime
import os
import platform
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jax

ROOT = Path(__file__).parents[2]


def provenance() -> dict[str, Any]:
    """Return device, versions, commit, command and date, as every row stores them."""
    return {
        "device": device(),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "commit": commit(),
        "command": command(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def command() -> str:
    """Return the command line of this process, as `python -m MODULE ARGUMENTS`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name.removesuffix(".__main__") if spec else "experiments"
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def device() -> str:
    """Return the name of the default device; for a CPU, its model and its usable cores."""
    first = jax.local_devices()[0]
    if first.platform != "cpu":
        return f"{first.platform}: {first.device_kind}"
    model = platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    every = os.cpu_count() or 1
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else every
    return f"cpu: {model}, {every if ours == every else f'{ours} of {every}'} cores"


def commit() -> str | None:
    """Return the commit, with `-dirty` if the code differs from it; None outside of git.

    The environment variable `STBP_COMMIT` names it where the work tree is a copy.
    """
    if "STBP_COMMIT" in os.environ:
        return os.environ["STBP_COMMIT"]

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", *args], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        head = git("rev-parse", "--short=12", "HEAD")
        # Rows, pages and pictures of earlier runs do not change what a run does.
        ours = ("stbp_jax", "experiments", "pyproject.toml", ":!*.md", ":!*.jsonl", ":!*.png")
        return head + ("-dirty" if git("status", "--porcelain", "--", *ours) else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def peak_bytes() -> int | None:
    """Return the peak memory of the default device in bytes, or None if JAX cannot measure it."""
    stats = jax.local_devices()[0].memory_stats()
    return None if not stats else stats.get("peak_bytes_in_use")


class Watch:
    """A stopwatch for a run; it measures tracing and compiling separately.

    Args:
      before: seconds of the run before this process resumed it.
    """

    def __init__(self, before: float = 0.0) -> None:
        self._began = time.perf_counter() - before
        self._compiling = 0.0
        self._lock = threading.Lock()
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event.startswith("/jax/core/compile/"):
            with self._lock:
                self._compiling += duration_secs

    @property
    def seconds(self) -> float:
        """Seconds since the start of the run, including the time before it resumed."""
        return round(time.perf_counter() - self._began, 2)

    def fields(self) -> dict[str, Any]:
        """Return time and memory, as rows store them."""
        return {
            "wall_seconds": self.seconds,
            "compile_seconds": round(self._compiling, 2),
            "peak_bytes": peak_bytes(),
        }
