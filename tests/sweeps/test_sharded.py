"""Sharded points and keys stay sharded: each device trains its own runs, without communication."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = [
    "brief",
    pytest.param("explicit", marks=pytest.mark.heavy),
    pytest.param("auto", marks=pytest.mark.heavy),
    pytest.param("explicit in its context", marks=pytest.mark.heavy),
    pytest.param("sixty-four", marks=pytest.mark.heavy),
]


@pytest.mark.parametrize("name", CASES)
def test_sharded_points_stay_sharded(name):
    run = subprocess.run(
        [sys.executable, "-m", "tests.sharded_sweep", name],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])[name]
    assert all(found["spread"].values()), found
    assert max(found["differences"].values()) < (1e-9 if name == "sixty-four" else 1e-6), found
    assert found["collectives"] == []
