"""Two modalities by hand."""

import math

import jax
import jax.numpy as jnp
import optax

STEPS, EXAMPLES, CLASSES, AUXILIARY = 12, 64, 8, 0.3
DECAY, THRESHOLD, ADAPTATION_DECAY, ADAPTATION = 0.5, 0.5, 0.95, 0.1
optimizer = optax.adam(3e-3)
pictures = jax.random.uniform(jax.random.key(1), (CLASSES // 2, 8, 8, 1))
sounds = jax.random.uniform(jax.random.key(2), (2, 20))


@jax.custom_vjp
def spike(v):
    return (v >= 0).astype(v.dtype)


def spike_backward(v, g):
    s = jax.nn.sigmoid(v / 0.25)
    return (g * s * (1 - s) / 0.25,)


spike.defvjp(lambda v: (spike(v), v), spike_backward)


def draw(key):
    k_label, k_picture, k_sound = jax.random.split(key, 3)
    label = jax.random.randint(k_label, (EXAMPLES,), 0, CLASSES)
    picture = pictures[label // 2] + 0.1 * jax.random.normal(k_picture, (EXAMPLES, 8, 8, 1))
    chances = jnp.broadcast_to(sounds[label % 2], (STEPS, EXAMPLES, 20))
    sound = jax.random.bernoulli(k_sound, chances).astype(jnp.float32)
    return jnp.broadcast_to(picture, (STEPS, *picture.shape)), sound, label


def run(params, picture, sound):
    seeing, hearing, heads, both = params

    def lif(u, z, current):
        u = DECAY * u * (1 - z) + current
        return u, spike(u - THRESHOLD)

    def step(state, now):
        u1, z1, u2, z2, u3, z3, a3, u4, z4, joint, seen, heard = state
        x, s = now
        numbers = ("NHWC", "HWIO", "NHWC")
        (w, b), (w2, b2) = seeing
        current = jax.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=numbers)
        u1, z1 = lif(u1, z1, current + b)
        u2, z2 = lif(u2, z2, z1.reshape(len(z1), -1) @ w2 + b2)
        w, b = hearing
        a3 = ADAPTATION_DECAY * a3 + z3
        u3 = DECAY * u3 * (1 - z3) + s @ w + b
        z3 = spike(u3 - THRESHOLD - ADAPTATION * a3)
        (w4, b4), (w5, b5) = both
        u4, z4 = lif(u4, z4, jnp.concatenate([z2, z3], axis=-1) @ w4 + b4)
        joint = DECAY * joint + z4 @ w5 + b5
        (w6, b6), (w7, b7) = heads
        seen = DECAY * seen + z2 @ w6 + b6
        heard = DECAY * heard + z3 @ w7 + b7
        outs = joint, seen, heard
        return (u1, z1, u2, z2, u3, z3, a3, u4, z4, *outs), outs

    shapes = [(6, 6, 4)] * 2 + [(24,)] * 7 + [(CLASSES,), (CLASSES // 2,), (2,)]
    rest = tuple(jnp.zeros((EXAMPLES, *shape)) for shape in shapes)
    return jax.lax.scan(step, rest, (picture, sound))[1]


def loss_of(params, picture, sound, label):
    both, seen, heard = (outs.mean(0) for outs in run(params, picture, sound))
    entropy = optax.softmax_cross_entropy_with_integer_labels
    loss = entropy(both, label)
    loss += AUXILIARY * (entropy(seen, label // 2) + entropy(heard, label % 2))
    return loss.mean(), jnp.mean(jnp.argmax(both, axis=-1) == label)


@jax.jit
def update(params, opt_state, key):
    grads, accuracy = jax.grad(loss_of, has_aux=True)(params, *draw(key))
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, accuracy


def uniform(key, *shape):
    k_kernel, k_bias = jax.random.split(key)
    bound = math.prod(shape[:-1]) ** -0.5
    kernel = jax.random.uniform(k_kernel, shape, minval=-bound, maxval=bound)
    return kernel, jax.random.uniform(k_bias, shape[-1:], minval=-bound, maxval=bound)


def start(key):
    keys = jax.random.split(key, 7)
    params = (
        [uniform(keys[0], 3, 3, 1, 4), uniform(keys[1], 144, 24)],
        uniform(keys[2], 20, 24),
        [uniform(keys[3], 24, CLASSES // 2), uniform(keys[4], 24, 2)],
        [uniform(keys[5], 48, 24), uniform(keys[6], 24, CLASSES)],
    )
    return params, optimizer.init(params), key


def main(num_updates=100):
    params, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, num_updates):
        params, opt_state, accuracy = update(params, opt_state, k)
    assert accuracy > 0.9
