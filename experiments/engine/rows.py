"""Result rows: one JSON object on each line, written when a run ends, and never edited.

`upgrade` converts rows of earlier layouts, so that all other code handles one layout.
"""

import errno
import fcntl
import json
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from experiments.engine.config import Config, UsageError
from stbp_jax import files

Row = dict[str, Any]

STUDIES = Path(__file__).parents[1] / "studies"

# Old names in the first layout, and their new names.
RENAMED = {
    "study": {"initialisation": "initialization"},
    "budget": {"cpu": "quick"},
    "variant": {
        "twin": "ann",
        "dropout_twin": "dropout_ann",
        "cross_entropy_twin": "cross_entropy_ann",
        "twin_full_sets": "ann_full_sets",
    },
}
MATMULS = {"full_product": "full_matmul", "gathered_product": "event_driven_matmul"}
# Values that were fixed before they became settings.
BEFORE = {"share": 1.0}


def upgrade(row: Row) -> Row:
    """Return a row of any layout in the current layout.

    The first layout has flat `settings` in place of the nested `config`. Even older rows have
    neither, and their `config` becomes None. Settings that a sweep varies are in `hparams`.
    """
    row = row | {
        name: names.get(row[name], row[name]) for name, names in RENAMED.items() if name in row
    }
    if row.get("config"):  # a field that is newer than the row gets its default
        parts = Config().asdict()
        return row | {"config": {name: parts[name] | row["config"][name] for name in parts}}
    if "config" in row:
        return row
    if "streams" in row:
        row["streams"] = [_with_matmul(stream) for stream in row["streams"]]
    settings = row.pop("settings", None)
    if settings is None:
        return row | {"config": None}
    known = Config().asdict()
    old = BEFORE | settings
    old["name"] = old.get("data", "mnist")
    old["elastic"] = old.get("alpha", 0.0)
    if "hidden" in old:
        old["layers"] = f"{old['hidden']}-{old['classes']}"
    if old.get("train_limit"):
        old["num_train"] = old["train_limit"]
    config = {
        part: {name: old.get(name, value) for name, value in values.items()}
        for part, values in known.items()
    }
    return row | {"config": config}


def _with_matmul(stream: Row) -> Row:
    """Rename the field `product` of a stream to `matmul`."""
    name = stream["product"]
    rest = {key: value for key, value in stream.items() if key != "product"}
    return {"matmul": MATMULS.get(name, name)} | rest


def read(path: Path) -> Iterator[Row]:
    """Yield the rows of a file in the current layout, in order."""
    return map(upgrade, read_lines(path))


def of_study(name: str, below: Path = STUDIES) -> list[Row]:
    """Return all recorded rows of a study; each file is in the order of its lines."""
    files = sorted((below / name / "results").glob("*.jsonl"))
    return [row for file in files for row in read(file)]


def home(study: str, data: str, below: Path = STUDIES) -> Path:
    """Return the file with the rows of a study on a data set."""
    return below / study / "results" / f"{data}.jsonl"


def read_lines(path: Path) -> Iterator[Row]:
    """Yield the rows of a file as they are; a missing file has none.

    A process that is killed while it writes can leave a torn last line. It is reported and dropped.

    Raises:
      UsageError: another line is not JSON, or the file cannot be read.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    *lines, last = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise UsageError(f"line {number} of {path} must be JSON: {error}") from None
    if _torn(last):
        warnings.warn(f"{path}: the last line is incomplete and left out", stacklevel=2)
    elif last.strip():
        yield json.loads(last)


def _torn(last: bytes) -> bool:
    """Whether what follows the last line break of a file is the beginning of a row."""
    try:
        return bool(last.strip()) and not isinstance(json.loads(last), dict)
    except ValueError:
        return True


def write_lines(path: Path, lines: Iterable[Row]) -> None:
    """Replace the rows of a file; an interruption leaves the old file."""
    with files.whole(path) as file:
        file.writelines(_line(row) for row in lines)


def append(path: Path, row: Row) -> None:
    """Append a row to a file and flush it to disk.

    The row is written whole or not at all, and after those that other processes append at the same
    time. A torn last line, which a killed process left, is removed first.

    Raises:
      OSError: the file cannot be written; it has its former rows then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = _end_of_rows(file)
        file.truncate(end)
        try:
            line = _line(row)
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, "no space left for the whole row", str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def _end_of_rows(file: IO[bytes]) -> int:
    """Return the size of a file without a torn last line; a whole one gets its line break."""
    size = file.seek(0, os.SEEK_END)
    last = b""
    while len(last) < size and b"\n" not in last:  # from the end, in blocks
        file.seek(max(0, size - len(last) - 65536))
        last = file.read(size - file.tell())
    last = last[last.rfind(b"\n") + 1 :]
    if _torn(last):
        return size - len(last)
    if last.strip():
        return size + (file.write(b"\n") or 0)
    return size


def _line(row: Row) -> bytes:
    return (json.dumps(row, default=plain) + "\n").encode()


def merge(file: Path, below: Path = STUDIES) -> int:
    """Append the rows of a file to the results of their studies, without duplicates.

    Args:
      file: of rows, such as `reproduce --results FOLDER` writes.
      below: folder of the studies.

    Returns:
      The number of new rows.

    Raises:
      UsageError: the file cannot be read, or it holds smoke rows or rows of an unknown study.
    """
    if not file.exists():
        raise UsageError(f"file must be a file of result rows, and {file} does not exist")
    new = 0
    for raw in read_lines(file):
        row = upgrade(raw)
        if row["budget"] == "smoke" or not (below / row["study"] / "study.py").exists():
            raise UsageError(
                f"rows of {file} must belong to a study and not to the budget smoke, got "
                f"{row['study']} at budget {row['budget']}"
            )
        target = home(row["study"], row["dataset"], below)
        if not target.exists() or row not in list(read(target)):
            append(target, raw)
            new += 1
    return new


def plain(value: Any) -> Any:
    """Convert an array or a NumPy number for `json.dumps`."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"value must be JSON, an array or a NumPy number, got {type(value)}")


def same(one: Any, other: Any) -> bool:
    """Return whether two values have the same JSON."""
    return json.dumps(one, sort_keys=True, default=plain) == json.dumps(
        other, sort_keys=True, default=plain
    )
