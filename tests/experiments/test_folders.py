"""A run folder belongs to one job and one process."""

import concurrent.futures
import json
import threading

import pytest

from experiments.engine import folders
from experiments.engine.config import Config, UsageError
from experiments.engine.studies import Job

JOB = Job("digits", "stbp", "quick", [0], Config().but(epochs=3), None)


def in_parallel(function, calls=8):
    """The result or error of every call; all calls start together."""
    barrier = threading.Barrier(calls)

    def one(n):
        barrier.wait()
        try:
            return function(n)
        except UsageError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(calls) as pool:
        return list(pool.map(one, range(calls)))


def test_runs_started_together_get_folders_of_their_own(tmp_path):
    found = in_parallel(lambda n: folders.new(tmp_path / "runs", "digits"))
    assert len(set(found)) == len(found)
    assert all(folder.is_dir() for folder in found)


def test_one_of_several_runs_claims_a_folder(tmp_path):
    ended = threading.Event()

    def start(n):
        with folders.claimed(tmp_path / "out", JOB, {"n": n}):
            ended.wait(20)
            return n

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(start, 9)
        while not (tmp_path / "out" / "config.json").exists():
            pass
        assert all("in use by another process" in str(error) for error in in_parallel(start))
        ended.set()
        assert first.result() == 9
    assert json.loads((tmp_path / "out" / "config.json").read_text())["source"] == {"n": 9}
    assert folders.read_job(tmp_path / "out") == JOB


def test_a_folder_is_taken_again_by_its_own_job_until_it_ends(tmp_path):
    with folders.claimed(tmp_path, JOB, {}):
        pass
    with folders.claimed(tmp_path, JOB, {}):
        pass
    other = JOB._replace(config=JOB.config.but(epochs=4))
    named = r"another run.*config.train.epochs is 3 there and 4 here"
    with pytest.raises(UsageError, match=named), folders.claimed(tmp_path, other, {}):
        pass
    assert folders.unfinished(tmp_path) == tmp_path
    (tmp_path / "row.jsonl").write_text("{}\n")
    assert folders.unfinished(tmp_path) != tmp_path
    assert folders.ended(tmp_path) == [tmp_path]
    with pytest.raises(UsageError, match="has ended"), folders.claimed(tmp_path, JOB, {}):
        pass


def test_out_must_be_writable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="out must be a folder that can be written to"):
        folders.writable(tmp_path / "file" / "run")
    with pytest.raises(UsageError, match="must be the folder of a run"):
        folders.read_job(tmp_path)
