"""Accelerators that are not at hand: how XLA learns of them, and the numbers of the estimate."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import topologies

HERE = Path(__file__).parent


class Target(NamedTuple):
    """One kind of accelerator, by its maker's data sheet.

    Attributes:
      platform: for `topologies.get_topology_desc`.
      topology: the name of a TPU slice; GPUs have a description of their hardware in a file here.
      bandwidth: of its memory, bytes a second.
      flops: of products of float32 as XLA computes them by default, operations a second: TF32 on a
        GPU, one pass of bfloat16 on a TPU.
      launch: seconds from the start of one operation to that of the next one, if both are empty. It
        is assumed.
    """

    platform: str
    topology: str
    bandwidth: float
    flops: float
    launch: float


TARGETS = {
    "H100": Target("cuda", "{n}x1x1", 3.35e12, 494e12, 3e-6),
    "H200": Target("cuda", "{n}x1x1", 4.8e12, 494e12, 3e-6),
    "A100": Target("cuda", "{n}x1x1", 2.04e12, 156e12, 3e-6),
    "TPU v5e": Target("tpu", "v5e:{n}", 8.19e11, 197e12, 1e-6),
}
_SLICES = {1: "1x1", 4: "2x2", 8: "2x4"}


def mesh(name: str, devices: int = 1) -> jax.sharding.Mesh:
    """Return a mesh with one axis, `data`, of devices that are not there.

    Args:
      name: a name in `TARGETS`.
      devices: number of devices: 1, 4 or 8.

    Raises:
      RuntimeError: this Python has no plugin for CUDA, or no libtpu.
    """
    target = TARGETS[name]
    if target.platform == "cuda":
        text = (HERE / f"{name.lower()}.textproto").read_text()
        found = topologies.get_topology_desc(
            platform="cuda", target_config=text, topology=target.topology.format(n=devices)
        )
    else:
        found = topologies.get_topology_desc(
            platform="tpu", topology_name=target.topology.format(n=_SLICES[devices])
        )
    return jax.sharding.Mesh(np.array(found.devices[:devices]), ("data",))
