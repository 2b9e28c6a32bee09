"""What a run is made of: the way from images to loss, its sizes, what it carries and what it tells.

Data flows one way: images, augmentation where something is learnt, encoding, network, readout,
loss. Leaves out what those are: a `Build` says it, from hyper-parameters that may be traced.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import optax
from flax import struct

from stbp_jax.core import Array, Layer, Params, PyTree

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
      augment: `(key, images [B, ...]) -> images`, before the encoding of what is learnt from, and
        never of what is tested; None for none.
      objective: `LossFn -> LossFn`, what is learnt, made of the mean loss of a batch, such as
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


class History(NamedTuple):
    """What a run tells, with a leading axis E of epochs; L counts the spiking layers.

    Attributes:
      loss: `[E]`, what was learnt (the pipeline's objective), mean over the epoch's updates.
      train_accuracy: `[E]`, on the batches before their update, as the objective reports it.
      test_loss: `[E]`, after the epoch.
      test_accuracy: `[E]`, after the epoch, with the same draws of input spikes in each epoch.
      firing_rate: `[E, L]`, spikes per unit and step on the test set.
      silent_fraction: `[E, L]`, share of units that fire nowhere in the test set.
      in_window: `[E, L]`, share of unit-steps inside the surrogate's window on the test set.
      operations: `[E, L]`, synaptic operations per test example.
    """

    loss: Array
    train_accuracy: Array
    test_loss: Array
    test_accuracy: Array
    firing_rate: Array
    silent_fraction: Array
    in_window: Array
    operations: Array
