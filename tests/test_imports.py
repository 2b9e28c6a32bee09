"""Imports point one way, the public names are there, and importing the library costs little."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import stbp_jax

PACKAGE = Path(stbp_jax.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

LEVELS = {
    "core": 0,
    "data": 0,
    "arguments": 0,
    "calls": 0,
    "closures": 0,
    "meshes": 0,
    "files": 0,
    "reprs": 0,
    "spikes": 0,
    "surrogates": 1,
    "encoders": 1,
    "readouts": 1,
    "events": 1,
    "augment": 1,
    "losses": 1,
    "metrics": 1,
    "initializers": 1,
    "layers": 1,
    "streaming": 1,
    "neurons": 2,
    "training": 2,
    "presets": 2,
    "bridges": 2,
    "testing": 2,
    "sweeps": 3,
    "export": 3,
    "plots": 3,
}
# Packages on one level do not import each other, with these exceptions; none imports back.
NEIGHBORS = {
    "core": {"arguments", "meshes", "reprs"},
    "meshes": set(),
    "reprs": set(),
    "arguments": set(),
    "files": set(),
    "calls": {"arguments", "core", "meshes"},
    "closures": {"core"},
    "spikes": {"closures", "core"},
    "layers": {"initializers", "metrics"},
    "presets": {"neurons"},
}
# These use each other through the types of core alone.
STRANGERS = {
    "layers": {"neurons"},
    "training": {"layers", "neurons", "initializers"},
}


def module_of(file):
    """`stbp_jax/neurons/kernels/tpu.py` is `("stbp_jax", "neurons", "kernels", "tpu")`."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(file):
    """Full dotted names of all that a file imports, wherever in it; `from a import b` is `a.b`."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module.split(".") if node.module else []
            if node.level:
                package = module_of(file)
                if file.name != "__init__.py":
                    package = package[:-1]
                base = [*package[: len(package) - node.level + 1], *base]
            names |= {".".join([*base, alias.name]) for alias in node.names}
    return names


def part(name):
    """The package or module of `stbp_jax` that holds a dotted name; None for other packages."""
    parts = name.split(".")
    if parts[0] != "stbp_jax":
        return None
    return parts[1] if len(parts) > 1 else "stbp_jax"


USES = {}  # part of the package -> the parts that it imports
for _file in FILES:
    _part = part(".".join(module_of(_file)))
    _used = {part(name) for name in imports(_file)} - {None, _part}
    USES[_part] = USES.get(_part, set()) | _used


def test_imports_are_read():
    # The reader of imports itself: all forms that occur, absolute and relative.
    assert {"core", "arguments", "initializers"} <= USES["layers"]
    assert {"surrogates", "initializers"} <= USES["neurons"]
    assert {"arguments", "core", "metrics"} <= USES["training"]
    assert "stbp_jax.data.images.load" in imports(PACKAGE / "data" / "__init__.py")
    assert "stbp_jax.data.images.tfds" in imports(PACKAGE / "data" / "images" / "named_sets.py")


def test_every_part_has_a_level():
    assert set(USES) - {"stbp_jax"} <= set(LEVELS)


@pytest.mark.parametrize("name", sorted(set(USES) & set(LEVELS)))
def test_imports_go_down(name):
    used = USES[name]
    assert "stbp_jax" not in used, "import from the module that defines the name"
    neighbors = NEIGHBORS.get(name, set())
    for other in used:
        assert other in LEVELS, f"{name} must not import {other}"
        lower = LEVELS[other] < LEVELS[name]
        assert lower or other in neighbors, f"{name} must not import {other}"
    assert not used & STRANGERS.get(name, set())


def test_data_imports_nothing_of_ours():
    assert USES["data"] == set()
    for file in (PACKAGE / "data").rglob("*.py"):
        packages = {name.split(".")[0] for name in imports(file)}
        assert not packages & {"jax", "jaxlib", "flax", "optax", "chex", "tonic"}


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_no_private_jax_and_nothing_outside(file):
    names = imports(file)
    assert not [name for name in names if name.startswith(("jax._src", "jaxlib"))]
    assert not {name.split(".")[0] for name in names} & {"experiments", "tests"}
    assert "jax._src" not in file.read_text()
    packages = {name.split(".")[0] for name in names}
    for optional, parts in {"flax": "bridges", "chex": "testing"}.items():
        assert optional not in packages or part(".".join(module_of(file))) == parts


# Public names -----------------------------------------------------------------------------------

WANTED = """
Neuron Layer make_neuron scan
Surrogate rectangular polynomial sigmoid gaussian arctan superspike matched
lif alif current_based recurrent leaky_integrator learnable_decay
hard_reset soft_reset exponential_reset detach_reset detach_time
Synapse dense conv avg_pool max_pool flatten dropout serial residual concatenate
parallel stepwise chunked truncated
apply apply_with_stats record
bernoulli constant latency rate peak_membrane first_spike half_squared_error cross_entropy
Pipeline TrainConfig TrainState make_train train_epochs evaluate save load grid sweep summarize
"""


def test_wanted_names_are_public():
    public = {name for name in stbp_jax.__all__ if not inspect.ismodule(getattr(stbp_jax, name))}
    assert public == set(WANTED.split())
    assert len(public) <= 60
    assert len(set(stbp_jax.__all__)) == len(stbp_jax.__all__)


def test_version_is_that_of_a_release():
    assert re.fullmatch(r"\d+\.\d+\.\d+", stbp_jax.__version__)


@pytest.mark.parametrize("name", stbp_jax.__all__)
def test_public_name_has_a_docstring(name):
    thing = getattr(stbp_jax, name)
    doc = inspect.getdoc(thing)
    assert doc
    # The docstrings that NamedTuple and dataclass generate say nothing.
    assert not doc.startswith((f"{name}(", "Built-in"))
    assert doc.splitlines()[0].rstrip().endswith((".", ":")), "the first line is a sentence"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_every_module_opens_with_what_it_is(file):
    assert ast.get_docstring(ast.parse(file.read_text()))


# What an import does ----------------------------------------------------------------------------


def in_a_fresh_interpreter(code, **environment):
    env = os.environ | {"PYTHONPATH": str(PACKAGE.parent)} | environment
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_starts_no_backend_and_stays_light():
    # No platform of this name exists: starting any backend fails, as the last lines make sure.
    loaded = in_a_fresh_interpreter(
        """
import sys
import stbp_jax
print(*sys.modules)
import jax
try:
    jax.devices()
except RuntimeError:
    pass
else:
    raise SystemExit("the probe is blind: a backend started")
""",
        JAX_PLATFORMS="nowhere",
    )
    heavy = ("matplotlib", "sklearn", "tensorflow", "tensorflow_datasets", "PIL", "flax", "orbax")
    assert "stbp_jax.training" in loaded
    assert not [m for m in loaded if m.startswith(("stbp_jax.bridges", "stbp_jax.testing"))]
    for name in (*heavy, "h5py", "tonic", "chex"):
        assert not [m for m in loaded if m == name or m.startswith(name + ".")], name


def test_a_bridge_loads_its_own_library_alone():
    loaded = in_a_fresh_interpreter("""
import sys
from stbp_jax.bridges import linen
print(*sys.modules)
""")
    assert "flax.linen" in loaded
    for name in ("flax.nnx", "orbax", "stbp_jax.bridges.nnx", "stbp_jax.testing"):
        assert name not in loaded, name


def test_a_missing_library_is_named():
    said = in_a_fresh_interpreter("""
import importlib, sys
sys.modules["flax"] = sys.modules["chex"] = None
for module in ("bridges.linen", "bridges.nnx", "testing"):
    try:
        importlib.import_module("stbp_jax." + module)
    except ImportError as error:
        print(error)
""")
    text = " ".join(said)
    assert text.count("pip install flax") == 2
    assert text.count("pip install chex") == 1


def test_advice_to_install_is_true_before_and_after_a_release():
    # `pip install stbp_jax[...]` would fail, or fetch another package, before the first release.
    for file in (*FILES, *sorted((PACKAGE.parent / "experiments").rglob("*.py"))):
        assert "pip install stbp_jax" not in file.read_text(), file


def test_data_imports_without_jax():
    # `stbp_jax` imports JAX; `data` must not.
    loaded = in_a_fresh_interpreter(
        f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("apart", {str(PACKAGE / "data" / "__init__.py")!r})
sys.modules["apart"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(*sys.modules)
"""
    )
    assert "apart.images.named_sets" in loaded
    for name in ("jax", "stbp_jax", "sklearn", "PIL", "h5py", "tonic", "tensorflow_datasets"):
        assert name not in loaded
