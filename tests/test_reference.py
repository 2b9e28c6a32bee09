"""The reference has every public name once, and its docstring has an example that runs."""

import ast
import importlib
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import stbp_jax

ROOT = Path(__file__).parent.parent
# Public modules that `import stbp_jax` does not load.
BEYOND = ("bridges.linen", "bridges.nnx", "neurons.kernels", "testing")

DESCRIBED = re.findall(
    r"^\.\. automodule:: stbp_jax\.(\S+)",
    "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md")),
    re.MULTILINE,
)
OPTIONAL = {"bridges.linen": "flax", "bridges.nnx": "flax", "testing": "chex"}


def public(module):
    """The public names of a module: its `__all__`, or what its file defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    names = []
    for node in ast.parse(Path(module.__file__).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def loaded(name):
    """The public module `stbp_jax.NAME`, without its library if that is missing."""
    try:
        return importlib.import_module(f"stbp_jax.{name}")
    except ImportError:
        assert name in OPTIONAL
        pytest.skip(f"{OPTIONAL[name]} is not installed")


def is_code(thing):
    """Whether an object is a function or class of ours, and no constant or type of functions."""
    return callable(thing) and getattr(thing, "__module__", "").startswith("stbp_jax")


def modules():
    for name in DESCRIBED:
        if name not in OPTIONAL or importlib.util.find_spec(OPTIONAL[name]):
            yield name, importlib.import_module(f"stbp_jax.{name}")


def test_every_public_module_has_a_page():
    flat = [name for name in stbp_jax.__all__ if inspect.ismodule(getattr(stbp_jax, name))]
    assert sorted(DESCRIBED) == sorted([*flat, *BEYOND])


# The objects of a build of the reference alone; nothing is executed and no page is written.
BUILD = """
import io, json, sys
from sphinx.application import Sphinx
warnings = io.StringIO()
settings = {"root_doc": "reference/index", "include_patterns": ["reference/**"],
            "nb_execution_mode": "off"}
app = Sphinx(sys.argv[1], sys.argv[1], sys.argv[2], sys.argv[2], "dummy", settings, None, warnings)
app.build()
objects = app.env.domains["py"].objects
print(json.dumps([[n for n, o in objects.items() if not o.aliased], warnings.getvalue()]))
"""


def test_every_public_name_is_described_once(tmp_path):
    pytest.importorskip("sphinx", reason="the site's packages are missing: pip install '.[docs]'")
    command = [sys.executable, "-c", BUILD, str(ROOT / "docs"), str(tmp_path)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    entries, warnings = json.loads(done.stdout.splitlines()[-1])
    # Links to other parts of the site have no target here.
    own = [line for line in warnings.splitlines() if "duplicate object" in line]
    assert not own
    for name, module in modules():
        missing = [one for one in public(module) if f"stbp_jax.{name}.{one}" not in entries]
        assert not missing, f"{name}: {missing}"
    # One object has one entry, in the module that is its home.
    homes = {}
    for name, module in modules():
        for one in public(module):
            thing = getattr(module, one)
            if is_code(thing):
                homes.setdefault(id(thing), []).append(f"{name}.{one}")
    assert not [names for names in homes.values() if len(names) > 1]
    # The flat names are those of the modules, and have no entries of their own.
    for name in stbp_jax.__all__:
        thing = getattr(stbp_jax, name)
        assert inspect.ismodule(thing) or len(homes[id(thing)]) == 1, name
        assert inspect.ismodule(thing) or f"stbp_jax.{name}" not in entries


def test_the_first_page_lists_the_flat_names():
    page = (ROOT / "docs" / "reference" / "index.md").read_text()
    listed = re.findall(r"{py:obj}`sj\.(\w+) <stbp_jax\.(\w+)\.(\w+)>`", page)
    flat = [name for name in stbp_jax.__all__ if not inspect.ismodule(getattr(stbp_jax, name))]
    assert sorted(name for name, _, _ in listed) == sorted(flat)
    for name, module, inside in listed:
        assert getattr(getattr(stbp_jax, module), inside) is getattr(stbp_jax, name)


def test_every_docstring_has_an_example():
    # Pytest runs the examples.
    without = []
    for name, module in modules():
        for one in public(module):
            thing = getattr(module, one)
            if is_code(thing) and ">>> " not in (thing.__doc__ or ""):
                without.append(f"{name}.{one}")
    assert not without, f"add an example to the docstring of {', '.join(without)}"


@pytest.mark.parametrize("name", stbp_jax.__all__)
def test_the_flat_names_have_examples(name):
    thing = getattr(stbp_jax, name)
    assert inspect.ismodule(thing) or ">>> " in thing.__doc__
