"""The peers' environments, made once below `.venv-peers` in the checkout; and their wheels.

Decides the pinned versions. PyTorch comes first and alone, and packages that ask for more than they
use come without their dependencies: some ask for torchvision, whose newest version replaces torch
by a CUDA build. Packages come from wherever pip is configured to look.

`python -m experiments.benchmarks.environment` fetches what a machine with CUDA, JAX, Flax and
PyTorch, but without a network, lacks besides. Those wheels are carried there in `.wheels`.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from experiments.benchmarks import worker

HOME = worker.ROOT / ".venv-peers"
WHEELS = worker.ROOT / ".wheels"
LARGEST = 60 * 2**20  # bytes of all wheels: what they travel with has a limit

# One list of arguments for each call of pip.
REQUIREMENTS: dict[str, list[list[str]]] = {
    "peers_torch": [
        ["torch==2.13.0"],
        ["numpy==2.4.6", "loguru==0.7.3", "h5py==3.16.0"],
        ["--no-deps", "spikingjelly==2.0.0", "snntorch==1.0.0", "norse==1.1.0"],
        ["--no-deps", "nir==1.0.8", "nirtorch==2.6"],  # norse imports them
    ],
    "peers_spyx": [["spyx==1.0.0", "jax==0.10.2", "jaxlib==0.10.2", "flax==0.12.8"]],
}


def python(module: str) -> Path:
    """The interpreter for a peers' worker; its environment is made anew when the pins changed."""
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


# For the device machine's Python, which is not this one.
PLATFORM = ["--python-version", "3.12", "--implementation", "cp"]
PLATFORM += [f"--platform=manylinux{tag}_x86_64" for tag in ("_2_28", "_2_27", "_2_17", "2014")]
CARRIED: dict[str, list[str]] = {
    "download": [
        *["--only-binary=:all:", *PLATFORM],
        *["spikingjelly==2.0.0", "loguru==0.7.3", "snntorch==1.0.0", "nir==1.0.8", "nirtorch==2.6"],
        *["spyx==1.0.0", "grain==0.2.18", "array_record==0.8.6"],
    ],
    "wheel": ["norse==1.1.0"],  # there is only its source, pure Python
}


def fetch_wheels(folder: Path = WHEELS) -> list[Path]:
    """Downloads, or builds, the wheels to carry.

    Args:
      folder: emptied of wheels first.

    Returns:
      The wheels.

    Raises:
      ValueError: a built one would run here alone, or all together are too large to travel.
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
        raise ValueError(f"not pure Python: {[wheel.name for wheel in built]}")
    size = sum(wheel.stat().st_size for wheel in found)
    if size > LARGEST:
        raise ValueError(f"{size / 2**20:.0f} MiB of wheels are too many to carry")
    return found


def install_carried(folder: Path, wheels: Path = WHEELS) -> None:
    """Installs the carried wheels where the workers find them, without a network.

    Args:
      folder: where to; the workers' `PYTHONPATH` gets it.
      wheels: where they lie. Without any there, or where they do not fit, peers that are not
        installed besides will fail.
    """
    found = sorted(map(str, wheels.glob("*.whl")))
    if not found:
        print(f"no wheels in {wheels}: peers are those that are installed here", file=sys.stderr)
        return
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    offline = ["--no-index", "--no-deps", "--no-cache-dir", "--no-compile", "--upgrade"]
    pure = [wheel for wheel in found if wheel.endswith("-none-any.whl")]
    for wheels_alike in (pure, [wheel for wheel in found if wheel not in pure]):
        command = [*pip, *offline, "--target", str(folder), *wheels_alike]
        if wheels_alike and subprocess.run(command).returncode:
            print(f"failed: these do not install here: {wheels_alike}", file=sys.stderr)
    worker.ENVIRONMENT["PYTHONPATH"] = os.pathsep.join((str(worker.ROOT), str(folder)))


if __name__ == "__main__":
    for wheel in fetch_wheels():
        print(f"{wheel.stat().st_size / 2**20:6.2f} MiB  {wheel.relative_to(worker.ROOT)}")
