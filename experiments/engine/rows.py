"""Result rows: one JSON object on each line, written when a run ends, and never edited.

`upgrade` converts rows of earlier layouts, so that all other code handles one layout.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from experiments.engine.config import Config, UsageError

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
    """Yield the rows of a file as they are; a missing file has none."""
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.strip():
            yield json.loads(line)


def write_lines(path: Path, lines: Iterable[Row]) -> None:
    """Replace the rows of a file; an interruption leaves the old file."""
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(line, default=plain) + "\n" for line in lines))
    partial.replace(path)


def append(path: Path, row: Row) -> None:
    """Append a row to a file and flush it to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row, default=plain) + "\n")
        file.flush()
        os.fsync(file.fileno())


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
    try:
        lines = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise UsageError(f"file must be a file of result rows, got {file}: {error}") from None
    new = 0
    for raw in lines:
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
