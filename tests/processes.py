"""One process of several, each with two devices: `python -m tests.processes PORT COUNT INDEX`.

It trains on a batch that is spread over all processes, and sweeps points that are. Process 0 prints
one JSON object: what differs from one process with one device.
"""

import json
import sys

import jax
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import stbp_jax as sj

RNG = np.random.default_rng(0)
SET = RNG.random((32, 6)).astype(np.float32), RNG.integers(0, 3, 32)
WIDTHS = np.linspace(0.5, 2, 16, dtype=np.float32)
CONFIG = sj.TrainConfig(epochs=2, batch_size=16, eval_batch_size=16)


def build(hparams: dict, num_updates: int) -> sj.Pipeline:
    neuron = sj.lif(surrogate=sj.gaussian(hparams["width"]))
    return sj.Pipeline(
        encode=lambda key, images: sj.bernoulli(key, images, 4),
        network=sj.serial(sj.dense(8, neuron), sj.dense(3, neuron)),
        readout=sj.rate,
        loss=sj.half_squared_error,
        optimizer=optax.adam(1e-2),
    )


def difference(found: object, wanted: object) -> float:
    """The largest difference of two trees; arrays of all processes are gathered."""
    whole = multihost_utils.process_allgather(found, tiled=True)
    pairs = zip(jax.tree.leaves(whole), jax.tree.leaves(wanted), strict=True)
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for a, b in pairs)


def main(port: str, count: int, index: int) -> None:
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", count, index)
    key, keys = jax.random.key(0), jax.random.split(jax.random.key(1), 2)
    mesh = jax.make_mesh((2 * count,), ("data",))

    def on(spec: P) -> NamedSharding:
        return NamedSharding(mesh, spec)

    # The same on one device of each process; every process has the same data.
    train = sj.make_train(build, CONFIG)
    with jax.default_device(jax.local_devices()[0]):
        _, alone = jax.jit(train)(key, {"width": np.float32(1)}, SET, SET)
        lone = sj.sweep(train, keys, {"width": WIDTHS}, SET, SET)

    sets = jax.device_put((SET, SET), on(P("data")))
    with jax.set_mesh(mesh):
        _, spread = jax.jit(train)(key, {"width": np.float32(1)}, *sets)
    points = {"width": jax.device_put(WIDTHS, on(P("data")))}
    swept = sj.sweep(train, keys, points, SET, SET)
    chunks = sj.sweep(train, keys, points, SET, SET, chunk=4 * count)
    *_, (_, last) = sj.sweeps.sweep_epochs(build, CONFIG, keys, points, SET, SET)
    found = {
        "devices": len(mesh.devices),
        "training": difference(spread.test, alone.test),
        "sweep": difference(swept, lone),
        "chunks": difference(chunks, lone),
        "epochs": difference(last, jax.tree.map(lambda x: x[:, :, -1], lone)),
        "spread": len(swept.loss.sharding.device_set),
    }
    if index == 0:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
