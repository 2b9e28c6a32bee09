"""Types in `jax.export`: those of the library are registered at import, others by `register`.

A function whose arguments hold NamedTuples can only be serialized once each of their types has a
name. The process that deserializes the function needs the same names.
"""

from typing import Any

import jax
from jax import export

from stbp_jax.core import LayerStats, Probe, PyTree
from stbp_jax.initializers import Weights
from stbp_jax.layers import FeedbackParams, FeedbackState, LayerParams
from stbp_jax.neurons import (
    ALIFState,
    CurrentState,
    LearnableDecayParams,
    LIFState,
    RecurrentParams,
    RecurrentState,
)
from stbp_jax.streaming import StreamState
from stbp_jax.training import Evaluation, History, TrainState


def register(tree: PyTree) -> None:
    """Register the types of all NamedTuples in a tree, such as the state of an optimizer.

    A type is registered once, under its public name: its module without private parts, and its
    class. A type that is registered already keeps its name. Other nodes, such as dataclasses, need
    `jax.export.register_pytree_node_serialization`.

    Args:
      tree: any pytree, concrete, traced or with leaves of `jax.ShapeDtypeStruct`.

    Raises:
      ValueError: two types have one public name.

    >>> import optax
    >>> params = jax.numpy.ones(3)
    >>> register(optax.adam(1e-3).init(params))
    """
    _register_nodes(jax.tree.structure(tree))


def _register_nodes(tree: Any) -> None:
    data = tree.node_data()
    if data is not None and hasattr(data[0], "_fields"):
        kind = data[0]
        modules = [part for part in kind.__module__.split(".") if not part.startswith("_")]
        _register(kind, ".".join([*modules, kind.__qualname__]))
    for child in tree.children():
        _register_nodes(child)


def _register(kind: Any, name: str) -> None:
    try:
        export.register_namedtuple_serialization(kind, serialized_name=name)
    except ValueError as error:
        if "registration for type" not in str(error):  # the name is that of another type
            raise


# Names without modules: a type may move.
for _kind in (
    LayerStats,
    Probe,
    Weights,
    LayerParams,
    FeedbackParams,
    FeedbackState,
    LIFState,
    ALIFState,
    CurrentState,
    RecurrentState,
    RecurrentParams,
    LearnableDecayParams,
    StreamState,
    TrainState,
    History,
    Evaluation,
):
    _register(_kind, f"stbp_jax.{_kind.__name__}")
