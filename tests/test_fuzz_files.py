"""A few hundred mutated files of each kind; `tests.fuzz_files` runs many more."""

import pytest

from tests import fuzz_files
from tests.fuzz_parsers import PARSERS


@pytest.mark.parametrize("name", [name for name in PARSERS if name != "shd"])
def test_mutated_files_are_read_or_refused(tmp_path, name):
    if "shd" in name:
        pytest.importorskip("h5py")
    few, many = 4, 60
    counts = fuzz_files.fuzz(
        [PARSERS[name]], tmp_path, executions=few if "shd" in name else many, seed=1
    )
    assert not (tmp_path / "findings").exists(), (tmp_path / "findings").read_text()
    executions, accepted, refused = counts[0].tolist()
    assert executions == accepted + refused
    assert refused > executions // 4
