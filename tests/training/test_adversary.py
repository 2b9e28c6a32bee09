"""Adversarial training: against arithmetic by hand, and in whole runs."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj
from experiments.engine import models
from experiments.engine.config import Config
from stbp_jax import data

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
LABELS = np.array([0, 2, 1, 1])
KERNEL = RNG.normal(size=(6, 3)).astype(np.float32)


def linear(kernel, key, batch):
    """Softmax regression, whose gradient by the images is (softmax - one-hot) Wᵀ."""
    images, labels = batch
    scores = images.reshape(len(images), -1) @ kernel
    return jnp.mean(sj.cross_entropy(scores, labels)), scores


def moved_by_hand(images, epsilon):
    scores = images.reshape(4, 6) @ KERNEL
    share = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    against = (share - np.eye(3)[LABELS]) @ KERNEL.T
    return np.clip(images + epsilon * np.sign(against).reshape(images.shape), 0, 1)


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_equals_the_loss_of_images_moved_by_hand(share):
    images = RNG.random((4, 2, 3)).astype(np.float32)
    images[0, 0] = 0, 1, 0  # at the ends of the range, where half of the moves are clipped
    loss = jax.value_and_grad(
        sj.training.adversarial(linear, epsilon=0.1, share=share), has_aux=True
    )
    (got, scores), slope = loss(KERNEL, KEY, (images, LABELS))
    moved = moved_by_hand(images, 0.1)

    def by_hand(kernel):
        plain, scores = linear(kernel, KEY, (images, LABELS))
        worse, _ = linear(kernel, KEY, (moved, LABELS))
        return (1 - share) * plain + share * worse, scores

    wanted = jax.value_and_grad(by_hand, has_aux=True)(KERNEL)
    chex.assert_trees_all_close(((got, scores), slope), wanted, rtol=1e-5, atol=1e-6)
    assert moved.min() == 0
    assert moved.max() == 1


def test_bytes_are_moved_as_the_floats_they_stand_for():
    images = RNG.integers(0, 256, (4, 2, 3), np.uint8)
    loss = sj.training.adversarial(linear, epsilon=0.1)
    chex.assert_trees_all_close(
        loss(KERNEL, KEY, (images, LABELS)),
        loss(KERNEL, KEY, (images.astype(np.float32) / 255, LABELS)),
        rtol=1e-5,
    )


def build(objective, hparams, num_updates):
    neuron = sj.lif(decay=0.5, threshold=0.5)
    network = sj.serial(
        sj.flatten(), sj.dense(64, neuron, inputs=sj.layers.static_input), sj.dense(10, None)
    )
    return sj.Pipeline(
        encode=lambda key, images: sj.constant(images, 3),
        network=network,
        readout=sj.rate,
        loss=sj.cross_entropy,
        optimizer=optax.adam(3e-3),
        objective=objective(hparams),
    )


def plain(epsilon):
    return None


def against(epsilon):
    return functools.partial(sj.training.adversarial, epsilon=epsilon)


@pytest.mark.heavy
def test_a_run_may_be_swept_over_epsilon_and_learns_to_withstand():
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    train, test = data.load("digits")
    config = sj.TrainConfig(epochs=8, batch_size=20)

    def run(objective):
        return sj.make_train(functools.partial(build, objective), config)

    epsilons = jnp.array([0.0, 0.1])
    sweep = jax.jit(jax.vmap(run(against), (None, 0, None, None)))
    states, history = sweep(KEY, epsilons, train, test)
    state, alone = jax.jit(run(plain))(KEY, 0.0, train, test)
    np.testing.assert_allclose(
        history.test.metrics["accuracy"][0], alone.test.metrics["accuracy"], atol=0.01
    )
    assert (history.test.metrics["accuracy"][:, -1] > 0.85).all()

    pipeline = build(plain, 0.0, 1)

    def right(params, key, batch):
        xs = pipeline.encode(key, batch[0])
        state, _ = pipeline.network.initial_state(params, xs.shape[1:])
        scores = sj.rate(pipeline.network.unroll(params, state, xs)[1])
        return jnp.mean(pipeline.loss(scores, batch[1])), sj.metrics.accuracy(scores, batch[1])

    attacked = jax.jit(
        jax.vmap(sj.training.adversarial(right, epsilon=0.1, share=1.0), (0, None, None))
    )
    losses, rights = attacked(states.params, KEY, test)
    np.testing.assert_allclose(rights, history.test.metrics["accuracy"][:, -1], atol=0.005)
    assert (losses > 1.5 * history.test.loss[:, -1]).all()  # moved images are harder
    assert losses[1] < 0.8 * losses[0]  # and less so for a network trained on moved images


def test_spikes_that_are_drawn_hide_the_way():
    images = RNG.random((4, 2, 3)).astype(np.float32)

    def drawn(kernel, key, batch):
        return linear(kernel, key, (sj.bernoulli(key, batch[0], 1)[0], batch[1]))

    chex.assert_trees_all_close(
        sj.training.adversarial(drawn, epsilon=0.3)(KERNEL, KEY, (images, LABELS)),
        drawn(KERNEL, KEY, (images, LABELS)),
    )


def test_bad_arguments():
    for epsilon in (-0.1, np.nan):
        with pytest.raises(ValueError, match="epsilon must be at least 0 and finite"):
            sj.training.adversarial(linear, epsilon=epsilon)
    with pytest.raises(ValueError, match="share must be between 0 and 1"):
        sj.training.adversarial(linear, epsilon=0.1, share=1.1)
    with pytest.raises(ValueError, match=r"epsilon must be a scalar, got shape \[4\]"):
        sj.training.adversarial(linear, epsilon=np.full(4, 0.1, np.float32))
    with pytest.raises(ValueError, match=r"share must be a scalar, got shape \[1\]"):
        sj.training.adversarial(linear, epsilon=0.1, share=np.full(1, 0.1, np.float32))
    with pytest.raises(TypeError, match="epsilon must be a float"):
        sj.training.adversarial(linear, epsilon="0.1")
    with pytest.raises(TypeError, match="loss_fn must be callable, got None"):
        sj.training.adversarial(None, epsilon=0.1)
    for batch in (KERNEL, {"images": KERNEL}):
        with pytest.raises(TypeError, match=r"batch must be \(inputs, targets\) or .*, got"):
            sj.training.adversarial(linear, epsilon=0.1)(KERNEL, KEY, batch)
    with pytest.raises(ValueError, match="images must be finite and in .*got values from 0 to 255"):
        sj.training.adversarial(linear, epsilon=0.1)(KERNEL, KEY, (255 * np.eye(4, 6), LABELS))
    events = np.zeros((4, 2, 3), np.uint32)
    with pytest.raises(TypeError, match="images must be uint8, or floats in .* got dtype uint32"):
        sj.training.adversarial(linear, epsilon=0.1)(KERNEL, KEY, (events, LABELS))


def test_a_parameter_of_infinity_harms_no_finite_loss():
    """The value depends on the current parameters alone, as that of the plain loss does."""
    images = RNG.random((4, 2, 3)).astype(np.float32)
    params = (KERNEL, np.float32(np.inf))

    def bounded(params, key, batch):
        loss, scores = linear(params[0], key, batch)
        return loss + 1 / params[1], scores

    loss, _ = sj.training.adversarial(bounded, epsilon=0.0)(params, KEY, (images, LABELS))
    np.testing.assert_allclose(loss, linear(KERNEL, KEY, (images, LABELS))[0], rtol=1e-6)


def test_types_of_parameters_and_images_stay():
    half = jnp.asarray(KERNEL, jnp.bfloat16)
    images = jnp.asarray(RNG.random((4, 2, 3)), jnp.bfloat16)
    seen = []

    def with_aux(kernel, key, batch):
        seen.append(batch[0].dtype)
        return linear(kernel, key, batch)

    loss = jax.value_and_grad(
        sj.training.adversarial(with_aux, epsilon=np.float32(0.1)), has_aux=True
    )
    _, slope = loss(half, KEY, (images, LABELS))
    assert slope.dtype == jnp.bfloat16
    assert set(seen) == {jnp.dtype(jnp.bfloat16)}


def test_studies_mirror_distort_and_move_what_they_learn_from():
    config = Config().but(layers="4-10", num_steps=2, flip=1.0, elastic=8.0, epsilon=0.1)
    batch = RNG.integers(0, 256, (4, 2, 3), np.uint8)
    pipeline = models.build(config, coding=models.DIRECT)(models.hparams(config), 10)
    distorted = sj.augment.elastic(KEY, batch, alpha=8.0)
    np.testing.assert_array_equal(pipeline.augment(KEY, batch), distorted[:, :, ::-1])
    got, wanted = (
        loss(KERNEL, KEY, (batch, LABELS))[0]
        for loss in (
            pipeline.objective(linear),
            sj.training.adversarial(linear, epsilon=0.1, share=1.0),
        )
    )
    np.testing.assert_allclose(got, wanted)
    plain = config.but(flip=0.0, elastic=0.0, epsilon=0.0)
    pipeline = models.build(plain, coding=models.DIRECT)(models.hparams(plain), 10)
    assert pipeline.augment is None
    assert pipeline.objective is None
