"""Tied weights: layers of one network that share parameters."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from stbp_jax import arguments, core
from stbp_jax.core import Array, Layer, LayerStats, Params, PyTree, Shapes, State
from stbp_jax.layers.combinators import Run, combined


def tied(
    network: Layer, *, where: Callable[[Params], PyTree], get: Callable[[Params], PyTree]
) -> Layer:
    """A network in which some parameters are computed from others, and are not learned themselves.

    The gradient of a shared parameter is the sum over all of its uses. Each layer keeps a state of
    its own.

    Args:
      network: the network whose layers share parameters.
      where: from the network's params to the array, or the pytree of arrays, to be replaced.
      get: from the network's params, without what `where` selects, to the replacement, of the same
        form and shapes.

    Returns:
      A `Layer` with the params of `network`, in which None is in place of what `where` selects. Its
      `init` raises ValueError where `where` selects no parameter, or `get` returns another form,
      shape or dtype.

    Raises:
      TypeError: `network` is not a `Layer`; `where` or `get` is not callable.

    An autoencoder whose decoder has the encoder's kernel, transposed:

    >>> from stbp_jax import dense, lif, serial
    >>> network = tied(
    ...     serial(dense(8, lif()), dense(20)),
    ...     where=lambda params: params[1].synapse.kernel,
    ...     get=lambda params: params[0].synapse.kernel.T,
    ... )
    >>> params, _ = network.init(jax.random.key(0), (20,))
    >>> [leaf.shape for leaf in jax.tree.leaves(params)]
    [(20, 8), (8,), (20,)]

    A layer that is used twice:

    >>> layer = dense(8, lif())
    >>> twice = tied(serial(layer, layer), where=lambda p: p[1], get=lambda p: p[0])
    >>> len(jax.tree.leaves(twice.init(jax.random.key(0), (8,))[0]))
    2
    """
    arguments.instance("network", network, Layer, "a Layer, such as serial(...)")
    arguments.function("where", where, "a function of the params")
    arguments.function("get", get, "a function of the params")

    def replaced(params: Params, new: Callable[[list[Any]], list[Any]]) -> Params:
        """The params with `new(leaves)` in place of the leaves that `where` selects."""
        leaves, tree = _flat(params)
        chosen = jax.tree.leaves(where(tree.unflatten(range(len(leaves)))))
        if not all(isinstance(place, int) for place in chosen):
            raise TypeError("where must select arrays of the params and compute nothing of them")
        values = new([leaves[place] for place in chosen])
        for place, value in zip(chosen, values, strict=True):
            leaves[place] = value
        return tree.unflatten(leaves)

    def full(params: Params) -> Params:
        return replaced(params, lambda _: _flat(get(params))[0])

    def init(key: Array, shape: Shapes) -> tuple[Params, Shapes]:
        params, out = network.init(key, shape)
        lean = replaced(params, lambda leaves: [None] * len(leaves))
        if len(jax.tree.leaves(lean)) == len(jax.tree.leaves(params)):
            raise ValueError("where must select parameters of the network, got none")
        wanted, found = where(params), jax.eval_shape(get, lean)
        if _forms(found) != _forms(wanted):
            raise ValueError(
                f"get must return what where selects, {_forms(wanted)}, got {_forms(found)}"
            )
        return lean, out

    def initial_state(
        params: Params, shape: Shapes, *, key: Array | None = None
    ) -> tuple[State, Shapes]:
        return network.initial_state(full(params), shape, key=key)

    def through(
        run: Run, params: Params, state: State, x: PyTree, is_first: Array | None
    ) -> tuple[State, PyTree, tuple[LayerStats, ...]]:
        return run(network, full(params), state, x, is_first)

    constants = {"layer": "tied", "inner": core.constants_of(network)}
    return combined(init, initial_state, through, constants)


def _flat(params: Params) -> tuple[list[Any], Any]:
    """The leaves, None among them, and the structure."""
    return jax.tree.flatten(params, is_leaf=lambda x: x is None)


def _forms(tree: PyTree) -> PyTree:
    """Dtype and shape of every array, as text in the tree."""
    return jax.tree.map(lambda x: f"{jnp.result_type(x)}{list(jnp.shape(x))}", tree)
