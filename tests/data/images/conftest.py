"""No variable set and no TFDS to import; the folder of real sets."""

import os
import pathlib
import sys

import pytest

REAL = os.environ.get("STBP_DATA")


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch):
    """No variable set and no TFDS to import: each test sets what it needs."""
    monkeypatch.delenv("STBP_DATA", raising=False)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)


@pytest.fixture
def real():
    if not REAL:
        pytest.skip("REAL DATA NOT TESTED: set STBP_DATA to the folder that holds mnist/ and so on")
    return pathlib.Path(REAL)
