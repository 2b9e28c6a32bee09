"""A spiking network as a part of an NNX model, saved and restored by Orbax."""

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
from flax import nnx

import stbp_jax as sj
from stbp_jax.bridges.nnx import Spiking

STEPS, EXAMPLES = 12, 64
net = sj.serial(sj.dense(40, sj.lif()), sj.dense(40, sj.lif()))
patterns = jax.random.uniform(jax.random.key(1), (4, 20))


class Classifier(nnx.Module):
    """A spiking body and a linear head."""

    def __init__(self, rngs):
        self.body = Spiking(net, (20,), rngs=rngs)
        self.head = nnx.Linear(40, 4, rngs=rngs)

    def __call__(self, xs):
        _, spikes = self.body(xs)
        return self.head(sj.rate(spikes))


@nnx.jit
def update(model, optimizer, key):
    k_label, k_noise = jax.random.split(key)
    label = jax.random.randint(k_label, (EXAMPLES,), 0, 4)
    xs = sj.constant(patterns[label] + 0.1 * jax.random.normal(k_noise, (EXAMPLES, 20)), STEPS)
    loss, grads = nnx.value_and_grad(lambda m: sj.cross_entropy(m(xs), label).mean())(model)
    optimizer.update(model, grads)
    return loss


def start(key):
    model = Classifier(nnx.Rngs(key))
    return model, nnx.Optimizer(model, optax.adam(3e-3), wrt=nnx.Param), key


def main(num_updates=100):
    model, optimizer, key = start(jax.random.key(0))
    for k in jax.random.split(key, num_updates):
        loss = update(model, optimizer, k)
    assert loss < 0.1  # chance is 1.4

    with tempfile.TemporaryDirectory() as folder, ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(folder) / "model", nnx.state(model))
        other, _, _ = start(jax.random.key(1))
        checkpointer.wait_until_finished()
        nnx.update(other, checkpointer.restore(Path(folder) / "model", nnx.state(other)))
    xs = sj.constant(patterns, STEPS)
    assert jnp.array_equal(model(xs), other(xs))
