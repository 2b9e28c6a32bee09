"""The folder of a run: its job, its metrics, and the state from which it can resume."""

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

import jax
import jax.numpy as jnp
import numpy as np

from experiments.engine import rows
from experiments.engine.config import Config, Data, Model, Train, UsageError
from experiments.engine.studies import Job

JOB, STATE, METRICS, ROW = "config.json", "state.npz", "metrics.jsonl", "row.jsonl"


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
    names = (folder.with_name(f"{folder.name}-{n}") for n in itertools.count(2))
    return next(one for one in itertools.chain([folder], names) if not (one / ROW).exists())


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
        elif any(json.loads((folder / JOB).read_text()).get(k) != v for k, v in content.items()):
            raise UsageError(f"out {folder} holds another run; choose another folder")
        yield
    finally:
        os.close(lock)  # this releases the lock, too


def read_job(folder: Path) -> Job:
    """Read the job of a run folder.

    Raises:
      UsageError: the folder holds no job, or it cannot be read.
    """
    try:
        content = json.loads((folder / JOB).read_text())
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
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2, default=rows.plain) + "\n")
    partial.replace(path)


# Training state ----------------------------------------------------------------------------------


def save_state(folder: Path, state: Any) -> None:
    """Write the leaves of a state to `state.npz`; an interruption leaves no partial file.

    Args:
      folder: of the run.
      state: a pytree of arrays; typed keys are stored as their integers.
    """
    partial = folder / "state.partial"
    with partial.open("wb") as file:
        leaves: dict[str, Any] = {name: np.asarray(_numbers(leaf)) for name, leaf in _named(state)}
        np.savez(file, **leaves)
    partial.replace(folder / STATE)


def load_state(folder: Path, like: Any) -> Any:
    """Read the state that `save_state` wrote.

    Args:
      folder: of the run.
      like: a pytree of arrays or `jax.ShapeDtypeStruct` with the expected leaves.

    Returns:
      A pytree like `like`, or None if the folder holds no state.

    Raises:
      UsageError: the file is damaged, or its leaves, shapes or dtypes differ from `like`.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        # NumPy does not close a file that it cannot read.
        with path.open("rb") as opened, np.load(opened) as file:
            found = {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, NumPy and the system raise different types
        raise UsageError(f"{path} cannot be read: {error}") from None
    wanted = {name: jax.eval_shape(_numbers, leaf) for name, leaf in _named(like)}
    for name in wanted.keys() | found.keys():
        have, want = (_form(arrays.get(name)) for arrays in (found, wanted))
        if have != want:
            raise UsageError(f"leaf {name} of {path} must be {want}, as in this run, got {have}")
    leaves = [
        jax.random.wrap_key_data(found[name]) if _is_key(leaf) else jnp.asarray(found[name])
        for name, leaf in _named(like)
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _form(array: Any) -> str:
    return "absent" if array is None else f"{array.dtype} {list(array.shape)}"


def _named(tree: Any) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree.leaves_with_path(tree)]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _numbers(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf
