"""Spiking networks on still images, and their non-spiking twins, as several studies train them."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import optax

import stbp_jax as sj
from experiments.notation import Conv, Dense, Part, Pool, parse
from experiments.settings import UsageError, setting
from stbp_jax.layers import Inputs, Matmul
from stbp_jax.neurons import Reset
from stbp_jax.training import Build

HParams = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """Numbers of a network on images; defaults after the authors' MNIST code."""

    data: str = setting("mnist", "data set: digits, mnist, fashion_mnist, cifar10")
    limit: int = setting(0, "use so many examples of each set; 0 takes all")
    validation: int = setting(0, "last training examples held out, to choose an epoch; 0 for none")
    classes: int = setting(10, "output units")
    hidden: str = setting("800", "all layers but the last, such as 15C5-P2-40C5-P2-300")
    padding: str = setting("valid", "of convolutions: valid or same")
    num_steps: int = setting(10, "T, steps of a presentation")
    epochs: int = setting(30, "passes over the training set")
    batch_size: int = setting(100, "examples in an update")
    learning_rate: float = setting(1e-3, "of Adam, at its start")
    decay: float = setting(0.2, "membrane left after a step")
    threshold: float = setting(0.5, "membrane at which a unit fires")
    width: float = setting(1.0, "a1 of the rectangular surrogate")
    gain: float = setting(1.0, "first weights, as a multiple of the authors'")
    dropout: float = setting(0.0, "share of each dense hidden layer silenced while training")
    input_dropout: float = setting(0.0, "share of the inputs silenced while training")
    alpha: float = setting(0.0, "strength of elastic distortion, in pixels; 0 for none")
    flip: float = setting(0.0, "share of training images mirrored left to right")
    epsilon: float = setting(0.0, "training pixels move so far against the network; white is 1")
    # 1, not the library's 0.5: what rows mean that are older than this setting.
    share: float = setting(1.0, "of the moved images in the training loss")


class Coding(NamedTuple):
    """How an image becomes input.

    Attributes:
      encode: `(key, images [B, ...], num_steps) -> xs [T, B, ...]`.
      inputs: of the first layer: `sj.layers.varying_input` or `sj.layers.static_input`.
    """

    encode: Callable[[jax.Array, jax.Array, int], jax.Array]
    inputs: Inputs


# The paper's; the authors' MLP code and most later work; the non-spiking twin's.
BERNOULLI = Coding(sj.bernoulli, sj.layers.varying_input)
DIRECT = Coding(
    lambda key, images, num_steps: sj.constant(images, num_steps), sj.layers.static_input
)
ONCE = Coding(lambda key, images, num_steps: sj.constant(images, 1), sj.layers.varying_input)


class Dynamics(NamedTuple):
    """Hidden and output units, from hyper-parameters; None for a linear output."""

    hidden: Callable[[HParams], sj.Neuron]
    output: Callable[[HParams], sj.Neuron | None]


Curve = Callable[[Any], sj.Surrogate]


def _lif(reset: Reset, curve: Curve, hparams: HParams) -> sj.Neuron:
    return sj.lif(
        decay=hparams["decay"],
        threshold=hparams["threshold"],
        surrogate=curve(hparams["width"]),
        reset=reset,
    )


def lif_units(reset: Reset = sj.hard_reset, curve: Curve = sj.rectangular) -> Dynamics:
    """LIF in all layers; the reset decides which paths through time gradients take."""
    neuron = functools.partial(_lif, reset, curve)
    return Dynamics(neuron, neuron)


STBP = lif_units()
SDBP = lif_units(sj.detach_time(sj.hard_reset))
# The output layer sums its currents and does not spike.
INTEGRATING = Dynamics(STBP.hidden, lambda hparams: None)
RELU = Dynamics(lambda hparams: sj.neurons.activation(jax.nn.relu), lambda hparams: None)

Schedule = Callable[[Any, int, int], optax.Schedule]
Augment = Callable[[jax.Array, jax.Array], jax.Array]
Loss = Callable[[jax.Array, jax.Array], jax.Array]


def cosine(learning_rate: Any, num_updates: int, epochs: int) -> optax.Schedule:
    """From the learning rate to 0 over the run."""
    return optax.cosine_decay_schedule(learning_rate, num_updates)


def tenth_every_40(learning_rate: Any, num_updates: int, epochs: int) -> optax.Schedule:
    """The released code's: times 0.1 every 40 epochs."""
    return optax.exponential_decay(learning_rate, 40 * num_updates // epochs, 0.1, staircase=True)


def hparams(settings: Settings) -> HParams:
    """The numbers that may be traced and swept."""
    names = ("learning_rate", "decay", "threshold", "width")
    return {name: getattr(settings, name) for name in names}


def network(settings: Settings, shape: tuple[int, ...]) -> str:
    """In the field's notation, for images of that shape; a perceptron's begins with its inputs."""
    whole = f"{settings.hidden}-{settings.classes}"
    return whole if _sees_images(settings) else f"{math.prod(shape)}-{whole}"


def multiply_accumulates(settings: Settings, shape: tuple[int, ...]) -> int:
    """Of the non-spiking twin for one image: every synapse once. Pooling and biases not counted."""
    shape = (*shape, 1) if _sees_images(settings) and len(shape) == 2 else shape
    total = 0
    for layer in _layers(settings, RELU, {}, sj.layers.varying_input, sj.layers.full_matmul):
        params, shape = layer.init(jax.random.key(0), shape)
        kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
        total += sum(
            kernel.size * math.prod(shape[:-1]) for kernel in kernels
        )  # all places share it
    return total


def _parts(settings: Settings) -> list[Part]:
    try:
        return parse(settings.hidden)
    except ValueError as error:
        raise UsageError(f"hidden: {error}") from None


def _sees_images(settings: Settings) -> bool:
    return not isinstance(_parts(settings)[0], Dense)


def _layers(
    settings: Settings, units: Dynamics, hparams: HParams, inputs: Inputs, matmul: Matmul
) -> list[sj.Layer]:
    conv = functools.partial(
        sj.conv, padding=settings.padding, init=sj.initializers.fan_in_uniform(settings.gain)
    )
    dense = functools.partial(
        sj.dense, matmul=matmul, init=sj.initializers.fan_in_uniform(settings.gain)
    )
    layers = [sj.dropout(settings.input_dropout)] if settings.input_dropout else []
    flat = False
    neuron = units.hidden(hparams)
    for part in _parts(settings):
        match part:
            case Conv(features, kernel):
                layers.append(conv(features, kernel, neuron, inputs=inputs))
                inputs = sj.layers.varying_input
            case Pool(window):
                layers.append(sj.avg_pool(window))
            case Dense(features):
                layers += [] if flat else [sj.flatten()]
                layers.append(dense(features, neuron, inputs=inputs))
                layers += [sj.dropout(settings.dropout)] if settings.dropout else []
                flat, inputs = True, sj.layers.varying_input
    layers += [] if flat else [sj.flatten()]
    return [*layers, dense(settings.classes, units.output(hparams))]


@functools.cache  # so that all seeds share a compiled program
def build(
    settings: Settings,
    *,
    coding: Coding = BERNOULLI,
    units: Dynamics = STBP,
    schedule: Schedule = cosine,
    loss: Loss = sj.half_squared_error,
    matmul: Matmul = sj.layers.full_matmul,
    augment: Augment | None = None,
) -> Build:
    """Mean output over time and Adam; the rest as the values say, after equation (9) by default.

    Training inputs go through `augment`, or are distorted and mirrored as the settings say.
    """
    if settings.epsilon and coding is BERNOULLI:
        raise UsageError("epsilon needs direct input: no gradient passes through drawn spikes")

    def encode(key: jax.Array, images: jax.Array) -> jax.Array:
        if _sees_images(settings) and images.ndim == 3:
            images = images[..., None]  # grey images come without channels
        return coding.encode(key, images, settings.num_steps)

    def anew(key: jax.Array, images: jax.Array) -> jax.Array:
        if settings.alpha:
            images = sj.augment.elastic(key, images, alpha=settings.alpha)
        if settings.flip:  # a key of its own, and elastic's the one it always had
            images = sj.augment.horizontal_flip(
                jax.random.fold_in(key, 1), images, probability=settings.flip
            )
        return images

    def pipeline(hparams: HParams, num_updates: int) -> sj.Pipeline:
        layers = _layers(settings, units, hparams, coding.inputs, matmul)
        against = functools.partial(
            sj.training.adversarial, epsilon=settings.epsilon, share=settings.share
        )
        rates = schedule(hparams["learning_rate"], num_updates, settings.epochs)
        return sj.Pipeline(
            encode=encode,
            network=sj.serial(*layers),
            readout=sj.rate,
            loss=loss,
            optimizer=optax.adam(rates),
            augment=augment or (anew if settings.alpha or settings.flip else None),
            objective=against if settings.epsilon else None,
        )

    return pipeline


def surrogates(settings: Settings) -> list[sj.Surrogate]:
    """The curve in use, and the paper's others at its width."""
    fwhm = sj.rectangular(settings.width).fwhm
    families = (sj.rectangular, sj.polynomial, sj.sigmoid, sj.gaussian)
    return [sj.matched(family, fwhm) for family in families]
