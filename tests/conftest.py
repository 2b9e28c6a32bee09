"""Settings of all tests: strict numerics, two host devices, quick compilation, real data."""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

collect_ignore = ["golden/make_spikingjelly.py"]  # needs PyTorch

jax.config.update("jax_num_cpu_devices", 2)  # for the sharded tests; before any backend starts
jax.config.update("jax_numpy_rank_promotion", "raise")
# The programs of tests run for milliseconds and compile for longer.
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 throughout."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def optimized() -> Iterator[None]:
    """Programs compiled as users compile them."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets, from the environment."""
    folder = os.environ.get("STBP_DATA")
    if not folder:
        pytest.skip("set STBP_DATA to the folder of real data sets to run this test")
    return Path(folder)
