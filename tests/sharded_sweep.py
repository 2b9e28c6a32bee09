"""A sweep over sharded points on forced host devices, for `tests/sweeps/test_sharded.py`.

A process of its own, because the number of devices is fixed when JAX starts:
`python -m tests.sharded_sweep auto explicit` prints one JSON object. The case `sixty-four`, alone,
has 64 cells on eight devices in float64.
"""

import contextlib
import importlib
import json
import sys

import jax
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import stbp_jax as sj

WIDE = sys.argv[1:] == ["sixty-four"]
DEVICES = 8 if WIDE else 4
if __name__ == "__main__":  # doctest imports the module where JAX has started
    jax.config.update("jax_num_cpu_devices", DEVICES)
    jax.config.update("jax_enable_x64", WIDE)
    jax.config.update("jax_disable_most_optimizations", True)  # it compiles faster

RNG = np.random.default_rng(0)
SET = RNG.random((8, 5)).astype(np.float32), RNG.integers(0, 3, 8).astype(np.int32)
KEYS = jax.random.split(jax.random.key(0), 2)
WIDTHS = np.linspace(0.25, 2, 32 if WIDE else 8, dtype=np.float32)
CONFIG = sj.TrainConfig(epochs=2, batch_size=4, eval_batch_size=4)


def build(hparams, num_updates):
    neuron = sj.lif(surrogate=sj.gaussian(hparams["width"]))
    return sj.Pipeline(
        encode=lambda key, images: sj.constant(images, 3),
        network=sj.dense(3, neuron),
        readout=sj.rate,
        loss=sj.half_squared_error,
        optimizer=optax.sgd(0.1, momentum=0.9),
    )


train = sj.make_train(build, CONFIG)


def spread(history, mesh, axes):
    """Whether all leaves lie on all devices of the mesh in parts, on the mesh of the points."""
    wanted = NamedSharding(mesh, P(*axes))
    return all(
        leaf.sharding.mesh == mesh and leaf.sharding.is_equivalent_to(wanted, leaf.ndim)
        for leaf in jax.tree.leaves(history)
    )


def difference(history, wanted):
    return max(
        float(np.max(np.abs(np.asarray(a) - np.asarray(b))))
        for a, b in zip(jax.tree.leaves(history), jax.tree.leaves(wanted), strict=True)
    )


def case(kind, axes, context=False, brief=False):
    """Points sharded over `h`, and keys over `s` if it is among the axes."""
    shape = (DEVICES,) if len(axes) == 1 else (2, DEVICES // 2)
    mesh = jax.make_mesh(shape, axes, axis_types=(kind,) * len(axes))
    points = {"width": jax.device_put(WIDTHS, NamedSharding(mesh, P("h")))}
    keys = jax.device_put(KEYS, NamedSharding(mesh, P("s"))) if "s" in axes else KEYS
    with jax.set_mesh(mesh) if context else contextlib.nullcontext():
        return measured(keys, points, mesh, axes, brief)


def measured(keys, points, mesh, axes, brief):
    chunks = sj.sweep(train, keys, points, SET, SET, chunk=DEVICES)
    results = {"chunks": (chunks, ALONE)}
    if not brief:
        whole = sj.sweep(train, keys, points, SET, SET)
        first = next(sj.sweeps.sweep_chunks(train, keys, points, SET, SET, chunk=4))
        epochs = sj.sweeps.sweep_epochs(build, CONFIG, keys, points, SET, SET, chunk=4)
        states, _ = next(epochs)
        ((_, last),) = sj.sweeps.sweep_epochs(
            build, CONFIG, keys, points, SET, SET, states=states, chunk=4
        )
        results |= {
            "whole": (whole, ALONE),
            "first part": (first, jax.tree.map(lambda x: x[:4], ALONE)),
            "resumed": (last, jax.tree.map(lambda x: x[:, :, -1], ALONE)),
        }
    return {
        "spread": {name: spread(x, mesh, axes) for name, (x, _) in results.items()},
        "differences": {name: difference(*both) for name, both in results.items()},
        "collectives": collectives(keys, points),
    }


def collectives(keys, points):
    """The kinds of communication in the compiled program of the sweep."""
    sweeps = importlib.import_module("stbp_jax.sweeps.sweep")
    where = sweeps.placement(points, keys)
    keys, points = sweeps.on_auto_axes((keys, points))
    with sweeps.running(where):
        cells = sweeps._histories(train, None, "cpu", where)
        text = cells.lower(keys, points, SET, SET).compile().as_text()
    kinds = ("all-gather", "all-reduce", "all-to-all", "collective-permute")
    return [kind for kind in kinds if f" {kind}(" in text or f" {kind}-start(" in text]


if __name__ == "__main__":
    ALONE = sj.sweep(train, KEYS, {"width": WIDTHS}, SET, SET)
    cases = {
        "brief": (AxisType.Explicit, ("h", "s"), False, True),
        "auto": (AxisType.Auto, ("h",)),
        "sixty-four": (AxisType.Auto, ("h",), False, True),
        "explicit": (AxisType.Explicit, ("h", "s")),
        "explicit in its context": (AxisType.Explicit, ("h",), True),
    }
    print(json.dumps({name: case(*cases[name]) for name in sys.argv[1:]}))
