"""Several processes train together: the same code, and the numbers of one process."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.heavy
@pytest.mark.parametrize("count", [2, 4])
def test_processes_equal_one(count):
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.processes", port, str(count), str(index)],
            cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]
    try:
        texts = [process.communicate(timeout=280) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * count, texts[0][1][-3000:]
    found = json.loads(texts[0][0].splitlines()[-1])
    assert found.pop("devices") == found.pop("spread") == 2 * count
    assert found.keys() == {"training", "sweep", "chunks", "epochs"}
    assert max(found.values()) < 1e-6, found
