"""Pipelines built from a config: input coding, network, neurons, loss and optimizer."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

import stbp_jax as sj
from experiments.engine.config import Config, UsageError
from experiments.engine.notation import Conv, Dense, Part, Pool, parse
from stbp_jax import layers, presets
from stbp_jax.initializers import Initializer, Weights
from stbp_jax.neurons import Reset
from stbp_jax.training import Build

HParams = dict[str, Any]
Loss = Callable[[jax.Array, jax.Array], jax.Array]
Augment = Callable[[jax.Array, jax.Array], jax.Array]
Schedule = Callable[[Any, int, int], optax.Schedule]
Optimizer = Callable[[optax.Schedule], optax.GradientTransformation]


# Input coding ------------------------------------------------------------------------------------


class Coding(NamedTuple):
    """How examples become the input of the network.

    Attributes:
      encode: `(key, examples [B, ...], num_steps) -> xs [T, B, ...]`.
      inputs: `layers.static_input` if all time steps are equal, so that the first product is
        computed once; else `layers.varying_input`.
    """

    encode: Callable[[jax.Array, jax.Array, int], jax.Array]
    inputs: Any = layers.varying_input


BERNOULLI = Coding(sj.bernoulli)  # a pixel is the probability of a spike, as in the paper
DIRECT = Coding(  # a pixel is a current at every step, as in most later work
    lambda key, images, num_steps: sj.constant(images, num_steps), layers.static_input
)
SIGNED = Coding(  # the same, with pixels from -1 to 1
    lambda key, images, num_steps: 2 * sj.constant(images, num_steps) - 1, layers.static_input
)
ONCE = Coding(lambda key, images, num_steps: sj.constant(images, 1))  # for the ANN baseline


# Neurons -----------------------------------------------------------------------------------------


class Units(NamedTuple):
    """Hidden and output neurons, made from hyper-parameters; an output of None is linear."""

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


def lif_units(reset: Reset = sj.hard_reset, curve: Curve = sj.rectangular) -> Units:
    """Return LIF neurons for all layers.

    Args:
      reset: leak and reset of the membrane; `sj.detach_time` and `sj.detach_reset` cut gradients.
      curve: `width -> sj.Surrogate`, a family of surrogates.
    """
    neuron = functools.partial(_lif, reset, curve)
    return Units(neuron, neuron)


STBP = lif_units()
SDBP = lif_units(sj.detach_time(sj.hard_reset))
RESET_DETACHED = lif_units(sj.detach_reset(sj.hard_reset))
INTEGRATING = Units(STBP.hidden, lambda hparams: None)  # the output layer does not spike
RELU = Units(lambda hparams: sj.neurons.activation(jax.nn.relu), lambda hparams: None)


# Learning rates ----------------------------------------------------------------------------------


def cosine(learning_rate: Any, num_updates: int, epochs: int) -> optax.Schedule:
    """Return a cosine schedule from the learning rate to 0 over all updates."""
    return optax.cosine_decay_schedule(learning_rate, num_updates)


def released_schedule(learning_rate: Any, num_updates: int, epochs: int) -> optax.Schedule:
    """Return the schedule of the authors' MNIST code: the rate times 0.1 every 40 epochs."""
    code = presets.code.mnist_cnn
    steps = code.decay_epochs * num_updates // epochs
    return optax.exponential_decay(learning_rate, steps, code.decay_factor, staircase=True)


# Networks ----------------------------------------------------------------------------------------


def hparams(config: Config) -> HParams:
    """Return the numbers of a config that may be traced and swept."""
    model = config.model
    return {
        "learning_rate": config.train.learning_rate,
        "decay": model.decay,
        "threshold": model.threshold,
        "width": model.width,
    }


def points(config: Config, **axes: Any) -> list[HParams]:
    """Return the hyper-parameters of every point of a grid.

    Args:
      config: the values of all hyper-parameters without an axis.
      **axes: the values on each axis, by the name of the hyper-parameter.
    """
    fixed = {name: [value] for name, value in hparams(config).items() if name not in axes}
    return sj.grid(**fixed, **axes)[1]


def parts(config: Config) -> tuple[list[Part], Dense]:
    """Return the hidden layers and the output layer of a config.

    Raises:
      UsageError: `model.layers` cannot be parsed, or does not end in a dense layer.
    """
    try:
        found = parse(config.model.layers)
    except ValueError as error:
        raise UsageError(f"model.layers: {error}") from None
    *hidden, output = found
    if not isinstance(output, Dense):
        raise UsageError(f"model.layers must end in a dense layer, got {config.model.layers!r}")
    return hidden, output


def network_name(config: Config, shape: tuple[int, ...]) -> str:
    """Return the network's name; the name of a perceptron begins with the number of inputs.

    Args:
      config: of the network.
      shape: of one example at one time step.
    """
    name = config.model.layers
    return name if _sees_images(config) else f"{math.prod(shape)}-{name}"


def multiply_accumulates(config: Config, shape: tuple[int, ...]) -> int:
    """Count the multiply-accumulates of the ANN baseline for one example.

    Every synapse counts once; pooling and biases do not count.

    Args:
      config: of the network.
      shape: of one example at one time step.
    """
    shape = (*shape, 1) if _sees_images(config) and len(shape) == 2 else shape
    total = 0
    for layer in network(config, RELU, {}, layers.varying_input).layers:
        params, shape = layer.init(jax.random.key(0), shape)
        kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
        # A convolution uses its kernel once for each output pixel.
        total += sum(kernel.size * math.prod(shape[:-1]) for kernel in kernels)
    return total


def _sees_images(config: Config) -> bool:
    hidden, output = parts(config)
    return not isinstance([*hidden, output][0], Dense)


def network(
    config: Config,
    units: Units,
    hparams: HParams,
    inputs: Any,
    matmul: Any = layers.full_matmul,
) -> sj.Layer:
    """Return the network of a config.

    Args:
      config: of the layers and of dropout.
      units: hidden and output neurons.
      hparams: of the neurons; `gain` and `dropout`, if they are there, replace those of the config.
      inputs: of the first layer, as `Coding.inputs`.
      matmul: as in `build`.
    """
    model = config.model
    gain, dropped = (hparams.get(name, getattr(model, name)) for name in ("gain", "dropout"))
    init = sj.initializers.fan_in_uniform(gain)
    conv = functools.partial(sj.conv, padding=model.padding, init=init)
    dense = functools.partial(sj.dense, matmul=matmul, init=init)
    hidden, output = parts(config)
    made = [sj.dropout(model.input_dropout)] if model.input_dropout else []
    flat = False
    neuron = units.hidden(hparams)
    for part in hidden:
        match part:
            case Conv(features, kernel):
                made.append(conv(features, kernel, neuron, inputs=inputs))
                inputs = layers.varying_input
            case Pool(window):
                made.append(sj.avg_pool(window))
            case Dense(features):
                made += [] if flat else [sj.flatten()]
                made.append(dense(features, neuron, inputs=inputs))
                made += [sj.dropout(dropped)] if "dropout" in hparams or model.dropout else []
                flat, inputs = True, layers.varying_input
    made += [] if flat else [sj.flatten()]
    if model.output_bias:
        dense = functools.partial(dense, init=_raised(init, model.output_bias))
    return sj.serial(*made, dense(output.features, units.output(hparams)))


def _raised(init: Initializer, bias: float) -> Initializer:
    """Return `init` with `bias` added to every bias."""

    def raised(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> Weights:
        kernel, first = init(key, shape, dtype)
        return Weights(kernel, None if first is None else first + bias)

    return raised


# Pipelines ---------------------------------------------------------------------------------------


@functools.cache  # the same function for all seeds, so that they share a compiled program
def build(
    config: Config,
    *,
    coding: Coding = BERNOULLI,
    units: Units = STBP,
    schedule: Schedule = cosine,
    optimizer: Optimizer = optax.adam,
    loss: Loss = sj.half_squared_error,
    matmul: Any = layers.full_matmul,
    augment: Augment | None = None,
) -> Build:
    """Return a function that builds the pipeline of a config; the defaults are the paper's.

    Args:
      config: the settings.
      coding: how examples become the input of the network.
      units: hidden and output neurons.
      schedule: `(learning_rate, num_updates, epochs) -> optax.Schedule`.
      optimizer: from the schedule of the learning rate.
      loss: `(scores [B, C], labels [B]) -> [B]`.
      matmul: the product of inputs and weights in dense layers, such as
        `layers.bfloat16_matmul`.
      augment: `(key, examples) -> examples` in training; None for the distortion and mirroring of
        images that the config asks for.

    Returns:
      `(hparams, num_updates) -> Pipeline`, as `sj.make_train` takes it; `num_updates` counts the
      updates of the whole run and sets the length of the learning-rate schedule.

    Raises:
      UsageError: `train.epsilon` is set with Bernoulli input, through which no gradient passes.
    """
    data, train = config.data, config.train
    if train.epsilon and coding is BERNOULLI:
        raise UsageError(
            "epsilon needs direct input, got Bernoulli input, through which no gradient passes"
        )

    def encode(key: jax.Array, images: jax.Array) -> jax.Array:
        if _sees_images(config) and images.ndim == 3:
            images = images[..., None]  # gray images have no channel axis
        return coding.encode(key, images, data.num_steps)

    def distort(key: jax.Array, images: jax.Array) -> jax.Array:
        if train.elastic:
            images = sj.augment.elastic(key, images, alpha=train.elastic)
        if train.flip:  # its own key; `elastic` keeps the key that recorded runs used
            images = sj.augment.horizontal_flip(
                jax.random.fold_in(key, 1), images, probability=train.flip
            )
        return images

    def pipeline(hparams: HParams, num_updates: int) -> sj.Pipeline:
        adversary = functools.partial(
            sj.training.adversarial, epsilon=train.epsilon, share=train.share
        )
        rates = schedule(hparams["learning_rate"], num_updates, train.epochs)
        return sj.Pipeline(
            encode=encode,
            network=network(config, units, hparams, coding.inputs, matmul),
            readout=sj.rate,
            loss=loss,
            optimizer=optimizer(rates),
            augment=augment or (distort if train.elastic or train.flip else None),
            objective=adversary if train.epsilon else None,
        )

    return pipeline
