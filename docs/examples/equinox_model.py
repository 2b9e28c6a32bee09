"""A spiking network as a part of an Equinox model, trained with its filters."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import stbp_jax as sj

STEPS, EXAMPLES = 12, 64
optimizer = optax.adam(3e-3)
patterns = jax.random.uniform(jax.random.key(1), (4, 20))


class Classifier(eqx.Module):
    """A spiking body and a linear head."""

    params: tuple
    head: eqx.nn.Linear
    net: sj.Layer = eqx.field(static=True)

    def __init__(self, net, shape, classes, *, key):
        k_body, k_head = jax.random.split(key)
        self.net = net
        self.params, (features,) = net.init(k_body, shape)
        self.head = eqx.nn.Linear(features, classes, key=k_head)

    def __call__(self, xs):
        _, spikes = sj.apply(self.net, self.params, xs)
        return jax.vmap(self.head)(sj.rate(spikes))


@eqx.filter_value_and_grad
def loss_of(model, key):
    k_label, k_noise = jax.random.split(key)
    label = jax.random.randint(k_label, (EXAMPLES,), 0, 4)
    images = patterns[label] + 0.1 * jax.random.normal(k_noise, (EXAMPLES, 20))
    scores = model(sj.constant(jnp.clip(images, 0, 1), STEPS))
    return sj.cross_entropy(scores, label).mean()


@eqx.filter_jit
def update(model, opt_state, key):
    loss, grads = loss_of(model, key)
    updates, opt_state = optimizer.update(grads, opt_state)
    return eqx.apply_updates(model, updates), opt_state, loss


def start(key):
    net = sj.serial(sj.dense(40, sj.lif()), sj.dense(40, sj.alif()))
    model = Classifier(net, (20,), 4, key=key)
    return model, optimizer.init(eqx.filter(model, eqx.is_array)), key


def main(num_updates=100):
    model, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, num_updates):
        model, opt_state, loss = update(model, opt_state, k)
    assert loss < 0.1  # chance is 1.4
