"""The worker for jaxpike; it runs in a separate environment, with JAX but without stbp_jax.

The network is written as in its documentation: `Sequential` under `unroll`, and the equations are
those of the workload. Its LIF scales the input by 1 - decay, so that weights, or currents, are
divided by that. Its decay is a parameter, which gets no gradient here, as in Spyx.
"""

import sys
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxpike  # type: ignore[import-not-found]

from experiments.benchmarks import peers_jax, shapes, worker
from experiments.benchmarks.shapes import Conv, Dense, Unroll, Workload

Array = jax.Array


def network(workload: Workload) -> Any:
    """The workload's network, with its weights."""
    key = jax.random.key(0)
    scale = 1 - workload.decay
    weights = iter(shapes.weights(workload))
    modules: list[Any] = []
    for stage in shapes.stages(workload):
        if stage.pool > 1:
            modules.append(jaxpike.Pool2d(stage.pool))
        match stage.synapse:
            case Conv(features, kernel):
                synapse = jaxpike.Conv2d(stage.shape[2], features, kernel, padding="VALID", key=key)
            case Dense(features):
                if len(stage.shape) > 1:
                    modules.append(jaxpike.Flatten())
                synapse = jaxpike.Dense(1, features, key=key)
        if stage.synapse is not None:
            weight, bias = (jnp.asarray(a) / scale for a in next(weights))
            weight = weight.T if weight.ndim == 2 else weight
            modules.append(eqx.tree_at(lambda s: (s.weight, s.bias), synapse, (weight, bias)))
        neuron = jaxpike.LIF(
            2.0,  # its own check refuses decays below 1/e
            threshold=shapes.THRESHOLD,
            reset="zero",
            surrogate=jaxpike.surrogate.Boxcar(shapes.WIDTH),
        )
        log_tau = jnp.log(-1 / jnp.log(jnp.float32(workload.decay)))
        modules.append(eqx.tree_at(lambda n: n.log_tau, neuron, log_tau))
    return jaxpike.Sequential(*modules)


def _parts(workload: Workload) -> tuple[Any, peers_jax.Forward]:
    """The trained parameters, and the forward pass."""
    net = network(workload)
    kinds = jaxpike.Dense, jaxpike.Conv2d
    synapses = [i for i, layer in enumerate(net.layers) if isinstance(layer, kinds)]

    def weights(net: Any) -> list[Any]:
        return [w for i in synapses for w in (net.layers[i].weight, net.layers[i].bias)]

    scale = 1 - workload.decay if isinstance(workload, Unroll) else 1.0

    def forward(params: Any, xs: Array) -> Array:
        return jaxpike.unroll(eqx.tree_at(weights, net, params), xs / scale)[0]

    return weights(net), forward


def task(workload: Workload) -> peers_jax.Task:
    """`function(carried, *inputs) -> (carried, outputs)`, with its arguments."""
    return peers_jax.task(workload, *_parts(workload))


def prepare(implementation: str, workload: Workload, small: Workload) -> worker.Prepared:
    """Compile jaxpike's version of a workload.

    Raises:
      NotImplementedError: float16, because its membranes are float32.
    """
    if shapes.precision(workload) != "float32":
        raise NotImplementedError("jaxpike's membranes are float32")
    found = peers_jax.check(small, *_parts(small))
    grads = jax.tree.leaves(found.pop("grads"))
    scale = 1.0 if isinstance(small, Unroll) else 1 - small.decay
    for i, grad in enumerate(grads):
        found[f"grad{i}"] = (grad.T if grad.ndim == 2 else grad) / scale
    return peers_jax.prepared(
        workload,
        task(workload),
        check=found,
        claims={name: name for name in found},
        remark="",
        version=f"{implementation} {version('jaxpike')}",
    )


if __name__ == "__main__":
    jax.local_devices()  # started before it is asked to prepare
    worker.serve(prepare, sys.argv[1:])
