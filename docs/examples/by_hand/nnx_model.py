"""The NNX model by hand."""

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
from flax import nnx

STEPS, EXAMPLES, DECAY, THRESHOLD = 12, 64, 0.2, 0.5
patterns = jax.random.uniform(jax.random.key(1), (4, 20))


@jax.custom_vjp
def spike(v):
    return (v >= 0).astype(v.dtype)


spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g * (jnp.abs(v) < 0.5),))


class Spiking(nnx.Module):
    """Two layers of spiking neurons."""

    def __init__(self, inputs, sizes, rngs):
        self.first = nnx.Linear(inputs, sizes[0], rngs=rngs)
        self.second = nnx.Linear(*sizes, rngs=rngs)

    def __call__(self, xs):
        def step(state, x):
            u1, z1, u2, z2 = state
            u1 = DECAY * u1 * (1 - z1) + self.first(x)
            z1 = spike(u1 - THRESHOLD)
            u2 = DECAY * u2 * (1 - z2) + self.second(z1)
            z2 = spike(u2 - THRESHOLD)
            return (u1, z1, u2, z2), z2

        layers = self.first, self.first, self.second, self.second
        rest = tuple(jnp.zeros((xs.shape[1], layer.out_features)) for layer in layers)
        return jax.lax.scan(step, rest, xs)[1]


class Classifier(nnx.Module):
    """A spiking body and a linear head."""

    def __init__(self, rngs):
        self.body = Spiking(20, (40, 40), rngs)
        self.head = nnx.Linear(40, 4, rngs=rngs)

    def __call__(self, xs):
        return self.head(self.body(xs).mean(0))


@nnx.jit
def update(model, optimizer, key):
    k_label, k_noise = jax.random.split(key)
    label = jax.random.randint(k_label, (EXAMPLES,), 0, 4)
    images = patterns[label] + 0.1 * jax.random.normal(k_noise, (EXAMPLES, 20))
    xs = jnp.broadcast_to(images, (STEPS, *images.shape))
    entropy = optax.softmax_cross_entropy_with_integer_labels
    loss, grads = nnx.value_and_grad(lambda m: entropy(m(xs), label).mean())(model)
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
    xs = jnp.broadcast_to(patterns, (STEPS, 4, 20))
    assert jnp.array_equal(model(xs), other(xs))
