"""Rows of every older layout become rows of the current one, and merge once."""

import errno
import json
import os
import subprocess
import sys

import pytest

from experiments.engine import provenance, rows, studies
from experiments.engine.config import Config, UsageError

FIRST = {  # a row of the first layout
    "study": "mnist_mlp",
    "variant": "twin",
    "budget": "cpu",
    "dataset": "mnist",
    "seed": 0,
    "hparams": {},
    "settings": {
        "data": "mnist", "hidden": "800", "classes": 10, "num_steps": 5, "epochs": 2,
        "alpha": 34.0, "train_limit": 100, "fwhms": "1,2",
    },
}  # fmt: skip


def test_an_old_row_is_upgraded():
    row = rows.upgrade(FIRST)
    assert (row["variant"], row["budget"]) == ("ann", "quick")
    assert "settings" not in row
    wanted = Config().but(
        name="mnist", layers="800-10", num_steps=5, epochs=2, elastic=34.0, num_train=100
    )
    assert row["config"] == wanted.asdict()
    assert rows.upgrade(row) == row
    assert FIRST["variant"] == "twin"  # the row itself is as it was


def test_a_field_that_is_newer_than_a_row_has_its_default():
    config = Config().asdict()
    del config["train"]["chunk"]
    assert rows.upgrade({"config": config})["config"] == Config().asdict()


def test_a_row_without_settings_has_no_config():
    row = {name: value for name, value in FIRST.items() if name != "settings"}
    assert rows.upgrade(row)["config"] is None


def test_merge_appends_each_row_once(tmp_path):
    file, below = tmp_path / "rows.jsonl", tmp_path / "studies"
    (below / "mnist_mlp").mkdir(parents=True)
    (below / "mnist_mlp" / "study.py").write_text("")
    rows.append(file, FIRST)
    rows.append(file, FIRST | {"seed": 1})
    assert rows.merge(file, below) == 2
    assert rows.merge(file, below) == 0
    written = rows.home("mnist_mlp", "mnist", below).read_text().splitlines()
    assert json.loads(written[0]) == FIRST  # rows are never edited


def test_a_torn_last_line_is_dropped_and_reported(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows.append(file, {"a": 1})
    whole = file.read_bytes()
    for torn in (b'{"a', b'{"a": 2', b"\xff", b"2"):
        file.write_bytes(whole + torn)
        with pytest.warns(UserWarning, match="last line is incomplete"):
            assert list(rows.read_lines(file)) == [{"a": 1}]
        rows.append(file, {"a": 3})
        assert list(rows.read_lines(file)) == [{"a": 1}, {"a": 3}]
    file.write_bytes(whole + b'{"a": 4}')  # only the line break is missing
    rows.append(file, {"a": 5})
    assert list(rows.read_lines(file)) == [{"a": 1}, {"a": 4}, {"a": 5}]
    file.write_bytes(b"damage\n" + whole)
    with pytest.raises(UsageError, match="line 1 of .* must be JSON"):
        list(rows.read_lines(file))


APPENDING = """
import sys
from pathlib import Path
from experiments.engine import rows
for n in range(100):
    rows.append(Path(sys.argv[1]), {"process": int(sys.argv[2]), "n": n, "text": "x" * 9000})
"""


@pytest.mark.heavy
def test_processes_append_whole_rows_to_one_file(tmp_path):
    file = tmp_path / "rows.jsonl"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDING, str(file), str(process)], cwd=provenance.ROOT
        )
        for process in range(3)
    ]
    assert [process.wait(300) for process in started] == [0, 0, 0]
    found = [(row["process"], row["n"]) for row in rows.read_lines(file)]
    assert sorted(found) == [(process, n) for process in range(3) for n in range(100)]


def test_a_full_disk_keeps_the_former_rows(tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    rows.append(file, {"a": 1})
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left"):
        rows.append(file, {"a": 2})
    assert list(rows.read_lines(file)) == [{"a": 1}]


def _full(file):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("change", [{"budget": "smoke"}, {"study": "unknown"}])
def test_merge_refuses(change, tmp_path):
    rows.append(tmp_path / "rows.jsonl", FIRST | change)
    with pytest.raises(UsageError, match="must belong to a study"):
        rows.merge(tmp_path / "rows.jsonl")
    with pytest.raises(UsageError, match="must be a file of result rows"):
        rows.merge(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize("name", studies.NAMES)
def test_recorded_rows_meet_their_plans(name):
    """A change of settings loses no committed row, except rows of replaced plans."""
    found = rows.of_study(name)
    for variant in studies.load(name).variants:
        for budget in ("quick", "long", "full"):
            job = studies.job(name, variant, budget)
            have = {
                row["seed"]
                for row in found
                if (row["variant"], row["budget"]) == (variant, budget) and row["config"]
            }
            assert job is not None or not have
            assert not have or set(studies.recorded(job, found)) == have & set(job.seeds)
