"""The measurements of a run: the `Evaluation` of a set and the `History` of all epochs."""

from collections import OrderedDict
from typing import NamedTuple

from stbp_jax.core import Array


class Counts(NamedTuple):
    """What the means of an evaluation are taken over; `merge_evaluations` needs them.

    Attributes:
      weight: scalar, sum of the examples' weights.
      examples: scalar, examples of a weight above 0.
      steps: scalar, their steps without padding.

    >>> Counts(4.0, 4, 40).steps
    40
    """

    weight: Array
    examples: Array
    steps: Array


class Evaluation(NamedTuple):
    """The loss, metrics and layer statistics of a network on one set.

    L is the number of spiking layers. A number that a layer does not report is NaN.

    Attributes:
      loss: scalar, mean over the set, weighted by the examples' weights.
      metrics: the mean of each metric by its name, in the pipeline's order, such as
        `metrics["accuracy"]`.
      firing_rate: `[L]`, spikes per unit and step.
      silent_fraction: `[L]`, share of units that never fire in the set.
      in_window: `[L]`, share of unit-steps inside the surrogate's window.
      operations: `[L]`, synaptic operations per example.
      unit_rates: for each spiking layer `[*units]`, spikes per step of each unit; `()` in a
        `History`.
      counts: what the means are taken over.

    >>> import numpy as np
    >>> found = Evaluation(0.5, OrderedDict(accuracy=0.9), *[np.zeros(2)] * 4)
    >>> found.headline
    0.9
    """

    loss: Array
    metrics: "OrderedDict[str, Array]"
    firing_rate: Array
    silent_fraction: Array
    in_window: Array
    operations: Array
    unit_rates: tuple[Array, ...] = ()
    counts: Counts | None = None

    @property
    def headline(self) -> Array:
        """The first metric; the loss if there is none."""
        return next(iter(self.metrics.values()), self.loss)


class History(NamedTuple):
    """The measurements of a run, every leaf with a leading axis E of epochs.

    `diagnose` says in words what in them keeps a network from learning.

    Attributes:
      loss: `[E]`, the training loss (the pipeline's objective), mean over the epoch's updates.
      metrics: each `[E]`, mean over the batches, each before its update, as the objective reports
        them.
      test: the `Evaluation` of the test set after each epoch: `test.metrics["accuracy"] [E]`,
        `test.firing_rate [E, L]`. Each evaluation draws the same input spikes.
      non_finite_updates: `[E]`, int32, the number of updates with a NaN or an infinity in the loss,
        the gradient or the updated parameters. It is 0 in a sound run, and counts all updates once
        parameters are NaN.

    >>> import numpy as np
    >>> zeros, accuracy = np.zeros(3), OrderedDict(accuracy=np.array([0.5, 0.8, 0.9]))
    >>> history = History(zeros, accuracy, Evaluation(zeros, accuracy, *[zeros] * 4), zeros)
    >>> float(history.test.metrics["accuracy"][-1])
    0.9
    """

    loss: Array
    metrics: "OrderedDict[str, Array]"
    test: Evaluation
    non_finite_updates: Array

    @property
    def headline(self) -> Array:
        """The first metric; the loss if there is none."""
        return next(iter(self.metrics.values()), self.loss)
