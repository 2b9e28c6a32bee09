"""The worker for Spyx; it runs in a separate environment, with JAX but without stbp_jax.

The network is written as in the documentation of Spyx: `spyx.nn.Sequential` under `spyx.nn.run`,
split into parameters and the rest and jitted, as in `compile_fit`. The LIF of Spyx has other
equations: it fires one step late, at `>`, and resets by subtraction. So its values are not
compared. Its decay is a parameter, which gets no gradient here, to compute no more than the others.
"""

import math
import sys
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import spyx  # type: ignore[import-not-found]
import spyx.axn  # type: ignore[import-not-found]
import spyx.nn  # type: ignore[import-not-found]
from flax import nnx

from experiments.benchmarks import peers_jax, shapes, worker
from experiments.benchmarks.shapes import Conv, Dense, Workload

Array = jax.Array


def network(workload: Workload) -> Any:
    """The workload's network, with its weights."""
    rngs = nnx.Rngs(0)
    weights = iter(shapes.weights(workload))
    modules: list[Any] = []
    for stage in shapes.stages(workload):
        if stage.pool > 1:
            window = (stage.pool, stage.pool)
            modules.append(partial(nnx.avg_pool, window_shape=window, strides=window))
        match stage.synapse:
            case Conv(features, kernel):
                synapse: Any = nnx.Conv(
                    stage.shape[2], features, (kernel, kernel), padding="VALID", rngs=rngs
                )
            case Dense(features):
                if len(stage.shape) > 1:
                    modules.append(lambda x: x.reshape(x.shape[0], -1))
                synapse = nnx.Linear(math.prod(stage.shape), features, rngs=rngs)
        if stage.synapse is not None:
            kernel, bias = next(weights)
            synapse.kernel[...], synapse.bias[...] = jnp.asarray(kernel), jnp.asarray(bias)
            modules.append(synapse)
        modules.append(
            spyx.nn.LIF(
                stage.units,
                beta=workload.decay,
                threshold=shapes.THRESHOLD,
                activation=spyx.axn.boxcar(shapes.WIDTH, 1 / shapes.WIDTH),
                rngs=rngs,
            )
        )
    return spyx.nn.Sequential(*modules)


def _is_weight(path: tuple, value: Any) -> bool:
    return isinstance(value, nnx.Param) and path[-1] in ("kernel", "bias")


def task(workload: Workload) -> peers_jax.Task:
    """`function(carried, *inputs) -> (carried, outputs)`, with its arguments."""
    parts: Any = nnx.split(network(workload), _is_weight, ...)
    graph, params, rest = parts

    def forward(params: Any, xs: Array) -> Array:
        return spyx.nn.run(nnx.merge(graph, params, rest), xs)[0]

    return peers_jax.task(workload, params, forward)


def prepare(implementation: str, workload: Workload, small: Workload) -> worker.Prepared:
    """Compile Spyx's version of a workload.

    Raises:
      NotImplementedError: float16, which its float32 parameters would widen.
    """
    if shapes.precision(workload) != "float32":
        raise NotImplementedError("Spyx's decay and threshold are float32")
    return peers_jax.prepared(
        workload,
        task(workload),
        check={},
        claims={},
        remark="other equations: fires one step late, at >, and resets by subtraction",
        version=f"{implementation.lower()} {version('spyx')}, flax {version('flax')}",
    )


if __name__ == "__main__":
    jax.local_devices()  # started before it is asked to prepare
    worker.serve(prepare, sys.argv[1:])
