"""Names of parameters: the path of each leaf, and masks and labels that follow from it."""

from collections.abc import Callable
from typing import Any

import jax

from stbp_jax import arguments
from stbp_jax.core import Array, Params, PyTree


def named_parameters(params: Params) -> dict[str, Array]:
    """The parameters of a network by their names.

    A name is the path of a leaf: the number of the layer in its `serial`, then fields of
    `LayerParams`, of the synapse's and of the neuron's parameters.

    Args:
      params: from `network.init`, or any pytree.

    Returns:
      A dict from names to leaves, in the order of the layers.

    >>> from stbp_jax import dense, learnable_decay, lif, serial
    >>> from stbp_jax.neurons import per_layer
    >>> neuron = learnable_decay(lambda decay: lif(decay=decay), per_layer(0.5))
    >>> network = serial(dense(5, neuron), dense(3))
    >>> params, _ = network.init(jax.random.key(0), (4,))
    >>> for name, leaf in named_parameters(params).items():
    ...     print(name, leaf.shape)
    0/synapse/kernel (4, 5)
    0/synapse/bias (5,)
    0/neuron/logits ()
    1/synapse/kernel (5, 3)
    1/synapse/bias (3,)
    """
    return {_name(path): leaf for path, leaf in jax.tree.leaves_with_path(params)}


def by_name(value: Callable[[str], Any]) -> Callable[[Params], PyTree]:
    """Make a mask or labels for optax from the names of parameters.

    Args:
      value: function from the name of a parameter, as `named_parameters` gives it, to what takes
        its place: a bool for `optax.masked`, a label for `optax.partition`.

    Returns:
      A function from parameters to the tree of the values, which optax calls itself.

    Raises:
      TypeError: `value` is not a function.

    Weight decay on kernels alone, and a network whose first layer is frozen:

    >>> import optax
    >>> decay = optax.add_decayed_weights(1e-4, by_name(lambda name: name.endswith("kernel")))
    >>> optimizer = optax.partition(
    ...     {"train": optax.adam(1e-3), "freeze": optax.set_to_zero()},
    ...     by_name(lambda name: "freeze" if name.startswith("0/") else "train"),
    ... )
    """
    arguments.function("value", value, "a function of a parameter's name")
    return lambda params: jax.tree.map_with_path(lambda path, _: value(_name(path)), params)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
