"""All unrolls on a CUDA device against a CPU: `python -m experiments.benchmarks.cuda_check`.

Both are in this process. Inputs and weights are dyadic and the decay is 1/2, so that spikes must be
equal bit by bit, and gradients up to the order of sums. With `--cpu` the same blocks of steps run
on the CPU, to check this program without a device. A row for each check goes to `$OUT`; the exit
code is 1 if any differs.
"""

import functools
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import stbp_jax as sj
from experiments.engine import provenance
from stbp_jax import layers, neurons

B, UNITS, WIDTHS = 5, 300, jnp.linspace(0.25, 2.0, 8)
RNG = np.random.default_rng(0)
Case = tuple[Callable[..., tuple[Any, Any]], tuple[Any, ...]]  # function -> (spikes, grads), args
plain = functools.partial(sj.lif, decay=0.5, surrogate=sj.rectangular(1.0))
rounded = functools.partial(jax.tree.map, lambda x: jnp.round(x * 64) / 64)


def lone(make: Callable[[Any], sj.Neuron], steps: int, *, restarts: bool = False) -> Case:
    """A neuron made from a decay: its outputs, and the gradients of decay and currents."""
    drawn = RNG.integers(-96, 192, (2, steps, B, UNITS)) / 256
    currents, bar = jnp.asarray(drawn[0], jnp.float32), jnp.asarray(drawn[1], jnp.float32)
    first = (jnp.asarray(RNG.random((steps, B)) < 0.2),) if restarts else ()

    def both(decay: Any, currents: Any, bar: Any, *first: Any) -> tuple[Any, Any]:
        def outs(decay: Any, currents: Any) -> Any:
            neuron = make(decay)
            rest = neuron.initial_state(currents.shape[1:], currents.dtype)
            return neuron.unroll((), rest, currents, *first)[1]

        spikes, pull = jax.vjp(outs, decay, currents)
        return spikes, pull(bar)

    return both, (jnp.float32(0.5), currents, bar, *first)


def network(net: sj.Layer, shape: tuple[int, ...], steps: int = 30, *, twice: bool = False) -> Case:
    """A network: its spikes and the gradient of its parameters, or a gradient of that."""
    params = rounded(net.init(jax.random.key(0), shape)[0])
    xs = jnp.asarray(RNG.random((steps, B, *shape)) < 0.3, jnp.float32)

    def loss(params: Any, xs: Any) -> tuple[Any, Any]:
        spikes = sj.apply(net, params, xs)[1]
        return jnp.sum(sj.rate(spikes) * (jnp.arange(spikes.shape[-1]) - 2.0)), spikes

    def both(params: Any, xs: Any) -> tuple[Any, Any]:
        grads, spikes = jax.grad(loss, has_aux=True)(params, xs)
        if twice:
            gradient = jax.grad(lambda p: loss(p, xs)[0])
            size = lambda p: sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient(p)))  # noqa: E731
            grads = jax.grad(size)(params)
        return spikes, grads

    return both, (params, xs)


def widths(case: Case) -> Case:
    """The same for eight widths at once; the case's neuron reads its decay as a width."""
    return jax.vmap(case[0], (0, *(None for _ in case[1][1:]))), (WIDTHS, *case[1][1:])


def cases() -> dict[str, tuple[Case, Case]]:
    """Every check by name: what runs on the device, and its reference on the CPU."""

    def lif(unroll: Any = neurons.lif_unroll) -> Callable[[Any], sj.Neuron]:
        return lambda decay: plain(decay=decay, unroll=unroll)

    def dense(curve: sj.Surrogate = sj.rectangular(1.0), **kwargs: Any) -> sj.Layer:  # noqa: B008
        neuron = plain(surrogate=curve)
        return sj.serial(sj.dense(40, neuron, **kwargs), sj.dense(10, neuron, **kwargs))

    def swept(width: Any) -> sj.Neuron:
        return plain(surrogate=sj.gaussian(width))

    alif = functools.partial(sj.alif, adaptation_decay=0.5, adaptation_strength=0.25)
    image = [sj.conv(4, 3, plain()), sj.avg_pool(2), sj.conv(6, 3, plain()), sj.flatten()]
    back = sj.serial(sj.dense(40, sj.recurrent(plain())), sj.dense(10, plain()))
    found = {f"lif, T={t}": lone(lif(), t) for t in (1, 7, 30, 37, 120)}
    for k in (1, 4, 16):
        found[f"lif, block={k}"] = lone(lif(functools.partial(neurons.lif_unroll, block=k)), 30)
    found |= {
        "lif, restarts": lone(lif(), 30, restarts=True),
        "lif_scan": lone(lif(neurons.lif_scan), 30),
        "lif, 8 widths": widths(lone(swept, 30)),
        "soft reset": lone(lambda d: plain(decay=d, reset=sj.soft_reset), 30),
        "alif": lone(lambda d: alif(decay=d), 30),
        "alif, restarts, block=8": lone(lambda d: alif(decay=d, block=8), 37, restarts=True),
        "current_based": lone(lambda d: sj.current_based(plain(decay=d), decay=0.5), 30),
        "leaky_integrator": lone(lambda d: sj.leaky_integrator(decay=d), 37, restarts=True),
        "dense": network(dense(), (64,)),
        "dense, second order": network(dense(sj.gaussian(0.3)), (64,), 12, twice=True),
        "bfloat16": network(dense(matmul=layers.bfloat16_matmul), (64,)),
        "recurrent": network(back, (64,)),
        "chunked": network(sj.chunked(dense(), 10, policy=neurons.keep_membranes), (64,)),
        "stepwise": network(sj.stepwise(dense()), (64,)),
        "conv": network(sj.serial(*image, sj.dense(10, plain())), (12, 12, 2), 12),
    }
    pairs = {name: (case, case) for name, case in found.items()}
    if sys.argv[1:] != ["--cpu"]:
        from stbp_jax.neurons.kernels import lif_pallas

        for t in (7, 37):
            case = lone(lif(lif_pallas), t)
            pairs[f"lif_pallas, T={t}"] = case, (lone(lif(), t)[0], case[1])
    return pairs


def on(device: jax.Device, case: Case) -> tuple[Any, float]:
    """The results of a case on a device, and the seconds that they took with compilation."""
    start = time.perf_counter()
    function, args = case
    found = jax.jit(lambda *args: function(*args))(*jax.device_put(args, device))
    return jax.tree.map(np.asarray, found), time.perf_counter() - start


def compared(name: str, device: jax.Device, case: Case, wanted: tuple[Any, Any]) -> dict[str, Any]:
    """The row of one check."""
    row: dict[str, Any] = {"check": name, "error": None, "seconds": None}
    try:
        (spikes, grads), row["seconds"] = on(device, case)
        flat = (np.concatenate([x.ravel() for x in jax.tree.leaves(g)]) for g in (grads, wanted[1]))
        got, want = flat
        row["spikes_differ"] = int((spikes != wanted[0]).sum())
        row["firing_rate"] = float(np.mean(wanted[0]))
        row["gradient_error"] = float(np.abs(got - want).max() / np.abs(want).max())
        tolerance = 1e-2 if name == "bfloat16" else 1e-5
        row["equal"] = row["spikes_differ"] == 0 and row["gradient_error"] <= tolerance
    except Exception as error:  # one failure must not hide the others
        traceback.print_exc()
        row |= {"error": f"{type(error).__name__}: {error}"[:500], "equal": False}
    return row


def main(argv: list[str]) -> int:
    """Run every check; print a line and write a row for each."""
    if argv not in ([], ["--cpu"]):
        print("usage: python -m experiments.benchmarks.cuda_check [--cpu]", file=sys.stderr)
        return 2
    cpu, device = jax.devices("cpu")[0], jax.devices()[0]
    if not argv and device.platform != "gpu":
        print("no CUDA device; --cpu checks the program without one", file=sys.stderr)
        return 2
    jax.config.update("jax_default_matmul_precision", "highest")
    with jax.default_device(cpu):
        every = cases()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wanted = dict(zip(every, pool.map(lambda c: on(cpu, c[1])[0], every.values()), strict=True))
        if argv:  # on a CPU the loop over blocks runs only if it is put in the place of the other
            jax.clear_caches()
            for name in ("unrolling", "leaky_integrator"):
                module: Any = importlib.import_module(f"stbp_jax.neurons.{name}")
                module.by_platform = lambda loop, blocks, steps, args: blocks(*args)
        check = lambda name: compared(name, device, every[name][0], wanted[name])  # noqa: E731
        rows = list(pool.map(check, every))
    path = Path(os.environ.get("OUT", ".")) / "cuda_check.jsonl"
    shared = provenance.provenance()
    shared["commit"] = shared["commit"] or os.environ.get("STBP_COMMIT")
    with path.open("a") as file:
        for row in rows:
            file.write(json.dumps(row | shared) + "\n")
            print("ok  " if row["equal"] else "FAIL", *(f"{k}={v}" for k, v in row.items()))
    return int(not all(row["equal"] for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
