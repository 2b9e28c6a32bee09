"""What all studies share: where a number came from, the run folder, result rows.

A row is one JSON object on one line, written as soon as its run ends and never edited by hand.
"""

import contextlib
import dataclasses
import datetime
import itertools
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from experiments.settings import UsageError

HERE = Path(__file__).parent


def provenance() -> dict[str, Any]:
    """Device, versions, commit, command and date, as every row carries them."""
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
            ["git", *args], cwd=HERE.parent, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        head = git("rev-parse", "--short=12", "HEAD")
        # Only code decides what a run does: rows and pages of an earlier run do not mark it.
        ours = ("stbp_jax", "experiments", "pyproject.toml", ":!*.md", ":!*.jsonl", ":!*.png")
        return head + ("-dirty" if git("status", "--porcelain", "--", *ours) else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def peak_bytes() -> int | None:
    """Peak memory of the default device, where it tells."""
    stats = jax.local_devices()[0].memory_stats()
    return None if not stats else stats.get("peak_bytes_in_use")


class CompileClock:
    """Seconds that JAX has spent tracing and compiling since the clock was made."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event.startswith("/jax/core/compile/"):
            with self._lock:
                self.seconds += duration_secs


def make_folder(folder: Path) -> Path:
    """A writable folder for a run, which `claim` then makes its own.

    Raises:
      UsageError: it cannot be written to, or holds a run already.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"--out must be a folder that can be written to: {error}") from None
    if (folder / "config.json").exists():
        raise _taken(folder)
    return folder


def new_folder(parent: Path, name: str) -> Path:
    """A folder of its own for every caller, in all processes: `name-date-time`, `...-2`, ...

    Raises:
      UsageError: it cannot be made.
    """
    stem = f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for n in itertools.count(1):
            folder = parent / (stem if n == 1 else f"{stem}-{n}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()  # of several callers one succeeds
                break
    except OSError as error:
        raise UsageError(f"{parent} must be a folder that can be written to: {error}") from None
    return folder


def claim(folder: Path, config: Any) -> None:
    """Writes `config.json`, by which a folder belongs to one run.

    Raises:
      UsageError: another run was there first.
    """
    try:
        with (folder / "config.json").open("x") as file:
            file.write(json.dumps(config, indent=2, default=_plain) + "\n")
    except FileExistsError:
        raise _taken(folder) from None


def _taken(folder: Path) -> UsageError:
    return UsageError(f"--out {folder} holds a run already; name another folder")


def write_json(path: Path, content: Any) -> None:
    """One JSON document, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2, default=_plain) + "\n")
    partial.replace(path)


def append_row(path: Path, row: dict[str, Any]) -> None:
    """One JSON object on a line of its own, flushed to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row, default=_plain) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file."""
    for line in path.read_text().splitlines():
        if line.strip():
            yield json.loads(line)


def plain(settings: Any) -> dict[str, Any]:
    """A dataclass as its row shows it."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"no JSON for {type(value)}")
