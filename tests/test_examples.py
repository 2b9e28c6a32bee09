"""Every program of `docs/examples` runs, learns what it asserts, and equals its twin by hand."""

import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "examples"
PROGRAMS = sorted(FOLDER.glob("[a-z]*.py"))


def loaded(file):
    spec = importlib.util.spec_from_file_location(f"examples_{file.parent.name}_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.stem)
def test_a_program_learns(file):
    assert len(file.read_text().splitlines()) <= 60
    loaded(file).main()


def test_every_program_has_a_twin_by_hand():
    twins = sorted((FOLDER / "by_hand").glob("*.py"))
    assert [file.name for file in twins] == [file.name for file in PROGRAMS]
