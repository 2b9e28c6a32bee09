"""The workloads and their numbers, one list for tests and benchmarks.

Sizes, constants, weights and inputs are the same for every implementation. The module imports NumPy
alone, so that the environments of the peers can read it. Weights and currents are k/256, and biases
are 1/4096 off that grid. So at the decay 1/2 of the tiny workloads every sum is exact in float32 in
any order, and no membrane meets the threshold or an edge of the surrogate's window: `>=` and `>`
give the same spikes, which can be compared bit by bit. For the same purpose float16 workloads have
coarser currents and, if tiny, fewer steps.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from experiments.engine.notation import Conv, Dense, Pool, parse

THRESHOLD = 0.5
WIDTH = 1.0  # of the rectangular surrogate
LEARNING_RATE = 1e-3
CLASSES = 10

Array = Any
Shape = tuple[int, ...]


class Stage(NamedTuple):
    """One spiking population with its pooling and synapse.

    Attributes:
      pool: window of the average pooling before the synapse; 1 is none.
      synapse: kind of the synapse; None if the inputs are currents.
      shape: input of the synapse for one example, `(height, width, channels)` or `(units,)`.
      units: shape of the population.
    """

    pool: int
    synapse: Conv | Dense | None
    shape: Shape
    units: Shape


class Step(NamedTuple):
    """A whole training step: Bernoulli spikes of uint8 images, forward, backward, Adam.

    Loss is equation (9) on the output layer's mean rate.
    """

    name: str
    image: Shape
    network: str
    steps: int
    batch: int
    decay: float = 0.2

    @property
    def input(self) -> Shape:
        """One example of one time slice."""
        return self.image


class Linear(NamedTuple):
    """One Linear(units, units) and LIF on given spikes, forward and backward to weights and bias.

    The workload of the Open Neuromorphic chart; the cotangent of the output spikes is given.
    """

    name: str
    steps: int
    batch: int
    units: int
    decay: float = 0.2

    @property
    def input(self) -> Shape:
        """One example of one time slice."""
        return (self.units,)


class Unroll(NamedTuple):
    """LIF alone on given currents, forward and backward to the currents; the cotangent is given."""

    name: str
    steps: int
    batch: int
    units: int
    decay: float = 0.2
    dtype: str = "float32"

    @property
    def input(self) -> Shape:
        """One example of one time slice."""
        return (self.units,)


Workload = Step | Linear | Unroll

WORKLOADS: dict[str, Workload] = {
    w.name: w
    for w in (
        Step("step-784-400-10-T30-B100", (28, 28, 1), "400-10", 30, 100),
        Step("step-784-400-10-T300-B100", (28, 28, 1), "400-10", 300, 100),
        Unroll("lif-T32-64x16384", 32, 64, 16384),
        Linear("linear-lif-N512", 500, 16, 512),
        Linear("linear-lif-N2048", 500, 16, 2048),
        Step("cnn-T5-B100", (28, 28, 1), "15C5-P2-40C5-P2-300-10", 5, 100),
        Unroll("lif-T32-64x65536-float16", 32, 64, 65536, dtype="float16"),
    )
}
CUDA_ONLY = ("lif-T32-64x65536-float16",)  # because CPUs lack float16


def tiny(workload: Workload) -> Workload:
    """The same workload, small and with exact sums: for smoke runs and for comparing spikes."""
    if isinstance(workload, Step):
        image, network = (
            ((14, 14, 1), "3C3-P2-4C3-P2-20-10")
            if "C" in workload.network
            else ((4, 4, 1), "12-10")
        )
        return workload._replace(image=image, network=network, steps=7, batch=3, decay=0.5)
    steps = 7 if precision(workload) == "float32" else 4
    return workload._replace(steps=steps, batch=3, units=24, decay=0.5)


def precision(workload: Workload) -> str:
    """Floating type of all arrays of a workload."""
    return workload.dtype if isinstance(workload, Unroll) else "float32"


def stages(workload: Workload) -> list[Stage]:
    """The network, one stage per spiking population."""
    if isinstance(workload, Unroll):
        return [Stage(1, None, workload.input, workload.input)]
    notation = workload.network if isinstance(workload, Step) else str(workload.units)
    found, pool, shape = [], 1, workload.input
    for part in parse(notation):
        match part:
            case Pool(pool):
                shape = (shape[0] // pool, shape[1] // pool, shape[2])
                continue
            case Conv(features, kernel):
                units: Shape = (shape[0] - kernel + 1, shape[1] - kernel + 1, features)
            case Dense(features):
                units = (features,)
        found.append(Stage(pool, part, shape, units))
        pool, shape = 1, units
    return found


def flops(workload: Workload) -> float:
    """Operations of the products of one call: forward, to the weights and between layers."""
    total = 0.0
    for i, stage in enumerate(s for s in stages(workload) if s.synapse is not None):
        inputs = math.prod(stage.shape)
        if isinstance(stage.synapse, Conv):
            inputs = stage.synapse.kernel**2 * stage.shape[2]
        once = 2.0 * workload.steps * workload.batch * inputs * math.prod(stage.units)
        total += once * (2 if i == 0 else 3)  # the input of the network has no gradient
    return total


def weights(workload: Workload) -> list[tuple[Array, Array]]:
    """Kernel (`[in, out]` or `[height, width, in, out]`) and bias of each stage with a synapse."""
    rng = np.random.default_rng(1)
    found = []
    for stage in stages(workload):
        match stage.synapse:
            case Conv(features, kernel):
                found.append(_weights(rng, (kernel, kernel, stage.shape[2], features)))
            case Dense(features):
                found.append(_weights(rng, (math.prod(stage.shape), features)))
    return found


def _weights(rng: np.random.Generator, shape: Shape) -> tuple[Array, Array]:
    # Large enough that every layer fires and passes a gradient, which a test checks.
    bound = 256 * 2.0 / math.sqrt(math.prod(shape[:-1]))
    kernel = rng.integers(-round(0.85 * bound), round(bound) + 1, shape) / 256
    bias = rng.integers(-8, 9, shape[-1:]) / 256 + 1 / 4096
    return kernel.astype(np.float32), bias.astype(np.float32)


def images(workload: Step) -> tuple[Array, Array]:
    """uint8 images `[B, height, width, channels]`, a fifth of the pixels lit, and labels `[B]`."""
    rng = np.random.default_rng(2)
    shape = (workload.batch, *workload.image)
    lit = rng.random(shape) < 0.2
    pixels = rng.integers(1, 256, shape) * lit
    return pixels.astype(np.uint8), rng.integers(0, CLASSES, workload.batch).astype(np.int32)


def spikes(workload: Step | Linear) -> Array:
    """Input spikes `[T, B, *in]`, float32, for Linear and for the comparison of Step."""
    rng = np.random.default_rng(3)
    shape = (workload.steps, workload.batch, *workload.input)
    return (rng.random(shape, np.float32) < 0.3).astype(np.float32)


def currents(workload: Unroll) -> Array:
    """Input currents `[T, B, units]`."""
    rng = np.random.default_rng(4)
    shape = (workload.steps, workload.batch, workload.units)
    if workload.dtype != "float32":
        ints = rng.integers(-6, 12, shape, np.int8).astype(workload.dtype)
        return ints / np.float16(16) + np.float16(1 / 64)
    return (rng.integers(-96, 192, shape, np.int16) / np.float32(256)) + np.float32(1 / 4096)


def cotangent(workload: Linear | Unroll) -> Array:
    """Cotangent of the output spikes, `[T, B, units]`."""
    rng = np.random.default_rng(5)
    shape = (workload.steps, workload.batch, workload.units)
    dtype = np.dtype(precision(workload)).type
    return rng.integers(-128, 129, shape, np.int16).astype(dtype) / dtype(256)
