"""Metrics of a run as TensorBoard shows them while the run goes on: option `--tensorboard`."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from experiments.engine.config import UsageError
from experiments.engine.rows import Row

FOLDER = "tensorboard"

Follower = Callable[[Row], None]
"""Takes the metrics of each epoch, as the run folder keeps them."""

Follow = Callable[[Path], contextlib.AbstractContextManager[Follower]]
"""From a run folder to a `Follower` for the time of the run."""


def writer() -> Follow:
    """Return a `Follow` that writes events for TensorBoard.

    The events are in the folder `tensorboard` of the run folder. Every number is a scalar, with its
    indices behind its name: `firing_rate/0` is the rate of the first spiking layer, and in a sweep
    `test_accuracy/3/1` is the accuracy of the fourth point and the second seed.

    Raises:
      UsageError: the package tensorboardX is not installed.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UsageError(
            f"--tensorboard needs tensorboardX: pip install tensorboardX ({error})"
        ) from None

    @contextlib.contextmanager
    def follow(folder: Path) -> Iterator[Follower]:
        # A resumed run writes its first epochs again, in place of those of earlier files.
        with SummaryWriter(str(folder / FOLDER), purge_step=1) as events:

            def write(epoch: Row) -> None:
                for name, value in epoch.items():
                    if name == "epoch" or value is None:
                        continue
                    for index, number in np.ndenumerate(np.asarray(value, float)):
                        tag = "/".join([name, *map(str, index)])
                        events.add_scalar(tag, float(number), epoch["epoch"])
                events.flush()

            yield write

    return follow


@contextlib.contextmanager
def nobody(folder: Path) -> Iterator[Follower]:
    """Follow no metrics."""
    yield lambda epoch: None
