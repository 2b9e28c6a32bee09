"""What all tests share: strict numerics, two host devices, quick compilation, real data."""

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

# The trials run for minutes, and one starts another process at its import; the others need PyTorch.
collect_ignore = ["trials", "golden/make_peers.py", "golden/make_spikingjelly.py"]

# All before the first backend starts. XLA's older code generator compiles in a third of the time
# of the one that users get, which `make test-all` runs; JAX 0.11 has it no more.
if jax.__version_info__ < (0, 11):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
jax.config.update("jax_num_cpu_devices", 2)  # for the sharded tests
jax.config.update("jax_numpy_rank_promotion", "raise")
# The programs of tests run for milliseconds and compile for longer.
jax.config.update("jax_disable_most_optimizations", True)
# Programs of an earlier run, and of the other worker, are read instead of compiled.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    cache = Path(__file__).parents[1] / ".cache" / "jax"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--typed", action="store_true", help="check all annotations at run time")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--typed"):
        from tests import typed

        typed.install()


@pytest.fixture(scope="module", autouse=True)
def _released() -> Iterator[None]:
    """Compiled programs go with their module, and glibc gives their memory back."""
    yield
    jax.clear_caches()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


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
