"""The text of records of functions: their factory's call, from the constants that they name."""

import functools
from typing import Any

import jax
import numpy as np

# Constants that a factory takes by position; all others are shown by name.
_POSITIONAL = ("features", "window", "size", "shape", "layers", "inner", "at 0.5", "units")


def call_text(constants: dict[str, Any]) -> str:
    """The call that makes a neuron, layer or synapse of these constants.

    >>> call_text({"layer": "dense", "features": 3, "constraint": None})
    'dense(3)'
    >>> call_text({"neuron": "lif", "decay": 0.5, "reset": "hard_reset"})
    'lif(decay=0.5, reset=hard_reset)'
    """
    name = constants.get("neuron") or constants.get("layer") or "spiking"
    return f"{name}({', '.join(argument_texts(constants))})"


def argument_texts(constants: dict[str, Any]) -> list[str]:
    """The arguments of `call_text`."""
    given = {k: v for k, v in constants.items() if k not in ("neuron", "layer") and v is not None}
    first = [given.pop(key) for key in _POSITIONAL if key in given]
    if constants.get("layer") == "serial":
        first = first[0]
    return [*map(value_text, first), *keyword_texts(given)]


def keyword_texts(values: dict[str, Any]) -> list[str]:
    """Each value as `name=value`, without those that are None."""
    return [f"{name}={value_text(x)}" for name, x in values.items() if x is not None]


def value_text(x: Any) -> str:
    """A constant, short: numbers as they are, large arrays by dtype and shape, functions by name.

    >>> value_text(np.zeros((2, 3))), value_text([0.5, 1.0]), value_text(np.tanh)
    ('float64[2, 3]', '[0.5, 1.0]', 'tanh')
    """
    if isinstance(x, dict) and ("layer" in x or "neuron" in x or "units" in x):
        return call_text(x)
    if isinstance(x, functools.partial):
        return f"partial({value_text(x.func)})"
    if isinstance(x, str):
        return x
    if isinstance(x, list | tuple) and not hasattr(x, "_fields"):
        texts = ", ".join(map(value_text, x))
        return f"[{texts}]" if isinstance(x, list) else f"({texts})"
    if isinstance(x, jax.core.Tracer):
        return f"traced {x.dtype}{list(x.shape)}"
    if isinstance(x, np.ndarray | np.generic | jax.Array):
        return f"{x.item():.6g}" if x.ndim == 0 else f"{x.dtype}{list(x.shape)}"
    if hasattr(x, "__qualname__"):
        return str(x.__qualname__).replace("<locals>.", "")
    text = repr(x)
    # Optimizers of optax and other records of functions: a page of closures.
    return f"{type(x).__name__}(...)" if "<function " in text else text


def record_text(record: Any) -> str:
    """A NamedTuple as `Name(field=value)`, without the fields that are None."""
    return f"{type(record).__name__}({', '.join(keyword_texts(record._asdict()))})"
