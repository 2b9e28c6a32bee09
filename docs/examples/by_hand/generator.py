"""Training on a generator by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

STEPS, EXAMPLES, CHANNELS, CLASSES = 20, 64, 100, 5
DECAY, THRESHOLD, FILTER = 0.5, 0.5, 0.9
optimizer = optax.adam(2e-3)


@jax.custom_vjp
def spike(v):
    return (v >= 0).astype(v.dtype)


spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g * (jnp.abs(v) < 0.5),))


def recordings(seed):
    """Yield batches without end, as a reader of many files does."""
    random = np.random.default_rng(seed)
    chances = 0.2 * np.random.default_rng(0).random((CLASSES, CHANNELS))
    while True:
        labels = random.integers(0, CLASSES, EXAMPLES)
        spikes = random.random((EXAMPLES, STEPS, CHANNELS)) < chances[labels][:, None]
        yield np.packbits(spikes, axis=-1), labels  # a bit for each step and channel


def ahead(batches):
    """Copy each batch to the device while the one before is in use."""
    batches = map(jax.device_put, batches)
    later = next(batches)
    for batch in batches:
        yield later
        later = batch


def run(params, xs):
    (w1, b1), (w2, b2) = params

    def step(state, x):
        u, z, y = state
        u = DECAY * u * (1 - z) + x @ w1 + b1
        z = spike(u - THRESHOLD)
        y = FILTER * y + z @ w2 + b2
        return (u, z, y), y

    rest = tuple(jnp.zeros((xs.shape[1], len(b))) for b in (b1, b1, b2))
    return jax.lax.scan(step, rest, xs.astype(jnp.float32))[1]


def loss_of(params, packed, labels):
    spikes = jnp.unpackbits(packed, axis=-1, count=CHANNELS).swapaxes(0, 1)
    scores = run(params, spikes).mean(0)
    loss = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
    return loss, jnp.mean(jnp.argmax(scores, axis=-1) == labels)


@jax.jit
def update(params, opt_state, packed, labels):
    grads, accuracy = jax.grad(loss_of, has_aux=True)(params, packed, labels)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, accuracy


def uniform(key, fan_in, fan_out):
    k_kernel, k_bias = jax.random.split(key)
    bound = fan_in**-0.5
    kernel = jax.random.uniform(k_kernel, (fan_in, fan_out), minval=-bound, maxval=bound)
    return kernel, jax.random.uniform(k_bias, (fan_out,), minval=-bound, maxval=bound)


def start(key):
    k_hidden, k_out = jax.random.split(key)
    params = [uniform(k_hidden, CHANNELS, 64), uniform(k_out, 64, CLASSES)]
    return params, optimizer.init(params), *next(ahead(recordings(1)))


def main(num_updates=100):
    params, opt_state, *_ = start(jax.random.key(0))
    for _, (packed, labels) in zip(range(num_updates), ahead(recordings(2))):
        params, opt_state, accuracy = update(params, opt_state, packed, labels)
    assert accuracy > 0.9
