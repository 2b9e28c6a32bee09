"""The networks of the workloads in stbp_jax, with the timed schedules, unrolls and products.

`ours` has the code around the forward pass.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

import stbp_jax as sj
from experiments.benchmarks import shapes
from experiments.benchmarks.shapes import Conv, Dense, Unroll, Workload
from stbp_jax.layers import Matmul
from stbp_jax.neurons import LIFUnroll, Reset
from stbp_jax.neurons.kernels import lif_pallas

Array = jax.Array
Weights = list[sj.initializers.Weights]  # one for each stage with a synapse
Forward = Callable[[Weights, Array], Array]  # (weights, xs [T, B, *in]) -> spikes [T, B, *units]
Encode = Callable[[Array, Array, int], Array]  # (key, images, num_steps) -> [T, B, *in]

DEFAULT = "stbp_jax lif_unroll"
LONG = 100  # smallest T for which chunks are timed


class Variant(NamedTuple):
    """A variant of the forward pass for any workload.

    Attributes:
      forward: makes the forward pass of a workload.
      encode: draws Bernoulli spikes of images.
      exact: whether its gradients equal the default's up to the order of sums.
      remark: remark of its rows.
    """

    forward: Callable[[Workload], Forward]
    encode: Encode = sj.bernoulli
    exact: bool = True
    remark: str = ""


def library(
    workload: Workload,
    *,
    unroll: LIFUnroll = sj.neurons.lif_unroll,
    reset: Reset = sj.hard_reset,
    matmul: Matmul = sj.layers.full_matmul,
    schedule: Callable[[sj.Layer], sj.Layer] = lambda net: net,
    packed: bool = False,
) -> Forward:
    """The network of a workload in stbp_jax; `packed` keeps its input as bits."""
    neuron = sj.lif(
        decay=workload.decay,
        threshold=shapes.THRESHOLD,
        surrogate=sj.rectangular(shapes.WIDTH),
        reset=reset,
        unroll=unroll,
    )
    if isinstance(workload, Unroll):  # not a layer: its state would take the dtype of its params

        def alone(weights: Weights, currents: Array) -> Array:
            state = neuron.initial_state(currents.shape[1:], currents.dtype)
            return neuron.unroll((), state, currents)[1]

        return alone
    layers = [sj.layers.unpack(*workload.input)] if packed else []
    for stage in shapes.stages(workload):
        if stage.pool > 1:
            layers.append(sj.avg_pool(stage.pool))
        match stage.synapse:
            case Conv(features, kernel):
                layers.append(sj.conv(features, kernel, neuron))
            case Dense(features):
                layers += [sj.flatten(), sj.dense(features, neuron, matmul=matmul)]
    net = schedule(sj.serial(*layers))
    shape = (-(-math.prod(workload.input) // 8),) if packed else workload.input
    params, _ = jax.eval_shape(lambda key: net.init(key, shape), jax.random.key(0))
    structure = jax.tree.structure(params)

    def forward(weights: Weights, xs: Array) -> Array:
        params = jax.tree.unflatten(structure, jax.tree.leaves(weights))
        return sj.apply(net, params, sj.encoders.pack(xs) if packed else xs)[1]

    return forward


def chunk(workload: Workload) -> int:
    """Steps per chunk: 15, or enough for 800 rows in a product; at least two chunks."""
    return min(max(15, 800 // workload.batch), workload.steps // 2)


def _chunked(workload: Workload, *, keep: bool, packed: bool) -> Forward:
    policy = sj.neurons.keep_membranes if keep else None
    schedule = partial(sj.chunked, steps=chunk(workload), policy=policy)
    return library(workload, schedule=schedule, packed=packed)


bits = partial(sj.bernoulli, dtype=jnp.bool_)

VARIANTS: dict[str, Variant] = {
    DEFAULT: Variant(library),
    "stbp_jax chunked": Variant(partial(_chunked, keep=True, packed=False), bits),
    "stbp_jax chunked, lean": Variant(partial(_chunked, keep=False, packed=True), bits),
    "stbp_jax bfloat16": Variant(
        partial(library, matmul=sj.layers.bfloat16_matmul),
        partial(sj.bernoulli, dtype=jnp.bfloat16),
        exact=False,
        remark="products of the dense layers in bfloat16, gradients so rounded",
    ),
    "stbp_jax lif_scan": Variant(partial(library, unroll=sj.neurons.lif_scan)),
    "stbp_jax stepwise": Variant(partial(library, schedule=sj.stepwise)),
    "stbp_jax lif_pallas": Variant(partial(library, unroll=lif_pallas)),
}


def fitting(workload: Workload, *, cuda: bool) -> list[str]:
    """Names of the timed variants of a workload, the default first."""
    left_out = set() if cuda else {"stbp_jax lif_pallas"}
    if workload.steps < LONG:
        left_out |= {"stbp_jax chunked", "stbp_jax chunked, lean"}
    if isinstance(workload, Unroll):  # stepwise would be lif_scan
        left_out |= {"stbp_jax stepwise", "stbp_jax bfloat16"}
    return [name for name in VARIANTS if name not in left_out]
