"""Pictures and sounds of the same things: a network each, a joint one, and auxiliary losses."""

import jax
import jax.numpy as jnp
import optax

import stbp_jax as sj

STEPS, EXAMPLES, CLASSES, AUXILIARY = 12, 64, 8, 0.3
neuron = sj.lif(decay=0.5, surrogate=sj.sigmoid(0.25))
integrator = sj.leaky_integrator(decay=0.5)
seeing = sj.serial(sj.conv(4, 3, neuron), sj.flatten(), sj.dense(24, neuron))
hearing = sj.dense(24, sj.alif(decay=0.5, surrogate=sj.sigmoid(0.25)))
joint = sj.serial(sj.dense(24, neuron), sj.dense(CLASSES, integrator))
net = sj.serial(
    sj.parallel(seeing, hearing),
    sj.layers.rearrange(lambda senses: (*senses, jnp.concatenate(senses, axis=-1))),
    sj.parallel(sj.dense(CLASSES // 2, integrator), sj.dense(2, integrator), joint),
)
optimizer = optax.adam(3e-3)
pictures = jax.random.uniform(jax.random.key(1), (CLASSES // 2, 8, 8, 1))
sounds = jax.random.uniform(jax.random.key(2), (2, 20))


def draw(key):
    k_label, k_picture, k_sound = jax.random.split(key, 3)
    label = jax.random.randint(k_label, (EXAMPLES,), 0, CLASSES)
    picture = pictures[label // 2] + 0.1 * jax.random.normal(k_picture, (EXAMPLES, 8, 8, 1))
    chances = jnp.broadcast_to(sounds[label % 2], (STEPS, EXAMPLES, 20))
    return (sj.constant(picture, STEPS), jax.random.bernoulli(k_sound, chances)), label


def loss_of(params, senses, label):
    seen, heard, both = map(sj.rate, sj.apply(net, params, senses)[1])
    loss = sj.cross_entropy(both, label)
    loss += AUXILIARY * sj.cross_entropy(seen, label // 2)
    loss += AUXILIARY * sj.cross_entropy(heard, label % 2)
    return loss.mean(), sj.metrics.accuracy(both, label)


@jax.jit
def update(params, opt_state, key):
    grads, accuracy = jax.grad(loss_of, has_aux=True)(params, *draw(key))
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, accuracy


def start(key):
    params, _ = net.init(key, ((8, 8, 1), (20,)))
    return params, optimizer.init(params), key


def main(num_updates=100):
    params, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, num_updates):
        params, opt_state, accuracy = update(params, opt_state, k)
    assert accuracy > 0.9
