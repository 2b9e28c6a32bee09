"""The measurements of a run: the `Evaluation` of a set and the `History` of all epochs."""

from typing import NamedTuple

from stbp_jax.core import Array


class Evaluation(NamedTuple):
    """The loss, accuracy and layer statistics of a network on one set.

    L is the number of spiking layers. A number that a layer does not report is NaN.

    Attributes:
      loss: scalar, mean over the set.
      accuracy: scalar in [0, 1].
      firing_rate: `[L]`, spikes per unit and step.
      silent_fraction: `[L]`, share of units that never fire in the set.
      in_window: `[L]`, share of unit-steps inside the surrogate's window.
      operations: `[L]`, synaptic operations per example.
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
      train_accuracy: `[E]`, mean over the batches, each before its update, as the objective reports
        it.
      test: the `Evaluation` of the test set after each epoch: `test.accuracy [E]`,
        `test.firing_rate [E, L]`. Each evaluation draws the same input spikes.
      non_finite_updates: `[E]`, int32, the number of updates with a NaN or an infinity in the loss,
        the gradient or the updated parameters. It is 0 in a sound run, and counts all updates once
        parameters are NaN.
    """

    loss: Array
    train_accuracy: Array
    test: Evaluation
    non_finite_updates: Array
