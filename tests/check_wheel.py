"""Build wheel and sdist, and run the first examples from the wheel in an empty environment.

    python3.13 tests/check_wheel.py

The environment has the Python of this program. At first it holds the wheel and its requirements;
then scikit-learn joins for the README's example, as the library advises, and Matplotlib for the
pages of the site. `make wheel-check` runs this.
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
PAGES = ("index.md", "start/first_network.md")
IN_SDIST = ("stbp_jax/py.typed", "tests/conftest.py", "README.md", "CHANGELOG.md", "LICENSE")
INSTALLED = """
import pathlib, sys, stbp_jax
assert pathlib.Path(stbp_jax.__file__).is_relative_to(sys.prefix), stbp_jax.__file__
try:
    stbp_jax.data.load("digits")
except ImportError as error:
    assert str(error).endswith("pip install scikit-learn"), error
else:
    raise SystemExit("the environment is not empty: it has scikit-learn")
"""


def run(*command, **options):
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    env |= {"MPLBACKEND": "agg", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([str(word) for word in command], check=True, env=env, **options)


def environment(folder):
    run(sys.executable, "-m", "venv", folder)
    return folder / "bin" / "python"


def build(folder):
    """Build the sdist, and the wheel from it; return the wheel."""
    python = environment(folder / "build")
    run(python, "-m", "pip", "install", "--quiet", "build")
    for old in DIST.glob("stbp_jax-*"):
        old.unlink()
    run(python, "-m", "build", "--outdir", DIST, ROOT, stdout=subprocess.DEVNULL)
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    inside = set(zipfile.ZipFile(wheel).namelist())
    packages = {name.partition("/")[0] for name in inside}
    assert packages == {"stbp_jax", wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}
    assert "stbp_jax/py.typed" in inside
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names.issuperset(IN_SDIST), set(IN_SDIST) - names
    return wheel


def readme_example():
    return re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]


def cells(page):
    found = re.findall(r"```\{code-cell\}\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    return "\n".join(re.sub(r"\A---\n.*?\n---\n", "", cell, flags=re.DOTALL) for cell in found)


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        wheel = build(folder)
        python = environment(folder / "empty")
        run(python, "-m", "pip", "install", "--quiet", wheel)
        run(python, "-c", INSTALLED, cwd=folder)
        run(python, "-m", "pip", "install", "--quiet", "scikit-learn")
        print(f"README.md, {wheel.name}, Python {sys.version.split()[0]}", flush=True)
        run(python, "-c", readme_example(), cwd=folder)
        run(python, "-m", "pip", "install", "--quiet", "matplotlib")
        for page in PAGES:
            print(f"docs/{page}", flush=True)
            run(python, "-c", cells(page), cwd=folder)


if __name__ == "__main__":
    main()
