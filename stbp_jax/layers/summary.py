"""The summary of a network: a table of its layers, output shapes, parameters and constants."""

import math
from typing import Any

import jax

from stbp_jax import arguments
from stbp_jax.core import Layer, Shapes, constants_of, is_shape, map_shapes
from stbp_jax.reprs import argument_texts, call_text


def summary(network: Layer, shape: Shapes) -> str:
    """Describes a network as a table of text, without computing anything.

    Args:
      network: any `Layer`; each layer inside `serial` has its own line.
      shape: shape of one example's time slice, without T and B; a pytree of shapes for a network
        that takes a pytree.

    Returns:
      A table with one line for each layer: its connections and neuron, its output shape, its number
      of parameters, and its neuron's constants. The last line holds the totals.

    Raises:
      TypeError: `network` is not a `Layer`, or `shape` is not a tuple of integers.
      ValueError: a layer does not take the shape.

    >>> from stbp_jax import dense, flatten, lif, serial
    >>> print(summary(serial(flatten(), dense(400, lif()), dense(10)), (28, 28)))
    layer            output  parameters  constants
    flatten()        784              0
    dense(400), lif  400        314,000  decay=0.2, threshold=0.5, surrogate=rectangular(1.0), ...
    dense(10)        10           4,010
    3 layers         10         318,010
    """
    arguments.instance("network", network, Layer, "a Layer, such as dense(10)")
    shape = map_shapes(lambda sizes: arguments.shape("shape", sizes), shape)
    layers, total = _flat(network), 0
    lines = [("layer", "output", "parameters", "constants")]
    for layer in layers:
        params, shape = _made(layer, shape)
        size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
        name, constants = _texts(layer)
        lines.append((name, _sizes(shape), f"{size:,}", constants))
        total += size
    count = f"{len(layers)} layer{'s' if len(layers) > 1 else ''}"
    lines.append((count, _sizes(shape), f"{total:,}", ""))
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        f"{name:{wide[0]}}  {out:{wide[1]}}  {size:>{wide[2]}}  {constants}".rstrip()
        for name, out, size, constants in lines
    )


def _flat(network: Layer) -> list[Layer]:
    """The layers of a network and of all networks inside it."""
    return [part for layer in network.layers for part in _flat(layer)] or [network]


def _made(layer: Layer, shape: Shapes) -> tuple[Any, Shapes]:
    """The shapes of a layer's parameters and the shape of its output."""
    out: list[Shapes] = []

    def params(key: Any) -> Any:
        drawn, out_shape = layer.init(key, shape)
        out.append(out_shape)
        return drawn

    return jax.eval_shape(params, jax.random.key(0)), out[0]


def _texts(layer: Layer) -> tuple[str, str]:
    """The text of a layer's connections and neuron, and the text of the neuron's constants."""
    constants = dict(constants_of(layer))
    if not constants:
        return repr(layer), ""
    neuron = constants.pop("units", None)
    connections = call_text(constants) if constants else "spiking"
    if not neuron:
        return connections, ""
    return f"{connections}, {neuron['neuron']}", ", ".join(argument_texts(neuron))


def _sizes(shape: Shapes) -> str:
    sizes = jax.tree.leaves(shape, is_leaf=is_shape)
    return ", ".join(" x ".join(map(str, one)) for one in sizes)
