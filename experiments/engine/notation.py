"""Parser for the usual notation of networks, such as `15C5-P2-40C5-P2-300-10`.

`15C5` is a convolution with 15 filters of 5x5 pixels, `P2` is an average pooling over 2x2 pixels,
and a number is a dense layer with that number of units. The module does not import JAX, because the
benchmarks of other libraries use it, too.
"""

import re
from typing import NamedTuple


class Conv(NamedTuple):
    """A convolution with a square kernel and stride 1."""

    features: int
    kernel: int


class Pool(NamedTuple):
    """An average pooling over square windows that do not overlap."""

    window: int


class Dense(NamedTuple):
    """A dense layer."""

    features: int


Part = Conv | Pool | Dense


def parse(network: str) -> list[Part]:
    """Parse the layers of a network.

    Args:
      network: parts joined by `-`; dense layers come last.

    Returns:
      One `Conv`, `Pool` or `Dense` for each layer.

    Raises:
      ValueError: a part has another form, or a `Conv` or `Pool` follows a dense layer.

    >>> parse("6C3-300-10")
    [Conv(features=6, kernel=3), Dense(features=300), Dense(features=10)]
    """
    parts: list[Part] = []
    for text in network.split("-"):
        match = re.fullmatch(r"([1-9]\d*)(?:C([1-9]\d*))?|A?P([1-9]\d*)", text)
        if match is None:
            raise ValueError(
                f"network must be parts such as 15C5, P2 and 300 joined by -, got {text!r} in "
                f"{network!r}"
            )
        features, kernel, window = (None if g is None else int(g) for g in match.groups())
        if window is not None:
            part: Part = Pool(window)
        elif features is not None and kernel is not None:
            part = Conv(features, kernel)
        else:
            assert features is not None
            part = Dense(features)
        if parts and isinstance(parts[-1], Dense) and not isinstance(part, Dense):
            raise ValueError(f"network must end in its dense layers, got {text!r} in {network!r}")
        parts.append(part)
    return parts
