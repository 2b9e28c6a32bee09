"""The types of a training run: `Pipeline`, `TrainConfig` and `TrainState`, with their checks.

Data flows one way: images, augmentation (in training only), encoding, network, readout, loss. A
`Build` function makes the pipeline from hyper-parameters, which may be traced.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from stbp_jax import arguments
from stbp_jax.core import Array, Layer, Params, PyTree
from stbp_jax.reprs import record_text

Batch = tuple[Any, Any]
"""`(images [N, ...], labels [N])`."""

LossFn = Callable[[Params, Array, PyTree], tuple[Array, PyTree]]
"""`(params, key, batch) -> (scalar loss, report)`."""


class Pipeline(NamedTuple):
    """The functions from images to loss, and the optimizer.

    Attributes:
      encode: `(key, images [B, ...]) -> xs [T, B, ...]`.
      network: a `Layer`.
      readout: `outs [T, B, C] -> scores [B, C]`.
      loss: `(scores [B, C], labels [B]) -> [B]`.
      optimizer: a `GradientTransformation` of optax.
      augment: `(key, images [B, ...]) -> images`, applied before encoding to training images and
        never to test images. None for no augmentation.
      objective: `LossFn -> LossFn`, makes the training loss from the mean loss of a batch, for
        example `functools.partial(adversarial, epsilon=0.1)`. Its report stays the accuracy. None
        for the mean loss itself.
    """

    encode: Callable[[Array, Array], Array]
    network: Layer
    readout: Callable[[Array], Array]
    loss: Callable[[Array, Array], Array]
    optimizer: optax.GradientTransformation
    augment: Callable[[Array, Array], Array] | None = None
    objective: Callable[[LossFn], LossFn] | None = None

    def __repr__(self) -> str:
        """The fields, with functions by their names."""
        return record_text(self)


Build = Callable[[PyTree, int], Pipeline]
"""`(hparams, num_updates) -> Pipeline`."""


class TrainConfig(NamedTuple):
    """The static sizes of a run, which shape its compiled program.

    Attributes:
      epochs: passes over the training set.
      batch_size: examples in an update. Each epoch skips the examples that do not fill a batch.
      eval_batch_size: examples in an evaluation batch, for memory and speed; another size draws
        other spikes.
    """

    epochs: int
    batch_size: int = 100
    eval_batch_size: int = 500


@struct.dataclass
class TrainState:
    """The state that training carries from update to update.

    Attributes:
      params: parameters of the network.
      opt_state: state of the optimizer.
      key: random key of the run's updates. It never changes; each update folds `step` into it.
      step: number of completed updates, int32.
    """

    params: Params
    opt_state: Any
    key: Array
    step: Array


# Static checks, which also run under a trace ------------------------------------------------------


def check_function(name: str, f: Any) -> Any:
    """Returns `f`, a function.

    Raises:
      TypeError: `f` is not callable.
    """
    if not callable(f):
        raise TypeError(f"{name} must be callable, got {f!r}")
    return f


def check_pipeline(pipeline: Any) -> Pipeline:
    """Returns `pipeline`, a `Pipeline` with fields of the right types.

    Raises:
      TypeError: `pipeline` is not a `Pipeline`, or a field has a wrong type; the message names the
        field.
    """
    if not isinstance(pipeline, Pipeline):
        raise TypeError(f"pipeline must be a Pipeline, got {type(pipeline).__name__}")
    for name in ("encode", "readout", "loss"):
        check_function(name, getattr(pipeline, name))
    for name in ("augment", "objective"):
        if getattr(pipeline, name) is not None:
            check_function(name, getattr(pipeline, name))
    if not isinstance(pipeline.network, Layer):
        raise TypeError(f"network must be a Layer, got {type(pipeline.network).__name__}")
    check_optimizer(pipeline.optimizer)
    return pipeline


def check_optimizer(optimizer: Any) -> None:
    """Checks that an optimizer has `init` and `update`, as in optax.

    Raises:
      TypeError: one of them is missing.
    """
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        raise TypeError(f"optimizer must be a GradientTransformation of optax, got {optimizer!r}")


def check_config(config: Any) -> TrainConfig:
    """Returns the `TrainConfig` with Python integers of at least 1.

    Raises:
      TypeError: `config` is not a `TrainConfig`, or a field is not a static integer.
      ValueError: a field is below 1.
    """
    if not isinstance(config, TrainConfig):
        raise TypeError(f"config must be a TrainConfig, got {type(config).__name__}")
    return TrainConfig(**{name: arguments.count(name, n) for name, n in config._asdict().items()})


def build_pipeline(build: Build, hparams: PyTree, num_updates: int) -> Pipeline:
    """Checks the hyper-parameters, calls `build(hparams, num_updates)` and checks the pipeline.

    Raises:
      TypeError: a hyper-parameter is not a number, or `build` does not return a `Pipeline`.
    """
    if hparams is None:
        raise TypeError("hparams must be a tree of numbers, got None; use () if build reads none")
    for path, leaf in jax.tree.leaves_with_path(hparams):
        if not isinstance(leaf, bool | int | float | np.generic | np.ndarray | jax.Array):
            name = f"hparams{jax.tree_util.keystr(path)}"
            raise TypeError(f"{name} must be a number or an array, got {leaf!r}")
        if isinstance(leaf, np.generic | np.ndarray):
            arguments.held(f"hparams{jax.tree_util.keystr(path)}", leaf)
    pipeline = build(hparams, num_updates)
    if not isinstance(pipeline, Pipeline):
        raise TypeError(f"build must return a Pipeline, got {type(pipeline).__name__}")
    return check_pipeline(pipeline)


def mean_loss(pipeline: Pipeline, scores: Array, labels: Array) -> Array:
    """The mean of the pipeline's loss over a batch.

    Raises:
      ValueError: the loss does not have shape `[B]`; a shape `[B, C]` would give another mean.
    """
    losses = pipeline.loss(scores, labels)
    if jnp.shape(losses) != scores.shape[:1]:
        raise ValueError(
            f"loss must return one number for each example, [{scores.shape[0]}], "
            f"got {list(jnp.shape(losses))}"
        )
    return jnp.mean(losses)
