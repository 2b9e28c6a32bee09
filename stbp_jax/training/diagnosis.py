"""What keeps a network from learning, read from the measurements of a run."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from stbp_jax import arguments
from stbp_jax.training.history import History

# Shares of units that never fire, of steps with a spike, and of membranes inside the window.
_SILENT, _SATURATED, _EMPTY = 0.9, 0.9, 0.001


class Finding(NamedTuple):
    """Something that keeps a network from learning; its `str` is one sentence.

    Attributes:
      kind: `"diverged"`, `"silent"`, `"saturated"` or `"outside the window"`.
      layer: index of the spiking layer in `Evaluation.firing_rate`; None for the whole run.
      words: where, and how much.
      remedy: what to try.

    >>> print(Finding("silent", 0, "spiking layer 0 fires nowhere", "lower the threshold"))
    spiking layer 0 fires nowhere: lower the threshold
    """

    kind: str
    layer: int | None
    words: str
    remedy: str

    def __str__(self) -> str:
        """One sentence: the words and the remedy."""
        return f"{self.words}: {self.remedy}"


def diagnose(history: History) -> list[Finding]:
    """Say what keeps a network from learning: divergence, and layers without a useful gradient.

    A layer is looked at after the last epoch, on the test set. It is *silent* if more than 90 % of
    its units never fire, *saturated* if its firing rate is above 0.9, and *outside the window* if
    it is neither, and fewer than one in 1000 of its membranes lie in the window, where the
    surrogate is at least half as high as its peak. A silent layer still learns while membranes of
    it, and of the layers behind it, lie in the window; its words say how many do. Read the layers
    from the input on: behind a silent layer, others may be silent for want of spikes.

    Args:
      history: the `History` of a run of `make_train`, with leaves `[E, ...]`, or of one epoch of
        `train_epochs`. For a cell of a sweep, `jax.tree.map(lambda x: x[h, s], history)`.

    Returns:
      A list of findings: divergence first, then by layer from the input on; empty for a sound
      run. A number that is NaN, because the layer does not report it, gives no finding.

    Raises:
      TypeError: `history` is not a `History`, or is traced.
      ValueError: a `History` of several runs, or of no epoch.

    >>> import optax
    >>> import stbp_jax as sj
    >>> def build(hparams, num_updates):
    ...     return sj.Pipeline(
    ...         encode=lambda key, inputs: sj.bernoulli(key, inputs, num_steps=3),
    ...         network=sj.dense(2, sj.lif(threshold=50.0)),
    ...         readout=sj.rate,
    ...         loss=sj.half_squared_error,
    ...         optimizer=optax.adam(0.1),
    ...     )
    >>> data = np.full((20, 3), 0.5, np.float32), np.arange(20) % 2
    >>> train = sj.make_train(build, sj.TrainConfig(epochs=2, batch_size=10))
    >>> _, history = train(jax.random.key(0), (), data, data)
    >>> for finding in diagnose(history):
    ...     print(finding)
    spiking layer 0 fires nowhere on the test set, and has none of its membranes in the window:
    raise its initial weights or biases, or lower the threshold
    """
    if not isinstance(history, History):
        raise TypeError(
            f"history must be a History, such as that of make_train, got {type(history).__name__}"
        )
    if not all(map(arguments.concrete, jax.tree.leaves(history))):
        raise TypeError("history must be concrete, got traced values: call diagnose outside jit")
    lost, loss = (np.asarray(x) for x in (history.non_finite_updates, history.test.loss))
    if lost.ndim > 1 or 0 in lost.shape:
        raise ValueError(
            "history must be of one run, with leaves [E, ...], or of one epoch, got "
            f"non_finite_updates {list(lost.shape)}; of a sweep take one cell, such as "
            "jax.tree.map(lambda x: x[h, s], history)"
        )
    return [*_divergence(lost, loss), *_layers(history)]


def _divergence(lost: np.ndarray, loss: np.ndarray) -> Iterator[Finding]:
    """Updates that are not finite, in any epoch; else the last test loss."""
    if lost.sum():
        first = f", the first in epoch {int(np.argmax(lost > 0)) + 1}" if lost.ndim else ""
        words = f"{int(lost.sum())} updates were not finite (loss, gradient or parameters){first}"
    elif not np.isfinite(loss.flat[-1]):
        words = f"the test loss is {loss.flat[-1]}"
    else:
        return
    yield Finding("diverged", None, words, "lower the learning rate, or clip the gradient")


def _layers(history: History) -> Iterator[Finding]:
    """Silent, saturated and outside the window, by layer."""
    one_epoch = np.ndim(history.non_finite_updates) == 0
    test = history.test
    statistics = [
        np.asarray(x, np.float64)[() if one_epoch else -1]
        for x in (test.firing_rate, test.silent_fraction, test.in_window)
    ]
    for layer, (rate, silent, inside) in enumerate(zip(*statistics, strict=True)):
        where, empty = f"spiking layer {layer}", inside < _EMPTY
        share = f"{100 * inside:.2g} %" if inside > 0 else "none"
        window = f"{share} of its membranes in the window"
        more = "" if np.isnan(inside) else f", {'and' if empty else 'but'} has {window}"
        if rate == 0 or silent > _SILENT:
            some = f"leaves {100 * silent:.3g} % of its units silent"
            words = f"{where} {some if rate else 'fires nowhere'} on the test set{more}"
            remedy = "raise its initial weights or biases, or lower the threshold"
            if not empty and more:
                remedy = f"go on while the accuracy rises; else {remedy}"
            yield Finding("silent", layer, words, remedy)
        elif rate > _SATURATED:
            words = f"{where} fires at {100 * rate:.3g} % of the steps{more}"
            remedy = "lower its initial weights, biases or inputs, or raise the threshold"
            yield Finding("saturated", layer, words, remedy)
        elif empty and not np.isnan(rate):
            remedy = "widen the surrogate, or lower the learning rate"
            yield Finding("outside the window", layer, f"{where} has {window}", remedy)
