"""The worker for stbp_jax, for plain JAX code and for two floors.

All implementations share the code around the forward pass: loss, gradient and optimizer.
`variants` has the forward passes of the library; `bare lax.scan` is plain code without it. A floor
computes no neurons: it makes only the matrix products, or moves only the bytes, that every schedule
needs, so it bounds the time from below.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

import stbp_jax as sj
from experiments.benchmarks import shapes, timing, variants, worker
from experiments.benchmarks.shapes import Conv, Linear, Stage, Step, Unroll, Workload
from experiments.benchmarks.variants import DEFAULT, Encode, Forward, Variant, Weights, library
from experiments.engine import provenance
from stbp_jax.layers import convolve
from stbp_jax.neurons import LIFUnroll
from stbp_jax.neurons.kernels import lif_pallas

Array = jax.Array


class Task(NamedTuple):
    """A timed program: `function(carried, *inputs) -> (carried, outputs)`.

    The carried buffers are donated to a call and returned for the next one.
    """

    function: Callable[..., tuple[Any, Any]]
    carried: Any
    inputs: tuple


@jax.custom_jvp
def _spike(v: Array) -> Array:
    return (v >= 0).astype(v.dtype)


@_spike.defjvp
def _spike_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (v,), (t,) = primals, tangents
    return _spike(v), t * (jnp.abs(v) < shapes.WIDTH / 2) / shapes.WIDTH


def _product(stage: Stage, kernel: Array, x: Array) -> Array:
    if isinstance(stage.synapse, Conv):
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=numbers)
    return x.reshape(x.shape[0], -1) @ kernel


def _fastest_product(stage: Stage, kernel: Array, x: Array) -> Array:
    """Convolution of the floor: on a CPU the library's, which is faster than XLA's."""
    if isinstance(stage.synapse, Conv):
        return convolve(x, kernel, "valid")
    return _product(stage, kernel, x)


def bare(workload: Workload) -> Forward:
    """The whole network in one `lax.scan`, differentiated by autodiff."""
    stages = shapes.stages(workload)

    def forward(weights: Weights, xs: Array) -> Array:
        def step(states: list[tuple[Array, Array]], x: Array) -> tuple[list, Array]:
            left, new = iter(weights), []
            for stage, (u, o) in zip(stages, states, strict=True):
                if stage.pool > 1:
                    window = (1, stage.pool, stage.pool, 1)
                    x = lax.reduce_window(x, 0.0, lax.add, window, window, "VALID")
                    x = x / stage.pool**2
                if stage.synapse is not None:
                    w = next(left)
                    assert w.bias is not None
                    x = _product(stage, w.kernel, x)
                    x = x + jnp.reshape(w.bias, (1,) * (x.ndim - 1) + (-1,))
                u = workload.decay * u * (1 - o) + x
                x = _spike(u - shapes.THRESHOLD)
                new.append((u, x))
            return new, x

        rest = [jnp.zeros((workload.batch, *stage.units), xs.dtype) for stage in stages]
        return lax.scan(step, [(u, u) for u in rest], xs)[1]

    return forward


def plain_bernoulli(key: Array, images: Array, num_steps: int) -> Array:
    """`jax.random.bernoulli`: one uniform draw for every pixel and step."""
    fires = jax.random.bernoulli(key, images / 255, (num_steps, *images.shape))
    return fires.astype(jnp.float32)


def _weights(workload: Workload) -> Weights:
    return [
        sj.initializers.Weights(jnp.asarray(k), jnp.asarray(b)) for k, b in shapes.weights(workload)
    ]


def _loss(outs: Array, labels: Array) -> Array:
    return jnp.mean(sj.half_squared_error(sj.rate(outs), labels))


def whole(workload: Workload, forward: Forward, encode: Encode = sj.bernoulli) -> Task:
    """The whole workload as one function."""
    weights = _weights(workload)
    match workload:
        case Step():
            images, labels = map(jnp.asarray, shapes.images(workload))

            def loss_fn(weights: Weights, key: Array, batch: tuple) -> tuple[Array, None]:
                images, labels = batch
                return _loss(forward(weights, encode(key, images, workload.steps)), labels), None

            optimizer = optax.adam(shapes.LEARNING_RATE)
            update = sj.training.make_train_step(loss_fn, optimizer)
            state = sj.TrainState(weights, optimizer.init(weights), jax.random.key(0), jnp.int32(0))
            return Task(update, state, ((images, labels),))
        case Linear():
            xs, cotangent = shapes.spikes(workload), shapes.cotangent(workload)
            inputs = (weights, jnp.asarray(xs), jnp.asarray(cotangent))
            return Task(_to_weights(forward), (), inputs)
        case Unroll():
            currents, cotangent = shapes.currents(workload), shapes.cotangent(workload)
            return Task(_to_currents(forward), (), (jnp.asarray(currents), jnp.asarray(cotangent)))


def _to_weights(forward: Forward) -> Callable[..., tuple[Any, Any]]:
    def both(carried: tuple, weights: Weights, xs: Array, cotangent: Array) -> tuple:
        spikes, pull = jax.vjp(lambda w: forward(w, xs), weights)
        return (), (spikes, pull(cotangent))

    return both


def _to_currents(forward: Forward) -> Callable[..., tuple[Any, Any]]:
    def both(carried: tuple, currents: Array, cotangent: Array) -> tuple:
        spikes, pull = jax.vjp(lambda c: forward([], c), currents)
        return (), (spikes, pull(cotangent))

    return both


def check(workload: Workload, forward: Forward) -> dict[str, Array]:
    """Spikes, loss and gradients on given input spikes or currents; products in full precision."""
    with jax.default_matmul_precision("highest"):
        # Inputs are arguments, because the compiler could fold constants.
        if not isinstance(workload, Step):
            task = whole(workload, forward)
            _, (spikes, grads) = jax.jit(task.function)(task.carried, *task.inputs)
            return _named(spikes, grads)

        @jax.jit
        def step(weights: Weights, xs: Array, labels: Array) -> dict[str, Array]:
            spikes, pull = jax.vjp(lambda w: forward(w, xs), weights)
            loss, bar = jax.value_and_grad(_loss)(spikes, labels)
            return _named(spikes, pull(bar)) | {"loss": loss}

        xs, labels = shapes.spikes(workload), shapes.images(workload)[1]
        return step(_weights(workload), jnp.asarray(xs), jnp.asarray(labels))


def _named(spikes: Array, grads: Any) -> dict[str, Array]:
    return {"spikes": spikes} | {f"grad{i}": g for i, g in enumerate(jax.tree.leaves(grads))}


def dense_floor(workload: Workload) -> Task:
    """The products and convolutions alone, in float32, each on all steps at once.

    Every stage has its forward product and that of the weights' gradient; every stage except the
    first has the product of the input's gradient. There is no pooling, bias, neuron, encoding or
    optimizer.
    """
    key = jax.random.key(0)
    stages = shapes.stages(workload)
    kernels = [w.kernel for w in _weights(workload)]
    count = workload.steps * workload.batch
    xs = [jax.random.normal(key, (count, *stage.shape)) for stage in stages]
    bars = [jax.random.normal(key, (count, *stage.units)) for stage in stages]

    def products(carried: tuple, kernels: list, xs: list, bars: list) -> tuple:
        ys, grads = [], []
        for i, (stage, kernel, x, bar) in enumerate(zip(stages, kernels, xs, bars, strict=True)):
            if i == 0:
                y, pull = jax.vjp(lambda k, s=stage, x=x: _fastest_product(s, k, x), kernel)
            else:
                y, pull = jax.vjp(lambda k, x, s=stage: _fastest_product(s, k, x), kernel, x)
            ys.append(y)
            grads.append(pull(bar))
        return (), (ys, grads)

    return Task(products, (), (kernels, xs, bars))


def byte_floor(workload: Workload) -> Task:
    """The memory traffic of a LIF, in reused buffers.

    The forward pass reads currents and writes spikes and membranes; the backward pass then reads
    membranes and cotangents and writes gradients: six arrays [T, B, units].
    """
    assert isinstance(workload, Unroll)

    def move(buffers: tuple, currents: Array, cotangent: Array) -> tuple[tuple, None]:
        spikes, membranes = lax.optimization_barrier((1 - currents, 2 * currents))
        return (spikes, membranes, membranes + cotangent), None

    currents = jnp.asarray(shapes.currents(workload))
    buffers = tuple(jnp.zeros_like(currents) for _ in range(3))
    return Task(move, buffers, (currents, jnp.asarray(shapes.cotangent(workload))))


BARE = Variant(bare, plain_bernoulli)
FLOORS: dict[str, Callable[[Workload], Task]] = {
    "dense floor": dense_floor,
    "byte floor": byte_floor,
}


def implementations(workload: Workload, *, cuda: bool = False) -> list[str]:
    """Implementations of a workload, the default first; with `cuda`, also those for CUDA alone."""
    floor = "byte floor" if isinstance(workload, Unroll) else "dense floor"
    return [*variants.fitting(workload, cuda=cuda), "bare lax.scan", floor]


def assert_same_unroll(unroll: LIFUnroll) -> None:
    """Compare an unroll with the default on more neurons and steps than a tiny workload has.

    At decay 1/2 a step rounds once in any order of its operations, so spikes must be equal. One
    size fills the blocks of the kernels, the other does not.

    Args:
      unroll: the unroll to compare, in float32, on the default device.

    Raises:
      AssertionError: spikes differ, or gradients by more than rounding.
    """
    for batch, units in ((4, 1024), (5, 1000)):
        workload = Unroll("", 32, batch, units, decay=0.5)
        found = check(workload, library(workload, unroll=unroll))
        wanted = check(workload, library(workload))
        claims = {name: name for name in wanted}
        wrong = worker.disagreements({"check": found, "claims": claims}, {"check": wanted})
        assert not wrong, f"other {', '.join(wrong)} than lif_unroll for {batch} x {units} neurons"


def prepare(implementation: str, workload: Workload, small: Workload) -> worker.Prepared:
    """Compile one implementation and compute the values of its comparison."""
    found: dict[str, Array] = {}
    variant = (variants.VARIANTS | {"bare lax.scan": BARE}).get(implementation)
    if implementation == "stbp_jax lif_pallas":
        assert_same_unroll(lif_pallas)
    if variant is None:
        task = FLOORS[implementation](workload)
        claims, remark = {}, "a floor: no neurons"
    else:
        task = whole(workload, variant.forward(workload), variant.encode)
        found = check(small, variant.forward(small))
        claims = {name: name for name in found if variant.exact or not name.startswith("grad")}
        remark = variant.remark
        if implementation == DEFAULT:
            cut = check(small, library(small, reset=sj.detach_reset(sj.hard_reset)))
            found |= {f"cut/{name}": of for name, of in cut.items() if name.startswith("grad")}

    # Unused arguments are kept, because the byte floor writes into buffers that it does not read.
    jitted = jax.jit(task.function, donate_argnums=0, keep_unused=True)
    program = timing.compiled(jitted, task.carried, *task.inputs)
    carried, inputs = task.carried, task.inputs

    def run() -> None:
        nonlocal carried
        carried, outputs = program.call(carried, *inputs)
        jax.block_until_ready((carried, outputs))

    ours = implementation.startswith("stbp_jax")
    tf32 = jax.default_backend() != "cpu" and not isinstance(workload, Unroll)
    return worker.Prepared(
        run=run,
        check=found,
        claims=claims,
        remark=remark,
        version=f"stbp_jax {sj.__version__}" if ours else f"jax {jax.__version__}",
        precision=shapes.precision(workload) + (", tf32 allowed in products" if tf32 else ""),
        jax=jax.__version__,
        device=provenance.device(),
        trace_seconds=program.trace_seconds,
        compile_seconds=program.compile_seconds,
        temp_bytes=program.temp_bytes,
        growth=timing.device_growth,
    )


if __name__ == "__main__":
    jax.local_devices()  # started before it is asked to prepare
    worker.serve(prepare, sys.argv[1:])
