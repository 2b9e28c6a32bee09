"""A spiking perceptron on rate-coded images, as several studies train it."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import optax

import stbp_jax as sj
from experiments.settings import setting
from stbp_jax.training import Build


@dataclass(frozen=True)
class MLPSettings:
    """Numbers of a spiking perceptron; defaults after the authors' MNIST code."""

    data: str = setting("mnist", "data set: digits, mnist, fashion_mnist")
    limit: int = setting(0, "use so many examples of each set; 0 takes all")
    hidden: tuple[int, ...] = setting((800,), "units of each hidden layer, joined by -")
    num_steps: int = setting(10, "T, steps of a presentation")
    epochs: int = setting(30, "passes over the training set")
    batch_size: int = setting(100, "examples in an update")
    learning_rate: float = setting(1e-3, "of Adam, at the start of its cosine decay to 0")
    decay: float = setting(0.2, "membrane left after a step")
    threshold: float = setting(0.5, "membrane at which a unit fires")
    width: float = setting(1.0, "a1 of the rectangular surrogate")


def hparams(settings: MLPSettings) -> dict[str, Any]:
    """The numbers that may be traced and swept."""
    names = ("learning_rate", "decay", "threshold", "width")
    return {name: getattr(settings, name) for name in names}


def network(settings: MLPSettings, shape: tuple[int, ...]) -> str:
    """Its sizes in the field's notation, for images of that shape."""
    return "-".join(map(str, (math.prod(shape), *settings.hidden, 10)))


@functools.cache  # so that all seeds share a compiled program
def build(settings: MLPSettings, product: sj.Product = sj.full_product) -> Build:
    """Bernoulli input, LIF layers by STBP, mean output rate, equation (9), Adam."""

    def pipeline(hparams: dict[str, Any], num_updates: int) -> sj.Pipeline:
        neuron = sj.lif(
            decay=hparams["decay"],
            threshold=hparams["threshold"],
            surrogate=sj.rectangular(hparams["width"]),
        )
        layers = [sj.dense(units, neuron, product=product) for units in (*settings.hidden, 10)]
        schedule = optax.cosine_decay_schedule(hparams["learning_rate"], num_updates)
        return sj.Pipeline(
            encode=lambda key, images: sj.bernoulli(key, images, settings.num_steps),
            network=sj.serial(sj.flatten(), *layers),
            readout=sj.rate,
            loss=sj.squared_error,
            optimizer=optax.adam(schedule),
        )

    return pipeline


def surrogates(settings: MLPSettings) -> list[sj.Surrogate]:
    """The curve in use, and the paper's others at its width."""
    fwhm = sj.rectangular(settings.width).fwhm
    families = (sj.rectangular, sj.polynomial, sj.sigmoid, sj.gaussian)
    return [sj.matched(family, fwhm) for family in families]
