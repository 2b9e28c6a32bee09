"""The folder of a run: its job, its lock, and the names of its files."""

import contextlib
import dataclasses
import datetime
import fcntl
import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.engine import rows
from experiments.engine.checkpoints import difference
from experiments.engine.config import Config, Data, Model, Train, UsageError
from experiments.engine.studies import Job
from stbp_jax import files

JOB, METRICS, ROW = "config.json", "metrics.jsonl", "row.jsonl"
PARTS = "parts.json"  # the job of a folder that has a folder for each seed


def new(parent: Path, name: str) -> Path:
    """Make a new folder `NAME-DATE-TIME`, `NAME-DATE-TIME-2`, ..., safe among processes.

    Args:
      parent: folder that contains the new one; created if it does not exist.
      name: first part of the folder's name.

    Returns:
      The path of the folder.

    Raises:
      UsageError: the folder cannot be created.
    """
    stem = f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for n in itertools.count(1):
            folder = parent / (stem if n == 1 else f"{stem}-{n}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()  # fails if another process was first
                break
    except OSError as error:
        raise UsageError(f"{parent} must be a folder that can be written to: {error}") from None
    return folder


def unfinished(folder: Path) -> Path:
    """Return the first of `folder`, `folder-2`, ... that holds no finished run."""
    return next(one for one in _series(folder) if not (one / ROW).exists())


def ended(folder: Path) -> list[Path]:
    """Return the first of `folder`, `folder-2`, ..., as far as they hold finished runs."""
    return list(itertools.takewhile(lambda one: (one / ROW).exists(), _series(folder)))


def _series(folder: Path) -> Iterator[Path]:
    yield folder
    yield from (folder.with_name(f"{folder.name}-{n}") for n in itertools.count(2))


def writable(folder: Path) -> Path:
    """Return the folder; create it if it does not exist.

    Raises:
      UsageError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"out must be a folder that can be written to: {error}") from None
    return folder


@contextlib.contextmanager
def claimed(folder: Path, job: Job, source: dict[str, Any]) -> Iterator[None]:
    """Lock the folder for this job during a `with` block, and write the job to `config.json`.

    A folder that holds an unfinished run of the same job is accepted, so that the run can resume.

    Args:
      folder: of the run; created if it does not exist.
      job: written to `config.json`, or compared with the job there.
      source: device, versions and commit, written beside the job.

    Raises:
      UsageError: the folder holds another job or a finished run, or another process uses it.
    """
    writable(folder)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"out {folder} is in use by another process") from None
        content = _job_as_json(job)
        if not (folder / JOB).exists():
            write_json(folder / JOB, content | {"source": source})
        elif (folder / ROW).exists():
            raise UsageError(f"out {folder} holds a run that has ended; choose another folder")
        elif said := _differs(folder / JOB, content):
            raise UsageError(f"out {folder} holds another run, choose another folder: {said}")
        yield
    finally:
        os.close(lock)  # this releases the lock, too


def check_exists(folder: Path) -> None:
    """Raise UsageError if the folder of a run was deleted while the run goes on."""
    if not (folder / JOB).exists():
        raise UsageError(f"the run folder {folder} was deleted or moved while the run went on")


def _differs(path: Path, content: dict[str, Any]) -> str | None:
    """Return the first difference of a written job from this one."""
    try:
        found = json.loads(path.read_text())
        return difference({name: found.get(name) for name in content}, content)
    except (OSError, ValueError, AttributeError) as error:
        return f"{path} cannot be read: {error}"


def holds_parts(folder: Path) -> bool:
    """Return whether a folder has a folder for each seed of its job."""
    return (folder / PARTS).exists()


def write_parts(folder: Path, job: Job) -> None:
    """Write the job of a folder that has a folder for each seed.

    Raises:
      UsageError: the folder holds another job.
    """
    content = _job_as_json(job)
    if holds_parts(folder) and (said := _differs(folder / PARTS, content)):
        raise UsageError(f"out {folder} holds other runs, choose another folder: {said}")
    write_json(folder / PARTS, content)


def read_job(folder: Path) -> Job:
    """Read the job of a run folder, or of a folder of several seeds.

    Raises:
      UsageError: the folder holds no job, or it cannot be read.
    """
    try:
        content = json.loads((folder / (PARTS if holds_parts(folder) else JOB)).read_text())
        return Job(**{name: content[name] for name in Job._fields} | {"config": config_of(content)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder} must be the folder of a run: {error}") from None


def config_of(row: dict[str, Any]) -> Config:
    """Return the `config` entry of a row or of `config.json` as a `Config`."""
    kinds = {"data": Data, "model": Model, "train": Train}
    return Config(**{name: kind(**row["config"][name]) for name, kind in kinds.items()})


def _job_as_json(job: Job) -> dict[str, Any]:
    content = job._asdict() | {"config": dataclasses.asdict(job.config)}
    return json.loads(json.dumps(content, default=rows.plain))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON document; an interruption leaves no partial file."""
    with files.whole(path) as file:
        file.write((json.dumps(content, indent=2, default=rows.plain) + "\n").encode())
