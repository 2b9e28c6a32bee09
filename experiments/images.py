"""Spiking networks on still images, as several studies train them."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import optax

import stbp_jax as sj
from experiments.notation import Conv, Dense, Pool, parse
from experiments.settings import UsageError, setting
from stbp_jax.products import Product
from stbp_jax.training import Build

CLASSES = 10


@dataclass(frozen=True)
class Settings:
    """Numbers of a network on images; defaults after the authors' MNIST code."""

    data: str = setting("mnist", "data set: digits, mnist, fashion_mnist")
    limit: int = setting(0, "use so many examples of each set; 0 takes all")
    validation: int = setting(0, "last training examples held out, to choose an epoch; 0 for none")
    hidden: str = setting("800", "all layers but the last, such as 15C5-P2-40C5-P2-300")
    num_steps: int = setting(10, "T, steps of a presentation")
    epochs: int = setting(30, "passes over the training set")
    batch_size: int = setting(100, "examples in an update")
    learning_rate: float = setting(1e-3, "of Adam, at the start of its cosine decay to 0")
    decay: float = setting(0.2, "membrane left after a step")
    threshold: float = setting(0.5, "membrane at which a unit fires")
    width: float = setting(1.0, "a1 of the rectangular surrogate")


def hparams(settings: Settings) -> dict[str, Any]:
    """The numbers that may be traced and swept."""
    names = ("learning_rate", "decay", "threshold", "width")
    return {name: getattr(settings, name) for name in names}


def network(settings: Settings, shape: tuple[int, ...]) -> str:
    """In the field's notation, for images of that shape; a perceptron's begins with its inputs."""
    whole = f"{settings.hidden}-{CLASSES}"
    return whole if _sees_images(settings) else f"{math.prod(shape)}-{whole}"


def _parts(settings: Settings) -> list[Conv | Pool | Dense]:
    try:
        return parse(settings.hidden)
    except ValueError as error:
        raise UsageError(f"hidden: {error}") from None


def _sees_images(settings: Settings) -> bool:
    return not isinstance(_parts(settings)[0], Dense)


def _layers(settings: Settings, neuron: sj.Neuron, product: Product) -> sj.Layer:
    layers, flat = [], False
    for part in _parts(settings):
        match part:
            case Conv(features, kernel):
                layers.append(sj.conv(features, kernel, neuron))
            case Pool(window):
                layers.append(sj.avg_pool(window))
            case Dense(features):
                layers += [] if flat else [sj.flatten()]
                layers.append(sj.dense(features, neuron, product=product))
                flat = True
    layers += [] if flat else [sj.flatten()]
    return sj.serial(*layers, sj.dense(CLASSES, neuron, product=product))


@functools.cache  # so that all seeds share a compiled program
def build(settings: Settings, product: Product = sj.full_product) -> Build:
    """Bernoulli input, LIF layers by STBP, mean output rate, equation (9), Adam."""

    def encode(key: jax.Array, images: jax.Array) -> jax.Array:
        if _sees_images(settings) and images.ndim == 3:
            images = images[..., None]  # grey images come without channels
        return sj.bernoulli(key, images, settings.num_steps)

    def pipeline(hparams: dict[str, Any], num_updates: int) -> sj.Pipeline:
        neuron = sj.lif(
            decay=hparams["decay"],
            threshold=hparams["threshold"],
            surrogate=sj.rectangular(hparams["width"]),
        )
        return sj.Pipeline(
            encode=encode,
            network=_layers(settings, neuron, product),
            readout=sj.rate,
            loss=sj.squared_error,
            optimizer=optax.adam(
                optax.cosine_decay_schedule(hparams["learning_rate"], num_updates)
            ),
        )

    return pipeline


def surrogates(settings: Settings) -> list[sj.Surrogate]:
    """The curve in use, and the paper's others at its width."""
    fwhm = sj.rectangular(settings.width).fwhm
    families = (sj.rectangular, sj.polynomial, sj.sigmoid, sj.gaussian)
    return [sj.matched(family, fwhm) for family in families]
