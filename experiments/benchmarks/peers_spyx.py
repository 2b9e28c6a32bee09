"""The worker for Spyx; it runs in a separate environment, with JAX but without stbp_jax.

The network is written as in the documentation of Spyx: `spyx.nn.Sequential` under `spyx.nn.run`,
split into parameters and the rest and jitted, as in `compile_fit`. The LIF of Spyx has other
equations: it fires one step late, at `>`, and resets by subtraction. So its values are not
compared. Its decay is a parameter, which gets no gradient here, to compute no more than the others.
"""

import math
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import optax
import spyx  # type: ignore[import-not-found]
import spyx.axn  # type: ignore[import-not-found]
import spyx.nn  # type: ignore[import-not-found]
from flax import nnx

from experiments.benchmarks import shapes, timing, worker
from experiments.benchmarks.shapes import Conv, Dense, Linear, Step, Unroll, Workload

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


def task(workload: Workload) -> tuple[Callable[..., tuple[Any, Any]], Any, tuple]:
    """`function(carried, *inputs) -> (carried, outputs)`, with its arguments."""
    parts: Any = nnx.split(network(workload), _is_weight, ...)
    graph, params, rest = parts

    def forward(params: Any, xs: Array) -> Array:
        return spyx.nn.run(nnx.merge(graph, params, rest), xs)[0]

    if isinstance(workload, Step):
        images, labels = map(jnp.asarray, shapes.images(workload))
        optimizer = optax.adam(shapes.LEARNING_RATE)

        def loss_fn(params: Any, key: Array, images: Array, labels: Array) -> Array:
            shape = (workload.steps, *images.shape)
            xs = jax.random.bernoulli(key, images / 255, shape).astype(jnp.float32)
            scores = jnp.mean(forward(params, xs), axis=0)
            targets = jax.nn.one_hot(labels, scores.shape[-1])
            return jnp.mean(0.5 * jnp.sum((targets - scores) ** 2, axis=-1))

        def step(carried: tuple, images: Array, labels: Array) -> tuple[tuple, Array]:
            params, state, key = carried
            key, draw = jax.random.split(key)
            loss, grads = jax.value_and_grad(loss_fn)(params, draw, images, labels)
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state, key), loss

        carried = (params, optimizer.init(params), jax.random.key(0))
        return step, carried, (images, labels)

    def given(carried: tuple, params: Any, xs: Array, cotangent: Array) -> tuple[tuple, Any]:
        if isinstance(workload, Linear):
            spikes, pull = jax.vjp(lambda p: forward(p, xs), params)
        else:
            spikes, pull = jax.vjp(lambda x: forward(params, x), xs)
        return (), (spikes, pull(cotangent))

    xs = shapes.currents(workload) if isinstance(workload, Unroll) else shapes.spikes(workload)
    return given, (), (params, jnp.asarray(xs), jnp.asarray(shapes.cotangent(workload)))


def prepare(implementation: str, workload: Workload, small: Workload) -> worker.Prepared:
    """Compile Spyx's version of a workload.

    Raises:
      NotImplementedError: float16, which its float32 parameters would widen.
    """
    if shapes.precision(workload) != "float32":
        raise NotImplementedError("Spyx's decay and threshold are float32")
    function, carried, inputs = task(workload)
    program = timing.compiled(jax.jit(function, donate_argnums=0), carried, *inputs)

    def run() -> None:
        nonlocal carried
        carried, outputs = program.call(carried, *inputs)
        jax.block_until_ready((carried, outputs))

    tf32 = jax.default_backend() != "cpu" and not isinstance(workload, Unroll)
    return worker.Prepared(
        run=run,
        check={},
        claims={},
        remark="other equations: fires one step late, at >, and resets by subtraction",
        version=f"{implementation.lower()} {version('spyx')}, flax {version('flax')}",
        precision="float32" + (", tf32 allowed in products" if tf32 else ""),
        jax=jax.__version__,
        compile_seconds=program.seconds,
        temp_bytes=program.temp_bytes,
        growth=timing.device_growth,
    )


if __name__ == "__main__":
    jax.local_devices()  # started before it is asked to prepare
    worker.serve(prepare, sys.argv[1:])
