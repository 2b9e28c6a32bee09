"""The worker for braintrace; it runs in a separate environment, with JAX but without stbp_jax.

braintrace gives gradients online, by eligibility traces. Its documentation compares them with
backpropagation through time over the same model: `brainstate.transform.for_loop` over layers of
braintrace and neurons of BrainPy. That is timed here. The LIF of BrainPy scales the input by
1 - decay, so that weights, or currents, are divided by that. Its hard reset subtracts the membrane
as a constant, so that the gradient to the membrane before a reset is 1 instead of 0.
"""

import math
import sys
from importlib.metadata import version
from typing import Any

import brainpy.state  # type: ignore[import-not-found]
import brainstate  # type: ignore[import-not-found]
import braintools  # type: ignore[import-not-found]
import braintrace  # type: ignore[import-not-found]
import jax
import jax.numpy as jnp

from experiments.benchmarks import peers_jax, shapes, worker
from experiments.benchmarks.shapes import Conv, Dense, Unroll, Workload

Array = jax.Array


def network(workload: Workload, params: list[tuple[Array, Array]]) -> Any:
    """The workload's network with these kernels and biases."""
    left = iter(params)
    modules: list[Any] = []
    for stage in shapes.stages(workload):
        if stage.pool > 1:
            modules.append(brainstate.nn.AvgPool2d(stage.pool, stage.pool))
        match stage.synapse:
            case Conv(features, size):
                kernel, bias = next(left)
                modules.append(
                    braintrace.nn.Conv2d(
                        stage.shape, features, size, padding="VALID", w_init=kernel, b_init=bias
                    )
                )
            case Dense(features):
                kernel, bias = next(left)
                if len(stage.shape) > 1:
                    modules.append(brainstate.nn.Flatten(1))
                inputs = math.prod(stage.shape)
                modules.append(braintrace.nn.Linear(inputs, features, kernel, bias))
        modules.append(
            brainpy.state.LIF(
                stage.units,
                R=1.0,
                tau=-1 / math.log(workload.decay),
                V_th=shapes.THRESHOLD,
                V_reset=0.0,
                V_rest=0.0,
                V_initializer=braintools.init.ZeroInit(),
                # A rectangle; the distance to the threshold is in units of the threshold.
                spk_fun=braintools.surrogate.PiecewiseLeakyRelu(
                    c=0.0, w=shapes.WIDTH / (2 * shapes.THRESHOLD)
                ),
                spk_reset="hard",
            )
        )
    return brainstate.nn.Sequential(*modules)


def _parts(workload: Workload) -> tuple[Any, peers_jax.Forward]:
    """The trained parameters, and the forward pass."""
    scale = 1 - workload.decay

    def forward(params: Any, xs: Array) -> Array:
        # States belong to the trace that makes them.
        net = network(workload, params)
        brainstate.nn.init_all_states(net, batch_size=xs.shape[1])
        given = xs / scale if isinstance(workload, Unroll) else xs
        return brainstate.transform.for_loop(net, given)

    params = [
        (jnp.asarray(kernel) / scale, jnp.asarray(bias) / scale)
        for kernel, bias in shapes.weights(workload)
    ]
    return params, forward


def prepare(implementation: str, workload: Workload, small: Workload) -> worker.Prepared:
    """Compile braintrace's version of a workload.

    Raises:
      NotImplementedError: float16, because its membranes are float32.
    """
    if shapes.precision(workload) != "float32":
        raise NotImplementedError("the membranes are float32")
    found = peers_jax.check(small, *_parts(small))
    grads = jax.tree.leaves(found.pop("grads"))
    scale = 1.0 if isinstance(small, Unroll) else 1 - small.decay
    found |= {f"grad{i}": grad / scale for i, grad in enumerate(grads)}
    claims = {name: name for name in ("spikes", "loss") if name in found}
    return peers_jax.prepared(
        workload,
        peers_jax.task(workload, *_parts(workload)),
        check=found,
        claims=claims,
        remark="gradient that also passes the reset, which subtracts a constant",
        version=", ".join(f"{name} {version(name)}" for name in ("braintrace", "brainpy")),
    )


brainstate.environ.set(dt=1.0)  # the time step of all neurons

if __name__ == "__main__":
    jax.local_devices()  # started before it is asked to prepare
    worker.serve(prepare, sys.argv[1:])
