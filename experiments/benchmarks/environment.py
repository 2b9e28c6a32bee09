"""Environments of the peers, made once in `.venv-peers` of the checkout, and their wheels.

Versions are pinned. PyTorch is installed first and alone, and some packages without their
dependencies: they require torchvision, whose newest version replaces torch by a CUDA build.

`python -m experiments.benchmarks.environment` fetches the remaining wheels into `.wheels`, for a
machine that has CUDA, JAX, Flax and PyTorch but no network.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from experiments.benchmarks import worker

HOME = worker.ROOT / ".venv-peers"
WHEELS = worker.ROOT / ".wheels"
LARGEST = 60 * 2**20  # bytes of all wheels, so that they can be copied to another machine

# One list of arguments for each call of pip.
REQUIREMENTS: dict[str, list[list[str]]] = {
    "peers_torch": [
        ["torch==2.13.0"],
        ["numpy==2.4.6", "loguru==0.7.3", "h5py==3.16.0"],
        ["--no-deps", "spikingjelly==2.0.0", "snntorch==1.0.0", "norse==1.1.0"],
        ["--no-deps", "nir==1.0.8", "nirtorch==2.6"],  # norse imports them
    ],
    "peers_spyx": [["spyx==1.0.0", "jax==0.10.2", "jaxlib==0.10.2", "flax==0.12.8"]],
    "peers_jaxpike": [["jaxpike==0.1.4", "jax==0.10.2", "jaxlib==0.10.2", "equinox==0.13.8"]],
    "peers_braintrace": [
        [  # the newest for Python 3.11
            *["braintrace==0.2.6", "brainstate==0.5.4", "brainpy==2.8.2", "brainpy-state==0.1.0"],
            *["braintools==0.3.0", "brainevent==0.2.1", "saiunit==0.5.2"],
            *["jax==0.10.2", "jaxlib==0.10.2", "optax==0.2.8"],
        ],
    ],
}


def python(module: str) -> Path:
    """The interpreter of a worker for peers; changed pins rebuild its environment."""
    steps = REQUIREMENTS[module]
    folder = HOME / module
    interpreter = folder / "bin" / "python"
    ready = folder / f".ready-{hashlib.sha256(repr(steps).encode()).hexdigest()[:12]}"
    if not ready.exists():
        print(f"installing into {folder}, a minute or two on the first call", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        for step in steps:
            command = [str(interpreter), "-m", "pip", "install", "-qq", *step]
            subprocess.run([*command, "--disable-pip-version-check"], check=True)
        ready.touch()
    return interpreter


# For the Python of the CUDA machine.
PLATFORM = ["--python-version", "3.12", "--implementation", "cp"]
PLATFORM += [f"--platform=manylinux{tag}_x86_64" for tag in ("_2_28", "_2_27", "_2_17", "2014")]
CARRIED: dict[str, list[str]] = {
    "download": [
        *["--only-binary=:all:", *PLATFORM],
        *["spikingjelly==2.0.0", "loguru==0.7.3", "snntorch==1.0.0", "nir==1.0.8", "nirtorch==2.6"],
        *["spyx==1.0.0", "grain==0.2.18", "array_record==0.8.6", "portpicker==1.6.0"],
        *["jaxpike==0.1.4", "h5py==3.16.0"],  # nir imports h5py
        *["tyro==1.0.17", "docstring_parser==0.18.0", "typeguard==4.6.1"],  # for `experiments`
        *["jaxtyping==0.3.11", "wadler_lindig==0.1.8"],
    ],
    "wheel": ["norse==1.1.0"],  # published only as source, pure Python
}


def fetch_wheels(folder: Path = WHEELS) -> list[Path]:
    """Download or build the wheels for a machine without a network.

    Args:
      folder: folder of the wheels; older wheels in it are deleted.

    Returns:
      Paths of the wheels.

    Raises:
      ValueError: a built wheel is not pure Python, or the wheels are too large in total.
    """
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq"]
    for verb, what in CARRIED.items():
        into = "--wheel-dir" if verb == "wheel" else "--dest"
        subprocess.run([*pip, verb, "--no-deps", into, str(folder), *what], check=True)
    found = sorted(folder.glob("*.whl"))
    names = [requirement.partition("=")[0] for requirement in CARRIED["wheel"]]
    built = [wheel for wheel in found if wheel.name.partition("-")[0] in names]
    if not all(wheel.name.endswith("-none-any.whl") for wheel in built):
        raise ValueError(f"wheels must be pure Python, got {[wheel.name for wheel in built]}")
    size = sum(wheel.stat().st_size for wheel in found)
    if size > LARGEST:
        raise ValueError(
            f"wheels must have at most {LARGEST / 2**20:.0f} MiB in total, got "
            f"{size / 2**20:.0f} MiB"
        )
    return found


def install_carried(folder: Path, wheels: Path = WHEELS) -> None:
    """Install the wheels for the workers, without a network.

    Args:
      folder: target folder; it is added to the `PYTHONPATH` of the workers.
      wheels: folder of the wheels. If it holds none, or they do not fit this Python, only peers
        that are installed already can run.
    """
    found = sorted(map(str, wheels.glob("*.whl")))
    if not found:
        print(f"no wheels in {wheels}: only installed peers can run", file=sys.stderr)
        return
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    offline = ["--no-index", "--no-deps", "--no-cache-dir", "--no-compile", "--upgrade"]
    pure = [wheel for wheel in found if wheel.endswith("-none-any.whl")]
    for group in (pure, [wheel for wheel in found if wheel not in pure]):
        command = [*pip, *offline, "--target", str(folder), *group]
        if group and subprocess.run(command).returncode:
            print(f"failed: these do not install here: {group}", file=sys.stderr)
    worker.ENVIRONMENT["PYTHONPATH"] = os.pathsep.join((str(worker.ROOT), str(folder)))


if __name__ == "__main__":
    for wheel in fetch_wheels():
        print(f"{wheel.stat().st_size / 2**20:6.2f} MiB  {wheel.relative_to(worker.ROOT)}")
