"""The numbers of an experiment, nested by what they belong to; the command line reads them too."""

import dataclasses
import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from stbp_jax import presets

CODE = presets.code.mnist_cnn  # the settings of the authors' released MNIST network


class UsageError(Exception):
    """A request that cannot be met; the message says why and what would do."""


@dataclass(frozen=True)
class Data:
    """Examples, and the number of steps that present one."""

    name: str = "mnist"
    """data set"""
    limit: int = 0
    """use this many examples of each set; 0 takes all"""
    num_train: int = 0
    """training examples, validation among them; 0 takes all"""
    num_test: int = 0
    """test examples; 0 takes all"""
    validation: int = 0
    """last training examples, held out to choose an epoch"""
    num_steps: int = 10
    """T, steps of a presentation"""


@dataclass(frozen=True)
class Model:
    """A network and its neurons."""

    layers: str = "800-10"
    """all layers in the field's notation, such as 15C5-P2-40C5-P2-300-10"""
    padding: Literal["valid", "same"] = "valid"
    """of convolutions"""
    decay: float = CODE.decay
    """share of the membrane that is left after a step"""
    threshold: float = CODE.threshold
    """membrane at which a unit fires"""
    width: float = 1.0
    """a1, the width of the rectangular surrogate"""
    gain: float = 1.0
    """first weights, as a multiple of the authors'"""
    output_bias: float = 0.0
    """added to the first biases of the output layer, so that it fires before it has learned"""
    dropout: float = 0.0
    """share of each dense hidden layer that is silenced while training"""
    input_dropout: float = 0.0
    """share of the inputs that is silenced while training"""


@dataclass(frozen=True)
class Train:
    """One run of Adam, and what happens to an image before it is learned from."""

    epochs: int = 30
    """passes over the training set"""
    batch_size: int = CODE.batch_size
    """examples in an update"""
    learning_rate: float = 1e-3
    """of Adam, at its start"""
    elastic: float = 0.0
    """strength of elastic distortion, in pixels; 0 for none"""
    flip: float = 0.0
    """share of the images that is mirrored left to right"""
    epsilon: float = 0.0
    """size of the adversarial step on the pixels; white is 1"""
    share: float = 1.0
    """share of the moved images in the training loss"""
    chunk: int = 0
    """points of a sweep that are trained at once; 0 for all"""


@dataclass(frozen=True)
class Config:
    """All numbers of an experiment.

    >>> Config().but(epochs=2, num_steps=4).train.epochs
    2
    """

    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    train: Train = field(default_factory=Train)

    def but(self, **changes: Any) -> "Config":
        """The config with other values; a field's name alone says which part it belongs to.

        Raises:
          UsageError: an unknown name; near misses are named.
        """
        parts = {part.name: getattr(self, part.name) for part in dataclasses.fields(self)}
        home = {f.name: name for name, part in parts.items() for f in dataclasses.fields(part)}
        for name, value in changes.items():
            if name not in home:
                raise UsageError(f"no setting is called {name!r}.{near(name, home)}")
            parts[home[name]] = dataclasses.replace(parts[home[name]], **{name: value})
        return Config(**parts)

    def asdict(self) -> dict[str, dict[str, Any]]:
        """The config as a row holds it."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        lines = []
        for name, part in self.asdict().items():
            values = [f"{key}={value}" for key, value in part.items() if value not in (0, "")]
            lines.append(f"  {name:6}" + "  ".join(values))
        return "\n".join(lines)


def near(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` where a name is near, and the known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"{hint} Known: {', '.join(names)}."
