"""Networks on meshes of forced host devices: prints what differs from one device, and collectives.

A process of its own, because the number of devices is fixed when JAX starts:
`python -m tests.mesh_program 8 dense training` prints one JSON object.
"""

import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import stbp_jax as sj

T, B = 7, 16
KINDS = "all-gather|all-reduce|all-to-all|collective-permute"
BATCH = P(None, "data")


def adaptive():
    """Adaptive, recurrent and current-based neurons, learned decays, an integrator."""
    learned = sj.learnable_decay(lambda d: sj.lif(decay=d), sj.neurons.per_neuron(0.2, 0.8))
    return sj.serial(
        sj.dense(6, sj.alif()),
        sj.dense(5, sj.recurrent(sj.lif())),
        sj.dense(5, sj.current_based(learned, decay=0.5)),
        sj.dense(4, sj.leaky_integrator(decay=0.5)),
    )


def images():
    """Convolutions, both poolings and a product in bfloat16."""
    return sj.serial(
        sj.conv(3, 3, sj.lif()),
        sj.avg_pool(2),
        sj.conv(2, 2, sj.lif(), padding="same"),
        sj.max_pool(2),
        sj.flatten(),
        sj.dense(4, sj.lif(), matmul=sj.layers.bfloat16_matmul),
    )


def reference():
    """The reference unroll, the schedules and combinators, and the other products."""
    split, event = sj.layers.split_bfloat16_matmul, sj.layers.event_driven_matmul
    return sj.serial(
        sj.residual(sj.dense(5, sj.lif(unroll=sj.neurons.lif_scan), inputs=sj.layers.static_input)),
        sj.concatenate(sj.dense(4, sj.lif(), matmul=split), sj.dense(3, sj.lif(), matmul=event)),
        sj.stepwise(sj.dense(4, sj.lif())),
    )


def combined():
    """Feedback, tied weights, parallel parts, and a convolution with a stride and a product."""
    layers = sj.layers
    loop = sj.serial(layers.spiking(layers.identity, sj.lif()), sj.dense(4, sj.lif()))
    layer = sj.dense(4, sj.lif())
    return sj.serial(
        sj.conv(2, 3, sj.lif(), stride=2, matmul=layers.bfloat16_matmul),
        sj.flatten(),
        sj.dense(6),
        layers.feedback(loop, sj.dense(6)),
        layers.tied(sj.serial(layer, layer), where=lambda p: p[1], get=lambda p: p[0]),
        layers.rearrange(lambda x: (x, x[..., :2])),
        sj.parallel(sj.dense(3, sj.lif()), sj.dense(2, sj.lif())),
        layers.rearrange(lambda ys: jnp.concatenate(ys, -1)),
    )


NETWORKS = {
    "dense": (lambda: sj.serial(sj.dense(6, sj.lif()), sj.dense(4, sj.lif())), (5,)),
    "adaptive": (adaptive, (5,)),
    "chunked": (lambda: sj.chunked(adaptive(), 3), (5,)),
    "truncated": (lambda: sj.truncated(adaptive(), 3), (5,)),
    "images": (images, (10, 10, 2)),
    "reference": (reference, (5,)),
    "combined": (combined, (7, 7, 2)),
}


def difference(got, wanted):
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True)
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for a, b in pairs)


def collectives(compiled):
    """Every collective of a compiled program: its kind, and its largest number of elements."""
    found = {}
    for line in compiled.as_text().splitlines():
        match = re.search(
            r" (all-gather|all-reduce|all-to-all|collective-permute)(-start)?\(", line
        )
        if match:
            shapes = re.findall(r"\w+\[([\d,]*)\]", line.split(match[0])[0])
            sizes = [int(np.prod([int(n) for n in s.split(",") if n])) for s in shapes]
            found.setdefault(match[1], []).append(max(sizes))
    return found


def network(name, devices):
    make, shape = NETWORKS[name]
    net = make()
    params, _ = net.init(jax.random.key(0), shape)
    drawn = jax.random.bernoulli(
        jax.random.key(1), 0.5, (1 if name == "reference" else T, B, *shape)
    )
    xs = jnp.broadcast_to(3.0 * drawn, (T, *drawn.shape[1:]))
    first = jax.random.bernoulli(jax.random.key(2), 0.2, (T, B))

    def loss(params, xs, first):
        outs = sj.apply(net, params, xs, is_first=first)[1]
        return jnp.mean(outs**2), outs

    def gradient(params, xs, first):
        (_, outs), grads = jax.value_and_grad(loss, has_aux=True)(params, xs, first)
        return outs, grads

    def local(params, xs, first):
        def mean(params, xs, first):
            value, outs = loss(params, xs, first)
            return jax.lax.pmean(value, "data"), outs

        (_, outs), grads = jax.value_and_grad(mean, has_aux=True)(params, xs, first)
        return outs, grads

    wanted = jax.jit(gradient)(params, xs, first)
    report = {}
    for mode, kind in (("auto", AxisType.Auto), ("explicit", None), ("shard_map", None)):
        types = {} if kind is None else {"axis_types": (kind,)}
        mesh = jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices], **types)
        where = [NamedSharding(mesh, spec) for spec in (P(), BATCH, BATCH)]
        args = [jax.device_put(x, s) for x, s in zip((params, xs, first), where, strict=True)]
        run = gradient
        if mode == "shard_map":
            run = jax.shard_map(local, in_specs=(P(), BATCH, BATCH), out_specs=(BATCH, P()))
        with jax.set_mesh(mesh):
            program = jax.jit(run).lower(*args).compile()
            report[mode] = {
                "difference": difference(program(*args), wanted),
                "collectives": collectives(program),
            }
    return report


def training(devices):
    """A run on sets that are sharded over examples, and seeds that are sharded by `shard_map`."""

    def build(h, num_updates):
        net = sj.serial(sj.flatten(), sj.dense(12, sj.lif()), sj.dense(4, sj.lif()))
        encode = lambda key, x: sj.bernoulli(key, x, 6)  # noqa: E731
        return sj.Pipeline(encode, net, sj.rate, sj.half_squared_error, optax.adam(h["lr"]))

    rng = np.random.default_rng(0)
    sets = [
        (jnp.asarray(rng.random((n, 4, 4), np.float32)), jnp.asarray(rng.integers(0, 4, n)))
        for n in (64, 40)
    ]
    hparams = {"lr": jnp.float32(0.01)}
    train = sj.make_train(build, sj.TrainConfig(epochs=2, batch_size=16, eval_batch_size=16))
    seeds = jax.vmap(train, (0, None, None, None))
    key, keys = jax.random.key(0), jax.random.split(jax.random.key(5), 8)
    wanted = jax.jit(train)(key, hparams, *sets)
    wanted_seeds = jax.jit(seeds)(keys, hparams, *sets)
    mesh = jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices])
    with jax.set_mesh(mesh):
        program = jax.jit(train).lower(key, hparams, *jax.device_put(sets, P("data"))).compile()
        got = program(key, hparams, *jax.device_put(sets, P("data")))
        specs = (P("data"), P(), P(), P())
        sharded = jax.jit(jax.shard_map(seeds, in_specs=specs, out_specs=P("data")))
        got_seeds = sharded(jax.device_put(keys, P("data")), hparams, *jax.device_put(sets, P()))
    return {
        "explicit": {
            "difference": difference((got[0].params, got[1]), (wanted[0].params, wanted[1])),
            "collectives": collectives(program),
        },
        "shard_map": {
            "difference": difference(got_seeds[0].params, wanted_seeds[0].params),
            "collectives": {},
        },
    }


def main():
    jax.config.update("jax_num_cpu_devices", 8)
    devices = int(sys.argv[1])
    found = {
        name: training(devices) if name == "training" else network(name, devices)
        for name in sys.argv[2:]
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
