"""Where a number comes from: device, versions, commit and command; time and memory of a process."""

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
    """Device, versions, commit, command and date, as every row holds them."""
    return {
        "device": device(),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "commit": commit(),
        "command": command(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def command() -> str:
    """What was typed: the module that `python -m` was given, and its arguments."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name.removesuffix(".__main__") if spec else "experiments"
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def device() -> str:
    """The default device in words; for a CPU its model and the cores at hand."""
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
    """The checkout's commit, marked where the code differs from it; None outside git."""

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", *args], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        head = git("rev-parse", "--short=12", "HEAD")
        # Only code decides what a run does: rows and pages of an earlier run do not mark it.
        ours = ("stbp_jax", "experiments", "pyproject.toml", ":!*.md", ":!*.jsonl", ":!*.png")
        return head + ("-dirty" if git("status", "--porcelain", "--", *ours) else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def peak_bytes() -> int | None:
    """Peak memory of the default device, where JAX knows it."""
    stats = jax.local_devices()[0].memory_stats()
    return None if not stats else stats.get("peak_bytes_in_use")


class Watch:
    """Seconds of a run, those of tracing and compiling apart, since the watch was made."""

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
        """All, those of earlier parts of the run too."""
        return round(time.perf_counter() - self._began, 2)

    def fields(self) -> dict[str, Any]:
        """Time and memory as rows hold them."""
        return {
            "wall_seconds": self.seconds,
            "compile_seconds": round(self._compiling, 2),
            "peak_bytes": peak_bytes(),
        }
