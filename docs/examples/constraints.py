"""An autoencoder with a local mask, Dale's law inside, and a decoder tied to the encoder."""

import jax
import jax.numpy as jnp
import optax

import stbp_jax as sj

STEPS, INPUTS, HIDDEN = 12, 16, 48
SIGNS = jnp.where(jnp.arange(HIDDEN) < 0.8 * HIDDEN, 1.0, -1.0)  # 80 % of the units excite
PLACES = jnp.arange(HIDDEN) * INPUTS / HIDDEN
MASK = jnp.abs(jnp.arange(INPUTS)[:, None] - PLACES[None]) < 3  # a unit sees its neighborhood
BASIS = 2 * jax.random.normal(jax.random.key(1), (4, INPUTS))


def local(kernel):
    return kernel * MASK


def dale(kernel):
    return jnp.abs(kernel) * SIGNS[:, None]


neuron = sj.lif(decay=0.5, surrogate=sj.sigmoid(0.25))
encoder = sj.dense(HIDDEN, neuron, constraint=local)
net = sj.serial(encoder, sj.dense(HIDDEN, neuron, constraint=dale), sj.dense(INPUTS))
optimizer = optax.adam(3e-3)


def tied(params):
    """Give the decoder the weights of the encoder."""
    first, second, last = params
    kernel = local(first.synapse.kernel).T
    return first, second, last._replace(synapse=last.synapse._replace(kernel=kernel))


def loss_of(params, images):
    _, outs = sj.apply(net, tied(params), sj.constant(images, STEPS))
    return jnp.mean((sj.rate(outs) - images) ** 2)


@jax.jit
def update(params, opt_state, key):
    images = jax.nn.sigmoid(jax.random.normal(key, (64, 4)) @ BASIS)
    loss, grads = jax.value_and_grad(loss_of)(params, images)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss


def start(key):
    params, _ = net.init(key, (INPUTS,))
    return params, optimizer.init(params), key


def main(num_updates=150):
    params, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, num_updates):
        params, opt_state, loss = update(params, opt_state, k)
    assert loss < 0.03  # the variance of the images is 0.1
