"""Networks and training on meshes equal those on one device, and gather no batch."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from stbp_jax import meshes
from tests.mesh_program import B, T

MODES = ("auto", "explicit", "shard_map")
LIGHT = ("dense",)
HEAVY = ("adaptive", "chunked", "truncated", "images", "reference", "combined", "training")
CASES = [(8, name) for name in LIGHT] + [
    pytest.param(devices, name, marks=pytest.mark.heavy)
    for devices in (8, 1, 2)
    for name in (LIGHT if devices < 8 else ()) + HEAVY
]
RUNS = [case for case in CASES if "training" in (case.values if hasattr(case, "values") else ())]
NETWORKS = [case for case in CASES if case not in RUNS]


@functools.cache
def report(devices, names):
    """Run the program once for all tests of a mesh's size."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.mesh_program", str(devices), *names],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def found_for(devices, name):
    return report(devices, LIGHT if name in LIGHT else HEAVY)[name]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("devices", "network"), NETWORKS)
def test_a_network_equals_that_on_one_device(devices, network, mode):
    assert found_for(devices, network)[mode]["difference"] < 1e-5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("devices", "network"), NETWORKS)
def test_no_batch_is_gathered(devices, network, mode):
    found = found_for(devices, network)[mode]["collectives"]
    if (network, mode) == ("reference", "auto"):  # the event-driven product scans over examples
        found = {kind: sizes for kind, sizes in found.items() if kind != "all-gather"}
    if devices > 1:
        assert set(found) == {"all-reduce"}
        # Gradients and sums, no sequences; a product in `conv` sums its gradients after the
        # reduction, one for each step.
        assert max(found["all-reduce"]) < (8 if network == "combined" else 4) * T * B
    if mode == "shard_map" and devices > 1:
        assert len(found["all-reduce"]) <= 2  # no sum inside a loop over steps


@pytest.mark.parametrize(("devices", "name"), RUNS)
def test_training_on_sharded_sets_and_of_sharded_seeds(devices, name):
    found = found_for(devices, name)
    assert found["explicit"]["difference"] < 1e-5
    assert found["shard_map"]["difference"] < 1e-5
    # The shuffle moves the indices and the images of a batch, never its spikes.
    collectives = found["explicit"]["collectives"]
    assert max(collectives.get("all-gather", [0])) <= 16
    assert max(collectives.get("all-reduce", [0])) <= 16 * 4 * 4


def test_without_a_mesh_nothing_changes():
    carry = {"a": jnp.zeros(3)}
    assert meshes.settle(lambda c: c, carry) is carry
    (same,) = meshes.vary_alike(carry)
    assert same is carry
    assert meshes.placement(carry["a"]) is None
