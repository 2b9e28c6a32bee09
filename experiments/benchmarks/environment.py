"""The peers' environments, made once below `.venv-peers` in the checkout.

Decides the pinned versions. PyTorch comes first and alone, and packages that ask for more than they
use come without their dependencies: some ask for torchvision, whose newest version replaces torch
by a CUDA build. Packages come from wherever pip is configured to look.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from experiments.benchmarks import worker

HOME = worker.ROOT / ".venv-peers"

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
