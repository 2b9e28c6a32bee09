"""The programs of `docs/examples` learn what they assert, and equal their twins by hand."""

import jax
import pytest

from experiments.benchmarks import examples

LIGHT = {"constraints", "reinforce"}  # twins that are compared without `heavy`
QUICK = {"constraints", "packed", "regression", "generator", "reinforce"}  # as programs


def heavy_but(light):
    return [n if n in light else pytest.param(n, marks=pytest.mark.heavy) for n in examples.NAMES]


@pytest.mark.parametrize("name", heavy_but(QUICK))
def test_a_program_learns(name):
    file = examples.file_of(examples.LIBRARY, name)
    assert examples.file_of(examples.BY_HAND, name).exists()
    assert len(file.read_text().splitlines()) <= 60
    examples.load(file).main()


@pytest.mark.parametrize("name", heavy_but(LIGHT))
def test_a_twin_by_hand_computes_the_same(name):
    found = []
    for implementation in (examples.LIBRARY, examples.BY_HAND):
        program, args = examples.arguments(implementation, name)
        with jax.numpy_rank_promotion("allow"):  # as users write biases
            found.append(examples.results(program.update, args))
    assert found[0]
    assert not examples.differing(*found)


def test_differing_results_are_found():
    wanted = {"result 0": [1.0, 2.0], "result 1": [3.0]}
    assert not examples.differing({**wanted, "result 1": [3.0001]}, wanted)
    assert examples.differing({**wanted, "result 1": [3.1]}, wanted) == ["result 1"]
    assert examples.differing({"result 0": [1.0, 2.0]}, wanted) == ["result 1"]


def test_the_page_shows_its_rows():
    assert examples.main(["--check"]) == 0
