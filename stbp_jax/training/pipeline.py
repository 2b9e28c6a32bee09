"""The types of a training run: `Pipeline`, `TrainConfig` and `TrainState`, with their checks.

Data flows one way: inputs, augmentation (in training only), encoding, network, readout, loss. A
`Build` function makes the pipeline from hyper-parameters, which may be traced.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from stbp_jax import arguments
from stbp_jax.core import Array, Layer, Params, PyTree
from stbp_jax.metrics import correct
from stbp_jax.reprs import record_text

Batch = tuple[Any, ...]
"""`(inputs, targets)` or `(inputs, targets, weights [N])`, pytrees whose leaves lead with N."""

LossFn = Callable[[Params, Array, PyTree], tuple[Array, PyTree]]
"""`(params, key, batch) -> (scalar loss, report)`."""

Metric = tuple[str, Callable[[Any, Any], Array]]
"""A name, and `(scores, targets) -> [B]`, or `[T, B]` for targets at every step."""

ACCURACY: tuple[Metric, ...] = (("accuracy", correct),)


class Pipeline(NamedTuple):
    """The functions from inputs to loss, and the optimizer.

    Inputs and targets are pytrees of arrays that lead with B. Range checks are those of the encoder
    and of the loss.

    Attributes:
      encode: `(key, inputs) -> xs [T, B, ...]`.
      network: a `Layer`.
      readout: `outs [T, B, C] -> scores [B, C]`, or `[T, B, C]` (`readouts.identity`).
      loss: `(scores, targets) -> [B]`; or `[T, B]`, of which the mean over the steps of each
        example is taken; with a mask, over its own steps.
      optimizer: a `GradientTransformation` of optax. Its update also gets `value`, `grad` and
        `value_fn`, which `optax.polyak_sgd`, `optax.contrib.reduce_on_plateau` and `optax.lbfgs`
        need.
      augment: `(key, inputs) -> inputs`, applied before encoding to training inputs and never to
        test inputs. None for no augmentation.
      objective: `LossFn -> LossFn`, makes the training loss from the mean loss of a batch, for
        example `functools.partial(adversarial, epsilon=0.1)`. Its report stays that of the metrics.
        None for the mean loss itself.
      metrics: pairs of a name and `(scores, targets) -> [B]` or `[T, B]`; the first is the
        headline. The default is the accuracy of a classifier, which needs labels; `()` for none.
      mask: `inputs -> [T, B]` bool, whether a step belongs to the example: sequences of different
        lengths. Padding follows the example's last step. Padded steps change no score, loss,
        statistic or gradient, whatever they hold. Every example has a step; values are checked
        while they are concrete, and under `jit` an example without a step has the loss NaN. The
        readout and the auxiliary loss take the argument `mask=`. None for sequences of equal
        lengths.
      auxiliary_loss: `(states, targets) -> [B]` or `[T, B]`, which training adds to the loss.
        `states` are those of all layers after every step, as `record` returns them: training then
        runs step by step, and `truncated` and `chunked` do nothing. None for none.
      eval_params: `(opt_state, params) -> params` for evaluation, such as
        `optax.contrib.schedule_free_eval_params`, or the moving average that an optimizer keeps.
        None for the parameters themselves.

    >>> import stbp_jax as sj
    >>> pipeline = Pipeline(
    ...     encode=lambda key, images: sj.bernoulli(key, images, num_steps=8),
    ...     network=sj.serial(sj.flatten(), sj.dense(10, sj.lif())),
    ...     readout=sj.rate,
    ...     loss=sj.half_squared_error,
    ...     optimizer=optax.adam(1e-3),
    ... )
    >>> pipeline.metrics[0][0]
    'accuracy'
    """

    encode: Callable[[Array, Any], Array]
    network: Layer
    readout: Callable[..., Any]
    loss: Callable[[Any, Any], Array]
    optimizer: optax.GradientTransformation
    augment: Callable[[Array, Any], Any] | None = None
    objective: Callable[[LossFn], LossFn] | None = None
    metrics: tuple[Metric, ...] = ACCURACY
    mask: Callable[[Any], Array] | None = None
    auxiliary_loss: Callable[..., Array] | None = None
    eval_params: Callable[[Any, Params], Params] | None = None

    def __repr__(self) -> str:
        """The fields, with functions by their names."""
        return record_text(self)


Build = Callable[[PyTree, int], Pipeline]
"""`(hparams, num_updates) -> Pipeline`."""


class TrainConfig(NamedTuple):
    """The static sizes of a run, which shape its compiled program.

    Attributes:
      epochs: passes over the training set.
      batch_size: examples in an update. Each epoch skips the examples that do not fill a batch. An
        iterator of batches has its own sizes.
      eval_batch_size: examples in an evaluation batch, for memory and speed; another size draws
        other spikes.
      updates_per_epoch: updates in an epoch; None for a pass over the training set. An iterator of
        batches needs it.

    >>> TrainConfig(epochs=30).batch_size
    100
    """

    epochs: int
    batch_size: int = 100
    eval_batch_size: int = 500
    updates_per_epoch: int | None = None


class TrainState(NamedTuple):
    """The state that training carries from update to update.

    Attributes:
      params: parameters of the network.
      opt_state: state of the optimizer.
      key: random key of the run's updates. It never changes; each update folds `step` into it.
      step: number of completed updates, int32.

    >>> import stbp_jax as sj
    >>> def build(hparams, num_updates):
    ...     return sj.Pipeline(
    ...         encode=lambda key, inputs: sj.bernoulli(key, inputs, num_steps=3),
    ...         network=sj.dense(2, sj.lif()),
    ...         readout=sj.rate,
    ...         loss=sj.half_squared_error,
    ...         optimizer=optax.adam(hparams),
    ...     )
    >>> data = np.full((20, 3), 0.5, np.float32), np.arange(20) % 2
    >>> config = TrainConfig(epochs=1, batch_size=10)
    >>> state = sj.training.init_state(build, config, jax.random.key(0), 0.1, data)
    >>> int(state.step), jax.tree.map(np.shape, state.params.synapse)
    (0, Weights(kernel=(3, 2), bias=(2,)))
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
      ValueError: two metrics have the same name.
    """
    if not isinstance(pipeline, Pipeline):
        raise TypeError(f"pipeline must be a Pipeline, got {type(pipeline).__name__}")
    for name in ("encode", "readout", "loss"):
        check_function(name, getattr(pipeline, name))
    for name in ("augment", "objective", "mask", "auxiliary_loss", "eval_params"):
        if getattr(pipeline, name) is not None:
            check_function(name, getattr(pipeline, name))
    if not isinstance(pipeline.network, Layer):
        raise TypeError(f"network must be a Layer, got {type(pipeline.network).__name__}")
    check_optimizer(pipeline.optimizer)
    check_metrics(pipeline.metrics)
    return pipeline


def check_metrics(metrics: Any) -> None:
    """Raises unless the metrics are a tuple of pairs of a name and a function."""
    if not isinstance(metrics, tuple):
        raise TypeError(f"metrics must be a tuple of pairs (name, function), got {metrics!r}")
    for pair in metrics:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise TypeError(f"metrics must be pairs (name, function), got {pair!r} among them")
        check_function(f"metric {pair[0]}", pair[1])
    names = [name for name, _ in metrics]
    if len(set(names)) < len(names):
        raise ValueError(f"metrics must have different names, got {names}")


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
    sizes = config._asdict()
    if config.updates_per_epoch is None:
        del sizes["updates_per_epoch"]
    return TrainConfig(**{name: arguments.count(name, n) for name, n in sizes.items()})


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
