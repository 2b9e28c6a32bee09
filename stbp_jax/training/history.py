"""The measurements of a run: an `Evaluation` of a set, and the `History` of all epochs."""

from typing import NamedTuple

from stbp_jax.core import Array


class Evaluation(NamedTuple):
    """How well a network does on one set; L counts the spiking layers.

    Attributes:
      loss: scalar, mean over the set.
      accuracy: scalar.
      firing_rate: `[L]`, spikes per unit and step.
      silent_fraction: `[L]`, share of units that fire nowhere in the set.
      in_window: `[L]`, share of unit-steps inside the surrogate's window.
      operations: `[L]`, synaptic operations per example.

    A number that a layer does not report is NaN.
    """

    loss: Array
    accuracy: Array
    firing_rate: Array
    silent_fraction: Array
    in_window: Array
    operations: Array


class History(NamedTuple):
    """The measurements of a run, every leaf with a leading axis E of epochs.

    Attributes:
      loss: `[E]`, the training loss (the pipeline's objective), mean over the epoch's updates.
      train_accuracy: `[E]`, on the batches before their update, as the objective reports it.
      test: an `Evaluation` of the test set after each epoch, with the same draws of input spikes
        in each: `test.accuracy [E]`, `test.firing_rate [E, L]`.
      non_finite_updates: `[E]`, int32, updates of the epoch with a NaN or an infinity in the loss,
        in the gradient or in the parameters after it. 0 in a sound run; once parameters are NaN,
        all updates of an epoch.
    """

    loss: Array
    train_accuracy: Array
    test: Evaluation
    non_finite_updates: Array
