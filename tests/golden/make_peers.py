"""Make the files of networks of other libraries: snntorch.npz, norse.npz and so on.

    python tests/golden/make_peers.py snntorch norse spikingjelly_defaults
    python tests/golden/make_peers.py spyx

README.md says how to make the two environments. Every case is a dense network 20 -> 30 -> 10 in
float32 at the library's defaults, but for the settings in its name, with T = 50 and batch 4.
"""

import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

T, BATCH, SIZES = 50, 4, (20, 30, 10)
BETA, ALPHA = 0.9, 0.8
Arrays = dict[str, np.ndarray]


def data(scale: float) -> Arrays:
    """Input spikes, targets, weights `[out, in]` and biases; no membrane meets a threshold."""
    rng = np.random.default_rng(7)
    arrays = {"x": rng.random((T, BATCH, SIZES[0])) < 0.3, "y": rng.random((BATCH, SIZES[2]))}
    for n, (rows, columns) in (("1", (SIZES[1], SIZES[0])), ("2", (SIZES[2], SIZES[1]))):
        arrays[f"w{n}"] = scale * rng.uniform(-0.1, 0.2, (rows, columns))
        arrays[f"b{n}"] = scale * rng.uniform(-0.03, 0.07, rows)
    return {name: x.astype(np.float32) for name, x in arrays.items()}


def by_torch(
    make: Callable[..., Any], call: Callable[..., Any], scale: float, recurrent: bool = False
) -> Arrays:
    """Run two Linear and two neurons; `call(neuron, current, state) -> (spikes, state)`.

    With `recurrent`, `make` takes a number of units; the weights between them are `r`, without a
    bias.
    """
    import torch

    given = data(scale)
    if recurrent:
        rng = np.random.default_rng(8)
        for n, units in zip("12", SIZES[1:], strict=True):
            given[f"r{n}"] = rng.uniform(-0.1, 0.1, (units, units)).astype(np.float32)
    p = {k: torch.tensor(v, requires_grad=k[0] in "wbr") for k, v in given.items()}
    neurons, states = [make(units) if recurrent else make() for units in SIZES[1:]], [None, None]
    if recurrent:
        for n, neuron in zip("12", neurons, strict=True):
            neuron.recurrent = lambda x, n=n: torch.nn.functional.linear(x, p[f"r{n}"])
    spikes: list[list[Any]] = [[], []]
    for x in p["x"]:
        for i, n in enumerate("12"):
            current = torch.nn.functional.linear(x, p[f"w{n}"], p[f"b{n}"])
            x, states[i] = call(neurons[i], current, states[i])
            spikes[i].append(x)
    o1, o2 = map(torch.stack, spikes)
    loss = ((o2.mean(0) - p["y"]) ** 2).sum() / (2 * BATCH)
    loss.backward()
    grads = {f"grad_{k}": v.grad.numpy() for k, v in p.items() if v.requires_grad}
    return given | {"o1": o1.detach().numpy(), "o2": o2.detach().numpy()} | grads


def snntorch() -> dict[str, Arrays]:
    """`Leaky`, `Synaptic` and `RLeaky`."""
    import snntorch as snn

    def call(neuron: Any, current: Any, state: Any) -> Any:
        spikes, *state = neuron(current, *(state or ()))
        return spikes, state

    def rleaky(units: int, **settings: Any) -> Any:
        neuron = snn.RLeaky(BETA, linear_features=units, **settings)
        del neuron.recurrent  # for that of `by_torch`
        return neuron

    def call_rleaky(neuron: Any, current: Any, state: Any) -> Any:
        spikes, membrane = neuron(current, *(state or ()))
        return spikes, (spikes, membrane)

    zero: Any = {"reset_mechanism": "zero"}
    at_once: Any = {"reset_delay": False}
    return {
        "subtract": by_torch(lambda: snn.Leaky(BETA), call, 1.0),
        "zero": by_torch(lambda: snn.Leaky(BETA, reset_mechanism="zero"), call, 1.0),
        "none": by_torch(lambda: snn.Leaky(BETA, reset_mechanism="none"), call, 0.4),
        "no_delay": by_torch(lambda: snn.Leaky(BETA, reset_delay=False), call, 0.7),
        "no_delay_zero": by_torch(lambda: snn.Leaky(BETA, **zero, **at_once), call, 1.0),
        "no_delay_above_two": by_torch(lambda: snn.Leaky(BETA, **at_once), call, 1.5),
        "synaptic": by_torch(lambda: snn.Synaptic(ALPHA, BETA), call, 0.25),
        "synaptic_zero": by_torch(lambda: snn.Synaptic(ALPHA, BETA, **zero), call, 0.25),
        "rleaky": by_torch(rleaky, call_rleaky, 1.0, recurrent=True),
        "rleaky_zero": by_torch(lambda n: rleaky(n, **zero), call_rleaky, 1.0, recurrent=True),
    }


def norse() -> dict[str, Arrays]:
    """`LIFCell` and `LIFBoxCell`."""
    import norse.torch as norse

    def call(neuron: Any, current: Any, state: Any) -> Any:
        return neuron(current, state)

    return {
        "lif": by_torch(norse.LIFCell, call, 2.0),
        "box": by_torch(norse.LIFBoxCell, call, 8.0),
    }


def spikingjelly_defaults() -> dict[str, Arrays]:
    """`LIFNode` and `ParametricLIFNode`, which scale their input by 1/tau."""
    from spikingjelly.activation_based import neuron

    def call(neuron: Any, current: Any, state: Any) -> Any:
        return neuron(current), None

    return {
        "hard": by_torch(neuron.LIFNode, call, 4.0),
        "soft": by_torch(lambda: neuron.LIFNode(v_reset=None), call, 4.0),
        "parametric": by_torch(lambda: neuron.ParametricLIFNode(init_tau=4.0), call, 8.0),
    }


def spyx() -> dict[str, Arrays]:
    """`LIF` and `CuBaLIF` under `spyx.nn.run`."""
    import jax
    import jax.numpy as jnp
    import spyx.nn
    from flax import nnx

    def run(make: Callable[[int], Any], scale: float) -> Arrays:
        given = data(scale)

        def forward(p: Any) -> Any:
            o1, outs = given["x"], []
            for n, units in zip("12", SIZES[1:], strict=True):
                o1, _ = spyx.nn.run(make(units), o1 @ p[f"w{n}"].T + p[f"b{n}"])
                outs.append(o1)
            return jnp.sum((outs[1].mean(0) - given["y"]) ** 2) / (2 * BATCH), outs

        p = {k: jnp.asarray(v) for k, v in given.items() if k[0] in "wb"}
        (_, (o1, o2)), grads = jax.value_and_grad(forward, has_aux=True)(p)
        found = {"o1": o1, "o2": o2} | {f"grad_{k}": v for k, v in grads.items()}
        return given | {k: np.asarray(v) for k, v in found.items()}

    rngs = nnx.Rngs(0)
    return {
        "lif": run(lambda n: spyx.nn.LIF((n,), beta=BETA, rngs=rngs), 1.0),
        "cuba": run(lambda n: spyx.nn.CuBaLIF((n,), alpha=ALPHA, beta=BETA, rngs=rngs), 0.25),
    }


def main() -> None:
    for name in sys.argv[1:]:
        package = name.partition("_")[0]
        arrays: Arrays = {"version": np.array(f"{package} {version(package)}")}
        for case, found in globals()[name]().items():
            rates = [round(float(found[o].mean()), 3) for o in ("o1", "o2")]
            live = [round(float((found[f"grad_w{n}"] != 0).mean()), 2) for n in "12"]
            print(name, case, "rates", rates, "gradients that are not 0", live)
            if not all(0.02 < rate < 0.7 for rate in rates):
                raise SystemExit("choose another scale")
            for key in ("x", "o1", "o2"):
                found[key] = found[key].astype(np.uint8)
            arrays |= {f"{case}/{key}": value for key, value in found.items()}
        file = Path(__file__).with_name(f"{name}.npz")
        np.savez_compressed(file, allow_pickle=False, **arrays)
        print(file, file.stat().st_size, "bytes", arrays["version"])


if __name__ == "__main__":
    main()
