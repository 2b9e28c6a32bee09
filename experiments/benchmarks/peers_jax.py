"""What the workers for peers in JAX share: the code around the forward pass, and one timed call.

The environment of a peer has JAX and Optax, but not stbp_jax.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.benchmarks import shapes, timing, worker
from experiments.benchmarks.shapes import Linear, Step, Unroll, Workload

Array = jax.Array
Forward = Callable[[Any, Array], Array]  # (params, xs [T, B, *in]) -> spikes [T, B, *units]


class Task(NamedTuple):
    """A timed program: `function(carried, *inputs) -> (carried, outputs)`."""

    function: Callable[..., tuple[Any, Any]]
    carried: Any
    inputs: tuple


def _loss(spikes: Array, labels: Array) -> Array:
    scores = jnp.mean(spikes, axis=0)
    targets = jax.nn.one_hot(labels, scores.shape[-1])
    return jnp.mean(0.5 * jnp.sum((targets - scores) ** 2, axis=-1))


def task(workload: Workload, params: Any, forward: Forward) -> Task:
    """The whole workload as one function."""
    if isinstance(workload, Step):
        images, labels = map(jnp.asarray, shapes.images(workload))
        optimizer = optax.adam(shapes.LEARNING_RATE)

        def loss_fn(params: Any, key: Array, images: Array, labels: Array) -> Array:
            shape = (workload.steps, *images.shape)
            xs = jax.random.bernoulli(key, images / 255, shape).astype(jnp.float32)
            return _loss(forward(params, xs), labels)

        def step(carried: tuple, images: Array, labels: Array) -> tuple[tuple, Array]:
            params, state, key = carried
            key, draw = jax.random.split(key)
            loss, grads = jax.value_and_grad(loss_fn)(params, draw, images, labels)
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state, key), loss

        carried = (params, optimizer.init(params), jax.random.key(0))
        return Task(step, carried, (images, labels))

    def given(carried: tuple, params: Any, xs: Array, cotangent: Array) -> tuple[tuple, Any]:
        if isinstance(workload, Linear):
            spikes, pull = jax.vjp(lambda p: forward(p, xs), params)
        else:
            spikes, pull = jax.vjp(lambda x: forward(params, x), xs)
        return (), (spikes, pull(cotangent))

    xs = shapes.currents(workload) if isinstance(workload, Unroll) else shapes.spikes(workload)
    return Task(given, (), (params, jnp.asarray(xs), jnp.asarray(shapes.cotangent(workload))))


def check(workload: Workload, params: Any, forward: Forward) -> dict[str, Any]:
    """Spikes, loss and gradients to the params on given input spikes, or to given currents."""
    with jax.default_matmul_precision("highest"):
        if not isinstance(workload, Step):
            given = task(workload, params, forward)
            _, (spikes, grads) = jax.jit(given.function)(given.carried, *given.inputs)
            return {"spikes": spikes, "grads": grads}

        @jax.jit
        def step(params: Any, xs: Array, labels: Array) -> dict[str, Any]:
            spikes, pull = jax.vjp(lambda p: forward(p, xs), params)
            loss, bar = jax.value_and_grad(_loss)(spikes, labels)
            return {"spikes": spikes, "loss": loss, "grads": pull(bar)[0]}

        xs, labels = shapes.spikes(workload), shapes.images(workload)[1]
        return step(params, jnp.asarray(xs), jnp.asarray(labels))


def prepared(workload: Workload, given: Task, **fields: Any) -> worker.Prepared:
    """Compile a task; `fields` are those of `worker.Prepared` that say what it is."""
    program = timing.compiled(
        jax.jit(given.function, donate_argnums=0), given.carried, *given.inputs
    )
    carried = given.carried

    def run() -> None:
        nonlocal carried
        carried, outputs = program.call(carried, *given.inputs)
        jax.block_until_ready((carried, outputs))

    tf32 = jax.default_backend() != "cpu" and not isinstance(workload, Unroll)
    return worker.Prepared(
        run=run,
        precision="float32" + (", tf32 allowed in products" if tf32 else ""),
        jax=jax.__version__,
        trace_seconds=program.trace_seconds,
        compile_seconds=program.compile_seconds,
        temp_bytes=program.temp_bytes,
        growth=timing.device_growth,
        **fields,
    )
