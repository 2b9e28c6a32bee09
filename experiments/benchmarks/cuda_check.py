"""All unrolls on a CUDA device against a CPU: `python -m experiments.benchmarks.cuda_check`.

Inputs and weights are dyadic and the decay is 1/2, so that spikes must be equal bit by bit, and
gradients up to the order of sums. With `--cpu` the blocks of steps run on the CPU, to check this
program without a device. A row for each check goes to `$OUT`; exit code 1: some differ.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import stbp_jax as sj
from experiments.engine import provenance
from stbp_jax import layers, neurons
from stbp_jax.neurons import blocks

Case = tuple[Callable[..., tuple[Any, Any]], tuple[Any, ...]]  # function -> (outs, grads), args
B, RNG = 5, np.random.default_rng(0)
lif = partial(sj.lif, decay=0.5, surrogate=sj.rectangular(1.0))
alif = partial(sj.alif, adaptation_decay=0.5, adaptation_strength=0.25)


def lone(make: Callable[[Any], sj.Neuron], steps: int, *, restarts: bool = False) -> Case:
    """A neuron made from one number: its outputs, and gradients to the number and the currents."""
    drawn = jnp.asarray(RNG.integers(-96, 192, (2, steps, B, 300)) / 256, jnp.float32)
    first = (jnp.asarray(RNG.random((steps, B)) < 0.2),) if restarts else ()

    def both(number: Any, currents: Any, bar: Any, *first: Any) -> tuple[Any, Any]:
        def run(number: Any, currents: Any) -> Any:
            rest = make(number).initial_state(currents.shape[1:], currents.dtype)
            return make(number).unroll((), rest, currents, *first)[1]

        outs, pull = jax.vjp(run, number, currents)
        return outs, pull(bar)

    return both, (jnp.float32(0.5), *drawn, *first)


def net(network: sj.Layer, shape: tuple[int, ...] = (64,), order: int = 1) -> Case:
    """A network: its spikes at T = 30, and a gradient or the gradient of that gradient's size."""
    drawn, _ = network.init(jax.random.key(0), shape)
    params = jax.tree.map(lambda x: jnp.round(x * 64) / 32, drawn)
    xs = jnp.asarray(RNG.random((30, B, *shape)) < 0.3, jnp.float32)

    def both(params: Any, xs: Any) -> tuple[Any, Any]:
        def loss(params: Any) -> tuple[Any, Any]:
            spikes = sj.apply(network, params, xs)[1]
            return jnp.sum(sj.rate(spikes) * (jnp.arange(spikes.shape[-1]) - 2.0)), spikes

        def size(params: Any) -> tuple[Any, Any]:
            grads, spikes = jax.grad(loss, has_aux=True)(params)
            return sum(jnp.sum(g**2) for g in jax.tree.leaves(grads)), spikes

        return jax.grad(loss if order == 1 else size, has_aux=True)(params)[::-1]

    return both, (params, xs)


def cases(*, pallas: bool) -> dict[str, tuple[Case, Case]]:
    """Every check by name: what runs on the device, and its reference on the CPU."""

    def dense(neuron: sj.Neuron = lif(), **kwargs: Any) -> sj.Layer:  # noqa: B008
        return sj.serial(sj.dense(40, neuron, **kwargs), sj.dense(10, lif(), **kwargs))

    def through(unroll: Any, steps: int = 30) -> Case:
        return lone(lambda d: lif(decay=d, unroll=unroll), steps)

    image = [sj.conv(4, 3, lif()), sj.avg_pool(2), sj.conv(6, 3, lif()), sj.flatten()]
    smooth = lif(surrogate=sj.gaussian(0.3))
    found = {f"lif, T={t}": lone(lambda d: lif(decay=d), t) for t in (1, 7, 30, 37, 120)}
    found |= {f"block={k}": through(partial(neurons.lif_unroll, block=k)) for k in (1, 4, 16)}
    swept, args = lone(lambda w: lif(surrogate=sj.gaussian(w)), 30)
    many = jax.vmap(swept, (0, None, None)), (jnp.linspace(0.25, 2, 8), *args[1:])
    found |= {
        "lif_scan": through(neurons.lif_scan),
        "8 widths": many,
        "restarts": lone(lambda d: lif(decay=d), 30, restarts=True),
        "soft reset": lone(lambda d: lif(decay=d, reset=sj.soft_reset), 30),
        "alif": lone(lambda d: alif(decay=d), 30),
        "alif, restarts, block=8": lone(lambda d: alif(decay=d, block=8), 37, restarts=True),
        "current_based": lone(lambda d: sj.current_based(lif(decay=d), decay=0.5), 30),
        "leaky_integrator": lone(lambda d: sj.leaky_integrator(decay=d), 37, restarts=True),
        "dense": net(dense()),
        "second order": net(sj.serial(sj.dense(20, smooth), sj.dense(10, smooth)), order=2),
        "bfloat16": net(dense(matmul=layers.bfloat16_matmul)),
        "recurrent": net(dense(sj.recurrent(lif()))),
        "chunked": net(sj.chunked(dense(), 10, policy=neurons.keep_membranes)),
        "stepwise": net(sj.stepwise(dense())),
        "conv": net(sj.serial(*image, sj.dense(10, lif())), (12, 12, 2)),
    }
    pairs = {name: (case, case) for name, case in found.items()}
    if pallas:
        unroll = importlib.import_module("stbp_jax.neurons.kernels").lif_pallas
        for t in (7, 37):
            wanted = lone(lambda d: lif(decay=d), t)
            pairs[f"lif_pallas, T={t}"] = (through(unroll, t)[0], wanted[1]), wanted
    return pairs


def on(device: jax.Device, case: Case) -> Any:
    """The outputs and gradients of a case on a device, or the error, as text."""
    function, args = case
    try:
        found = jax.jit(lambda *args: function(*args))(*jax.device_put(args, device))
        return jax.tree.map(np.asarray, found)
    except Exception as error:  # one failure must not hide the others
        return f"{type(error).__name__}: {error}"


def compared(name: str, got: Any, want: Any) -> dict[str, Any]:
    """The row of one check."""
    wrong = got if isinstance(got, str) else want if isinstance(want, str) else None
    if wrong is not None:
        return {"equal": False, "check": name, "error": wrong[:2000]}
    flat = [np.concatenate([x.ravel() for x in jax.tree.leaves(grads)]) for _, grads in (got, want)]
    error = float(np.abs(flat[0] - flat[1]).max() / np.abs(flat[1]).max())
    differ = int((got[0] != want[0]).sum())
    equal = differ == 0 and error <= (1e-2 if name == "bfloat16" else 1e-5)
    mean = float(want[0].mean())
    return {"equal": equal, "check": name, "outs_differ": differ, "mean": mean, "grads_off": error}


def main(argv: list[str]) -> int:
    """Run every check; print a line and write a row for each."""
    if argv not in ([], ["--cpu"]) or (not argv and jax.default_backend() != "gpu"):
        print("run it on a CUDA device, or with --cpu", file=sys.stderr)
        return 2
    start, cpu, device = time.perf_counter(), jax.devices("cpu")[0], jax.devices()[0]
    jax.config.update("jax_default_matmul_precision", "highest")
    with jax.default_device(cpu):
        every = cases(pallas=not argv)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wanted = list(pool.map(lambda pair: on(cpu, pair[1]), every.values()))
        if argv:  # on a CPU the loop over blocks runs only in the place of the other
            jax.clear_caches()
            module: Any = blocks
            module.by_platform = lambda loop, by_blocks, steps, args: by_blocks(*args)
        found = list(pool.map(lambda pair: on(device, pair[0]), every.values()))
    rows = [compared(*row) for row in zip(every, found, wanted, strict=True)]
    shared = provenance.provenance()
    shared["commit"] = shared["commit"] or os.environ.get("STBP_COMMIT")
    with (Path(os.environ.get("OUT", ".")) / "cuda_check.jsonl").open("a") as file:
        for row in rows:
            file.write(json.dumps(row | shared) + "\n")
            print("ok  " if row["equal"] else "FAIL", *(f"{k}={v}" for k, v in row.items()))
    print(f"{sum(r['equal'] for r in rows)} of {len(rows)} in {time.perf_counter() - start:.0f} s")
    return int(not all(row["equal"] for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
