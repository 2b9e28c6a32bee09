"""The field's notation of a network: `15C5-P2-40C5-P2-300-10`.

`15C5` is a convolution of 15 filters of 5x5 pixels, `P2` an average pooling over 2x2, a number a
dense layer of that many units. The module needs no JAX, because the benchmarks' peers use it.
"""

import re
from typing import NamedTuple


class Conv(NamedTuple):
    """Square kernel, stride 1, no padding."""

    features: int
    kernel: int


class Pool(NamedTuple):
    """Average over square windows, stride as wide."""

    window: int


class Dense(NamedTuple):
    """All to all."""

    features: int


Part = Conv | Pool | Dense


def parse(network: str) -> list[Part]:
    """The layers of a network.

    Args:
      network: parts joined by `-`; dense layers come last.

    Returns:
      One part for each layer.

    Raises:
      ValueError: a part that is none of these, or an image layer after a dense one.

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
