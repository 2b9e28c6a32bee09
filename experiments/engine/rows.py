"""Result rows: one JSON object a line, written as soon as a run ends and never edited.

`upgrade` reads the rows of every earlier layout; all code sees the present one.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from experiments.engine.config import Config, UsageError

Row = dict[str, Any]

STUDIES = Path(__file__).parents[1] / "studies"

# Names of the first layout, and what they are called now.
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
# Values that a setting had before it was one.
BEFORE = {"share": 1.0}


def upgrade(row: Row) -> Row:
    """A row of any layout in the present one.

    The first layout had flat `settings` in place of the nested `config`; rows that are older still
    have neither, and get `config` None. Settings of a sweep's points are gone: `hparams` has them.
    """
    row = row | {
        name: names.get(row[name], row[name]) for name, names in RENAMED.items() if name in row
    }
    if row.get("config"):  # a field that is newer than the row had its default
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
    """A stream whose matmul was called its product."""
    name = stream["product"]
    rest = {key: value for key, value in stream.items() if key != "product"}
    return {"matmul": MATMULS.get(name, name)} | rest


def read(path: Path) -> Iterator[Row]:
    """The upgraded rows of a file, in order."""
    return map(upgrade, read_lines(path))


def of_study(name: str, below: Path = STUDIES) -> list[Row]:
    """All recorded rows of a study, oldest first within a file."""
    files = sorted((below / name / "results").glob("*.jsonl"))
    return [row for file in files for row in read(file)]


def home(study: str, data: str, below: Path = STUDIES) -> Path:
    """The file that records a study's rows on a data set."""
    return below / study / "results" / f"{data}.jsonl"


def read_lines(path: Path) -> Iterator[Row]:
    """The lines of a file as they are; none where there is no file."""
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.strip():
            yield json.loads(line)


def write_lines(path: Path, lines: Iterable[Row]) -> None:
    """The lines in place of a file's, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(line, default=plain) + "\n" for line in lines))
    partial.replace(path)


def append(path: Path, row: Row) -> None:
    """Adds a row on a line of its own, flushed to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row, default=plain) + "\n")
        file.flush()
        os.fsync(file.fileno())


def merge(file: Path, below: Path = STUDIES) -> int:
    """Appends a file's rows to those of their studies, each row once; returns how many were new.

    Raises:
      UsageError: the file cannot be read, or holds smoke rows or rows of an unknown study.
    """
    try:
        lines = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise UsageError(f"merge takes a file of rows: {error}") from None
    new = 0
    for raw in lines:
        row = upgrade(raw)
        if row["budget"] == "smoke" or not (below / row["study"] / "study.py").exists():
            raise UsageError(
                f"merge takes rows of studies, and no smoke; {file} has {row['study']} at budget "
                f"{row['budget']}"
            )
        target = home(row["study"], row["dataset"], below)
        if not target.exists() or row not in list(read(target)):
            append(target, raw)
            new += 1
    return new


def plain(value: Any) -> Any:
    """What JSON can hold of an array or a number of NumPy's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"no JSON for {type(value)}")


def same(one: Any, other: Any) -> bool:
    """Whether two values look the same in a row."""
    return json.dumps(one, sort_keys=True, default=plain) == json.dumps(
        other, sort_keys=True, default=plain
    )
