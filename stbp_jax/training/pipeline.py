"""What a run is made of: the way from images to loss, its sizes, what it carries and what it tells.

Data flows one way: images, augmentation where something is learned, encoding, network, readout,
loss. Leaves out what those are: a `Build` says it, from hyper-parameters that may be traced.
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
LossFn = Callable[[Params, Array, PyTree], tuple[Array, PyTree]]


class Pipeline(NamedTuple):
    """From images to loss, and how to descend it.

    Attributes:
      encode: `(key, images [B, ...]) -> xs [T, B, ...]`.
      network: a `Layer`.
      readout: `outs [T, B, C] -> scores [B, C]`.
      loss: `(scores [B, C], labels [B]) -> [B]`.
      optimizer: of optax.
      augment: `(key, images [B, ...]) -> images`, before the encoding of what is learned from, and
        never of what is tested; None for none.
      objective: `LossFn -> LossFn`, what is learned, made of the mean loss of a batch, such as
        `functools.partial(adversarial, epsilon=0.1)`; its report stays the accuracy. None for that
        mean itself.
    """

    encode: Callable[[Array, Array], Array]
    network: Layer
    readout: Callable[[Array], Array]
    loss: Callable[[Array, Array], Array]
    optimizer: optax.GradientTransformation
    augment: Callable[[Array, Array], Array] | None = None
    objective: Callable[[LossFn], LossFn] | None = None

    def __repr__(self) -> str:
        """Its fields, functions by their names."""
        return record_text(self)


Build = Callable[[PyTree, int], Pipeline]


class TrainConfig(NamedTuple):
    """What shapes the program.

    Attributes:
      epochs: passes over the training set.
      batch_size: examples in an update; those that fill no batch are left out of their epoch.
      eval_batch_size: examples evaluated at once; only memory and speed depend on it.
    """

    epochs: int
    batch_size: int = 100
    eval_batch_size: int = 500


@struct.dataclass
class TrainState:
    """All that training carries from update to update.

    Attributes:
      params: of the network.
      opt_state: of the optimizer.
      key: of the run's updates; never changes, each update folds `step` into it.
      step: updates done, int32.
    """

    params: Params
    opt_state: Any
    key: Array
    step: Array


# Checks: static, so that they hold under a trace too ----------------------------------------------


def check_function(name: str, f: Any) -> Any:
    """Something that can be called; gives it back.

    Raises:
      TypeError: it cannot.
    """
    if not callable(f):
        raise TypeError(f"{name} must be callable, got {f!r}")
    return f


def check_pipeline(pipeline: Any) -> Pipeline:
    """A `Pipeline` whose fields are what they must be.

    Raises:
      TypeError: it is not; the message names the field.
    """
    if not isinstance(pipeline, Pipeline):
        raise TypeError(f"a Pipeline is expected, got {type(pipeline).__name__}")
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
    """Something with `init` and `update`, as the optimizers of optax are.

    Raises:
      TypeError: it is not.
    """
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        raise TypeError(f"optimizer must be a GradientTransformation of optax, got {optimizer!r}")


def check_config(config: Any) -> TrainConfig:
    """The same `TrainConfig` with plain integers, each at least 1.

    Raises:
      TypeError, ValueError: another type, or a field that is no count.
    """
    if not isinstance(config, TrainConfig):
        raise TypeError(f"config must be a TrainConfig, got {type(config).__name__}")
    return TrainConfig(**{name: arguments.count(name, n) for name, n in config._asdict().items()})


def build_pipeline(build: Build, hparams: PyTree, num_updates: int) -> Pipeline:
    """`build(hparams, num_updates)`, checked.

    Raises:
      TypeError: hyper-parameters that are no numbers; something other than a `Pipeline`.
    """
    if hparams is None:
        raise TypeError("hparams must be a tree of numbers, got None; () where build reads none")
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
    """Mean over the batch of the pipeline's loss.

    Raises:
      ValueError: a loss that is not `[B]`; one `[B, C]` has another mean.
    """
    losses = pipeline.loss(scores, labels)
    if jnp.shape(losses) != scores.shape[:1]:
        raise ValueError(
            f"loss must return one number for each example, [{scores.shape[0]}], "
            f"got {list(jnp.shape(losses))}"
        )
    return jnp.mean(losses)
