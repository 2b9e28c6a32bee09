"""Checkpoints of a run, by Orbax: from the last good one a run resumes, the same to the bit.

Orbax writes the arrays of a state. It has no checksums, therefore a record is written last, with
the SHA-256 sum of every file; a checkpoint without a record, or with another sum, is no checkpoint.
The record also says what the run was (configuration, points, seeds, constants of the network), and
the versions that wrote it. A save takes a fraction of a second, and the run waits for it: where an
asynchronous save of Orbax fails, its threads wait for minutes.
"""

import contextlib
import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.engine.config import UsageError
from experiments.engine.rows import plain
from stbp_jax import files

FOLDER, RECORD = "checkpoints", "record.json"
FORMAT = 1
KEPT = 2  # last ones; the best one is kept besides


class Checkpoints(NamedTuple):
    """The checkpoints of one folder.

    Attributes:
      save: `(epoch, state, score)`: writes a checkpoint. `score` is a number that is larger for a
        better state, or None. A failure is a warning, and the run goes on.
      restore: `(like) -> (epoch, state) | None`: reads the newest good checkpoint. `like` is a tree
        of arrays or `jax.ShapeDtypeStruct`; a leaf with a sharding is restored to it.
    """

    save: Callable[[int, Any, float | None], None]
    restore: Callable[[Any], tuple[int, Any] | None]


@contextlib.contextmanager
def opened(run: Path, about: dict[str, Any]) -> Iterator[Checkpoints]:
    """Open the checkpoints of a run folder for a `with` block.

    Args:
      run: the run folder. Its folder `checkpoints` is made at the first save.
      about: what the run is, in values of JSON; a checkpoint of something else is refused.

    Raises:
      UsageError: by `restore`: all checkpoints are damaged, or the newest good one has a newer
        format, or another `about`, shape or dtype. The message names the first difference. Saves
        that did not end are no checkpoints.
    """
    folder = (run / FOLDER).resolve()
    about = json.loads(json.dumps(about, default=plain))
    managers: list[Any] = []

    def manager() -> Any:
        if not managers:  # Orbax takes a second to import, which short runs do not need
            managers.append(_manager(folder))
        return managers[0]

    def save(epoch: int, state: Any, score: float | None) -> None:
        with _failing_softly(f"the state after epoch {epoch} is not saved, the run goes on"):
            arrays = {name: leaf for name, leaf in _numbers(state).items() if leaf.size}
            # Without scores the newest one counts as the best.
            metrics = {"score": float(epoch) if score is None else float(score)}
            for newer in [step for step in manager().all_steps() if step >= epoch]:
                manager().delete(newer)  # damaged ones, which `restore` has skipped
            manager().save(epoch, args=_save_args(arrays), metrics=metrics, force=True)
            _write_record(folder / str(epoch), arrays, about)

    def restore(like: Any) -> tuple[int, Any] | None:
        found = [int(one.name) for one in folder.glob("*") if one.name.isdigit()]
        saved = False  # whether a save has ended
        for epoch in sorted(found, reverse=True):
            try:
                _compare(_read_record(folder / str(epoch)), about, _shapes(like))
                arrays = _read_arrays(manager(), epoch, _shapes(like))
            except DamagedError as error:
                saved |= not isinstance(error, UnfinishedError)
                warnings.warn(f"checkpoint {folder / str(epoch)} is skipped: {error}", stacklevel=2)
                continue
            return epoch, _tree(like, arrays)
        if saved:
            raise UsageError(
                f"no checkpoint in {folder} is good; delete the folder to start at the first epoch"
            )
        return None

    try:
        yield Checkpoints(save, restore)
    finally:
        for one in managers:
            with _failing_softly("the checkpoints are not closed"):
                one.close()


def delete(run: Path) -> None:
    """Delete the checkpoints of a run that has ended."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)


def difference(found: Any, wanted: Any, place: str = "") -> str | None:
    """Return the first difference between two values of JSON in words; None if there is none."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in sorted(found.keys() | wanted.keys()):
            inner = f"{place}.{name}" if place else name
            if said := difference(found.get(name), wanted.get(name), inner):
                return said
        return None
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return next((said for i, two in pairs if (said := difference(*two, f"{place}[{i}]"))), None)
    return None if found == wanted else f"{place} is {found!r} there and {wanted!r} here"


# The form on disk --------------------------------------------------------------------------------


class DamagedError(Exception):
    """A checkpoint that cannot be read, or that has other arrays than were written."""


class UnfinishedError(DamagedError):
    """A checkpoint without its record: the process ended during the save."""


@contextlib.contextmanager
def _failing_softly(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Orbax and the system raise many types
        warnings.warn(f"{what}: {type(error).__name__}: {error}", stacklevel=4)


def _manager(folder: Path) -> Any:
    import orbax.checkpoint as ocp
    from orbax.checkpoint import checkpoint_managers as policies

    best = policies.BestN(get_metric_fn=lambda metrics: metrics["score"], n=1)
    keep = policies.AnyPreservationPolicy([policies.LatestN(KEPT), best])
    options = ocp.CheckpointManagerOptions(
        preservation_policy=keep, enable_async_checkpointing=False
    )
    return ocp.CheckpointManager(folder, options=options)


def _save_args(arrays: dict[str, Any]) -> Any:
    import orbax.checkpoint as ocp

    return ocp.args.StandardSave(arrays)


def _read_arrays(manager: Any, epoch: int, shapes: dict[str, Any]) -> dict[str, Any]:
    import orbax.checkpoint as ocp

    wanted = {name: leaf for name, leaf in shapes.items() if leaf.size}
    try:
        return manager.restore(epoch, args=ocp.args.StandardRestore(wanted))
    except Exception as error:  # Orbax, tensorstore and the system raise many types
        raise DamagedError(f"{type(error).__name__}: {error}") from None


def _write_record(folder: Path, arrays: dict[str, Any], about: dict[str, Any]) -> None:
    device = jax.local_devices()[0]
    text = json.dumps(
        {
            "format": FORMAT,
            "about": about,
            "written_by": {"jax": jax.__version__, "device": device.device_kind},
            "arrays": _forms(arrays),
            "files": _sums(folder),
        }
    )
    # The sum of the text tells a damaged record from that of another run.
    content = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "text": text}
    with files.whole(folder / RECORD) as file:
        file.write(json.dumps(content).encode())


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / RECORD).read_text())
        text = content["text"]
        if hashlib.sha256(text.encode()).hexdigest() != content["sha256"]:
            raise DamagedError(f"{RECORD} has another SHA-256 sum than was written")
        record, found = json.loads(text), _sums(folder)
    except FileNotFoundError:
        raise UnfinishedError("its save did not end") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{RECORD} cannot be read: {error}") from None
    for name in sorted(record["files"].keys() | found.keys()):
        if record["files"].get(name) != found.get(name):
            raise DamagedError(f"{name} has another SHA-256 sum than was written")
    return record


def _sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 sums of the files below a folder, by their paths, without the record."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECORD
    }


def _compare(record: dict[str, Any], about: dict[str, Any], shapes: dict[str, Any]) -> None:
    """Raise UsageError if a checkpoint is of another run, or newer than this code."""
    if record["format"] > FORMAT:
        raise UsageError(
            f"the checkpoint has format {record['format']}, this version reads up to {FORMAT}"
        )
    wanted = _forms({name: leaf for name, leaf in shapes.items() if leaf.size})
    said = difference(record["about"], about) or difference(record["arrays"], wanted)
    if said:
        raise UsageError(f"the checkpoint belongs to another run: {said}")


def _forms(arrays: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"dtype": str(leaf.dtype), "shape": list(leaf.shape)} for name, leaf in arrays.items()
    }


# Leaves by name ----------------------------------------------------------------------------------


def _named(tree: Any) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree.leaves_with_path(tree)]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _as_keys(numbers: Any, like: Any) -> Any:
    impl: list[Any] = []  # a form alone does not name it, a traced key does
    jax.eval_shape(lambda key: impl.append(jax.random.key_impl(key)), like)
    return jax.random.wrap_key_data(numbers, impl=impl[0])


def _numbers(tree: Any) -> dict[str, jax.Array]:
    """Return the leaves by their paths; typed keys as their integers."""
    return {
        name: jax.random.key_data(leaf) if _is_key(leaf) else jnp.asarray(leaf)
        for name, leaf in _named(tree)
    }


def _shapes(like: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the forms of `_numbers`, with the sharding that each leaf has or the default one."""
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    forms = {}
    for name, leaf in _named(like):
        numbers = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
        where = getattr(leaf, "sharding", None) or here
        forms[name] = jax.ShapeDtypeStruct(numbers.shape, numbers.dtype, sharding=where)
    return forms


def _tree(like: Any, arrays: dict[str, Any]) -> Any:
    leaves = []
    for name, leaf in _named(like):
        numbers = arrays.get(name)
        if numbers is None:  # an array without elements is not written
            leaves.append(jnp.zeros(leaf.shape, leaf.dtype))
        else:
            leaves.append(_as_keys(numbers, leaf) if _is_key(leaf) else numbers)
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
