"""The Equinox model by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

STEPS, EXAMPLES = 12, 64
DECAY, THRESHOLD, ADAPTATION_DECAY, ADAPTATION = 0.2, 0.5, 0.95, 0.1
optimizer = optax.adam(3e-3)
patterns = jax.random.uniform(jax.random.key(1), (4, 20))


@jax.custom_vjp
def spike(v):
    return (v >= 0).astype(v.dtype)


spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g * (jnp.abs(v) < 0.5),))


def uniform(key, fan_in, fan_out):
    k_kernel, k_bias = jax.random.split(key)
    bound = fan_in**-0.5
    kernel = jax.random.uniform(k_kernel, (fan_in, fan_out), minval=-bound, maxval=bound)
    return kernel, jax.random.uniform(k_bias, (fan_out,), minval=-bound, maxval=bound)


class Classifier(eqx.Module):
    """A spiking body and a linear head."""

    params: tuple
    head: eqx.nn.Linear

    def __init__(self, inputs, sizes, classes, *, key):
        k_first, k_second, k_head = jax.random.split(key, 3)
        self.params = uniform(k_first, inputs, sizes[0]), uniform(k_second, *sizes)
        self.head = eqx.nn.Linear(sizes[1], classes, key=k_head)

    def __call__(self, xs):
        (w1, b1), (w2, b2) = self.params

        def step(state, x):
            u1, z1, u2, z2, a2 = state
            u1 = DECAY * u1 * (1 - z1) + x @ w1 + b1
            z1 = spike(u1 - THRESHOLD)
            a2 = ADAPTATION_DECAY * a2 + z2
            u2 = DECAY * u2 * (1 - z2) + z1 @ w2 + b2
            z2 = spike(u2 - THRESHOLD - ADAPTATION * a2)
            return (u1, z1, u2, z2, a2), z2

        rest = tuple(jnp.zeros((xs.shape[1], len(b))) for b in (b1, b1, b2, b2, b2))
        return jax.vmap(self.head)(jax.lax.scan(step, rest, xs)[1].mean(0))


@eqx.filter_value_and_grad
def loss_of(model, key):
    k_label, k_noise = jax.random.split(key)
    label = jax.random.randint(k_label, (EXAMPLES,), 0, 4)
    images = patterns[label] + 0.1 * jax.random.normal(k_noise, (EXAMPLES, 20))
    images = jnp.clip(images, 0, 1)
    scores = model(jnp.broadcast_to(images, (STEPS, *images.shape)))
    return optax.softmax_cross_entropy_with_integer_labels(scores, label).mean()


@eqx.filter_jit
def update(model, opt_state, key):
    loss, grads = loss_of(model, key)
    updates, opt_state = optimizer.update(grads, opt_state)
    return eqx.apply_updates(model, updates), opt_state, loss


def start(key):
    model = Classifier(20, (40, 40), 4, key=key)
    return model, optimizer.init(eqx.filter(model, eqx.is_array)), key


def main(num_updates=100):
    model, opt_state, key = start(jax.random.key(0))
    for k in jax.random.split(key, num_updates):
        model, opt_state, loss = update(model, opt_state, k)
    assert loss < 0.1  # chance is 1.4
