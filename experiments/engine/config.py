"""Typed settings of an experiment in three groups: data, model and train.

The command line makes its options from these classes, and every result row stores their values.
"""

import dataclasses
import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from stbp_jax import presets

CODE = presets.code.mnist_cnn  # the settings of the authors' released MNIST network


class UsageError(Exception):
    """A request that cannot be met; the message names the cause and a remedy."""


@dataclass(frozen=True)
class Data:
    """The data set, its size, and the number of time steps."""

    name: str = "mnist"
    """data set"""
    limit: int = 0
    """cap on each of the two sets; the smaller of this and num_* counts; 0 for no cap"""
    num_train: int = 0
    """training examples, including those for validation; 0 takes all"""
    num_test: int = 0
    """test examples; 0 takes all"""
    validation: int = 0
    """training examples at the end of the set that are held out to choose an epoch"""
    num_steps: int = 10
    """T, time steps for each example"""


@dataclass(frozen=True)
class Model:
    """The network and its neurons."""

    layers: str = "800-10"
    """all layers without the input, such as 15C5-P2-40C5-P2-300-10"""
    padding: Literal["valid", "same"] = "valid"
    """padding of convolutions"""
    decay: float = CODE.decay
    """fraction of the membrane that remains after one step"""
    threshold: float = CODE.threshold
    """membrane at which a neuron spikes"""
    width: float = 1.0
    """a1, width of the rectangle that replaces the derivative of a spike when training"""
    gain: float = 1.0
    """initial weights, as a multiple of those in the authors' code"""
    output_bias: float = 0.0
    """added to the initial biases of the output layer, which then spikes before training"""
    dropout: float = 0.0
    """fraction of each dense hidden layer that is dropped in training"""
    input_dropout: float = 0.0
    """fraction of the inputs that is dropped in training"""


@dataclass(frozen=True)
class Train:
    """The training run with Adam, and the augmentation of images."""

    epochs: int = 30
    """epochs of training"""
    batch_size: int = CODE.batch_size
    """examples in each update"""
    learning_rate: float = 1e-3
    """initial learning rate of Adam"""
    elastic: float = 0.0
    """strength of elastic distortion, in pixels; 0 for none"""
    flip: float = 0.0
    """fraction of the images that is mirrored left to right"""
    epsilon: float = 0.0
    """size of the adversarial step on the pixels, which range from 0 to 1; 0 for none"""
    share: float = 1.0
    """weight of the adversarial images in the training loss, from 0 to 1"""
    chunk: int = 0
    """points of a sweep that train at the same time, to limit memory; 0 for all"""
    skip_non_finite: bool = False
    """skip and count updates with a NaN or an infinity in the gradient, instead of stopping"""


@dataclass(frozen=True)
class Config:
    """All settings of an experiment.

    >>> Config().but(epochs=2, num_steps=4).train.epochs
    2
    """

    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    train: Train = field(default_factory=Train)

    def but(self, **changes: Any) -> "Config":
        """Return a copy with other values; fields are named without their group.

        Args:
          **changes: new values by the name of the field, in any of the three groups.

        Raises:
          UsageError: a name is unknown; the message suggests similar names.
        """
        parts = {part.name: getattr(self, part.name) for part in dataclasses.fields(self)}
        home = {f.name: name for name, part in parts.items() for f in dataclasses.fields(part)}
        for name, value in changes.items():
            if name not in home:
                raise UsageError(f"no setting is called {name!r}.{near(name, home)}")
            parts[home[name]] = dataclasses.replace(parts[home[name]], **{name: value})
        return Config(**parts)

    def asdict(self) -> dict[str, dict[str, Any]]:
        """Return nested dictionaries, as rows store them."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        lines = []
        for name, part in self.asdict().items():
            values = [f"{key}={value}" for key, value in part.items() if value not in (0, "")]
            lines.append(f"  {name:6}" + "  ".join(values))
        return "\n".join(lines)


def near(name: str, known: Iterable[str]) -> str:
    """Return a suggestion for an error message: similar names, then all known names.

    >>> near("treshold", ["decay", "threshold"])
    " Did you mean 'threshold'? Known: decay, threshold."
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"{hint} Known: {', '.join(names)}."
