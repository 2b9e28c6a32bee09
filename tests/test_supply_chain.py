"""What the code reaches: files and sockets at import, and no code from configuration."""

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import matplotlib
import numpy as np
import pytest

import stbp_jax as sj
from experiments import __main__ as command_line
from experiments.engine import folders, studies

ROOT = Path(sj.__file__).parents[1]
FILES = sorted([*(ROOT / "stbp_jax").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")])

# Imports -----------------------------------------------------------------------------------------

PROBE = """
import os, sys

allowed = [os.path.realpath(path) + os.sep for path in ALLOWED]
found = []

def hook(event, args):
    if event.startswith("socket.") and event not in ("socket.__new__",) or "Popen" in event:
        found.append((event, repr(args)))
    if event == "open" and not isinstance(args[0], int):
        path = os.path.realpath(os.fsdecode(args[0]))
        writes = bool((args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes or not path.startswith(tuple(allowed)):
            found.append((path, args[1], args[2]))

open(os.devnull).close()
sys.addaudithook(hook)
open(os.devnull).close()
assert found, "the probe is blind"
found.clear()
import MODULE
print(*found, sep="\\n")
"""


@pytest.mark.heavy
@pytest.mark.parametrize("module", ["stbp_jax", "experiments.__main__"])
def test_an_import_opens_no_socket_and_no_file_outside_packages(module):
    # JAX looks for accelerators in the tables of the kernel.
    allowed = [sys.prefix, sys.base_prefix, str(ROOT / "stbp_jax"), "/sys", "/proc"]
    if module != "stbp_jax":  # pandas reads time zones, matplotlib the list of fonts that it keeps
        importlib.import_module("matplotlib.font_manager")
        allowed += [str(ROOT / "experiments"), "/usr/share/zoneinfo", matplotlib.get_cachedir()]
    code = PROBE.replace("ALLOWED", repr(allowed)).replace("MODULE", module)
    env = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "nowhere"}
    command = [sys.executable, "-B", "-c", code]  # -B: no bytecode is written
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


# Code from configuration -------------------------------------------------------------------------

# Modules found by a name: each name is of this repository, or one of a list.
BY_NAME = {
    "experiments/engine/studies.py": "studies.NAMES, the folders below experiments/studies",
    "experiments/report/tables.py": "the folder of a study",
    "experiments/benchmarks/examples.py": "files of docs/examples",
    "experiments/benchmarks/cuda_check.py": "a constant",
    "experiments/benchmarks/compiled/cases.py": "one of two constants",
}
NEVER = {"eval", "exec", "__import__", "compile"}


def test_code_is_neither_evaluated_nor_unpickled():
    by_name = set()
    for file in FILES:
        text = file.read_text()
        where = str(file.relative_to(ROOT))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                base = getattr(node, "module", None) or ""
                names = {base, *(alias.name for alias in node.names)}
                banned = ("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml")
                assert not names & set(banned), where
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            if isinstance(called, ast.Name):
                assert called.id not in NEVER, (where, called.id)
            if isinstance(called, ast.Attribute):
                if called.attr in ("import_module", "spec_from_file_location"):
                    by_name.add(where)
                assert called.attr not in ("system", "popen"), where
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                assert (keyword.arg, value) not in {("shell", True), ("allow_pickle", True)}, where
    assert by_name == set(BY_NAME)


CODE = "__import__('os').makedirs('{}')"


@pytest.fixture
def code(tmp_path):
    """A text that makes a folder where it is run as code; none does."""
    yield CODE.format(tmp_path / "ran")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "option", ["--data.name", "--model.layers", "--model.padding", "--variant", "--budget", "study"]
)
def test_options_are_text(option, code, tmp_path, capsys):
    argv = ["run", code] if option == "study" else ["run", "digits", option, code]
    argv += [] if option == "--budget" else ["--budget", "smoke"]
    try:
        status = command_line.main([*argv, "--out", str(tmp_path / "out")])
    except SystemExit as stop:  # of the parser
        status = stop.code
    assert status == 2
    captured = capsys.readouterr()
    assert "makedirs" in captured.err + captured.out  # it is quoted


@pytest.mark.parametrize("place", ["study", "variant", "data", "model"])
def test_a_run_folder_is_text(place, code, tmp_path, capsys):
    job = studies.job("digits", "stbp", "smoke")
    content = json.loads(json.dumps(job._asdict() | {"config": job.config.asdict()}))
    settings = {"data": "name", "model": "layers"}
    if place in settings:
        content["config"][place][settings[place]] = code
    else:
        content[place] = code
    (tmp_path / folders.JOB).write_text(json.dumps(content))
    assert command_line.main(["run", "--resume", str(tmp_path)]) == 2
    assert "makedirs" in capsys.readouterr().err  # it is quoted


def test_a_pickle_in_a_file_of_parameters_is_refused(code, tmp_path):
    class Bomb:
        def __reduce__(self):
            return eval, (code,)

    bomb = np.array([Bomb()], dtype=object)
    net = sj.dense(2, sj.lif())
    params, _ = net.init(jax.random.key(0), (3,))
    path = tmp_path / "params.npz"
    np.savez(path, header=bomb)
    with pytest.raises(ValueError, match="damaged, or not written by save"):
        sj.load(path, net, params)


def test_names_in_a_file_of_parameters_are_compared_and_not_run(code, tmp_path):
    net = sj.dense(2, sj.lif())
    params, _ = net.init(jax.random.key(0), (3,))
    path = tmp_path / "params.npz"
    sj.save(path, net, params)
    with np.load(path) as file:
        members = dict(file)
    header = members.pop("header").tobytes()
    changed = header.replace(b'"hard_reset"', json.dumps(code).encode())
    assert changed != header
    np.savez(path, header=np.frombuffer(changed, np.uint8), **members)
    with pytest.raises(ValueError, match="was saved with network.units.reset = .*makedirs"):
        sj.load(path, net, params)
