"""A network as a `flax.nnx` module, whose parameters are the network's."""

from typing import Any

import jax

try:
    from flax import nnx
except ImportError as error:
    raise ImportError(
        "stbp_jax.bridges.nnx needs flax.nnx, which does not import here: pip install "
        "flax, in a release that fits this release of jax"
    ) from error

from stbp_jax import arguments
from stbp_jax.core import Array, Layer, Params, Shape, State, step_layer
from stbp_jax.layers import apply


class Spiking(nnx.Module):
    """A network inside an NNX model.

    Each leaf of the parameters is an `nnx.Param`: the path `params/0/synapse/kernel` in
    `nnx.state` is the leaf `0/synapse/kernel` of `named_parameters`. The state of the neurons is no
    variable: it is an argument and a result.

    Attributes:
      net: the network; static.
      params: the parameters, in the network's tree, with an `nnx.Param` at each leaf.

    >>> import jax.numpy as jnp
    >>> from stbp_jax import dense, lif, rate, serial
    >>> model = Spiking(serial(dense(8, lif()), dense(3, lif())), (4,), rngs=nnx.Rngs(0))
    >>> model.params[1].synapse.kernel.shape
    (8, 3)
    >>> state, outs = model(jnp.ones((5, 2, 4)))
    >>> rate(outs).shape
    (2, 3)
    """

    def __init__(self, net: Layer, shape: Shape, *, rngs: Any) -> None:
        """Draw the parameters.

        Args:
          net: the network, any `Layer`.
          shape: shape of the inputs, without T and B.
          rngs: `nnx.Rngs`; the stream `params` gives the key.

        Raises:
          TypeError: `net` is not a `Layer`.
          ValueError: the network does not take the shape.
        """
        arguments.instance("rngs", rngs, nnx.Rngs, "nnx.Rngs")
        self.net = nnx.static(arguments.instance("net", net, Layer, "a Layer, such as dense(10)"))
        params, _ = net.init(rngs.params(), arguments.shape("shape", shape))
        self.params = nnx.data(jax.tree.map(nnx.Param, params))

    def __call__(
        self,
        xs: Array,
        *,
        key: Array | None = None,
        state: State | None = None,
        is_first: Array | None = None,
    ) -> tuple[State, Array]:
        """Run the network over whole sequences, as `apply` does.

        Args:
          xs: `[T, B, *in]`.
          key: for layers that draw random numbers (dropout), such as `rngs.dropout()`; None turns
            them off.
          state: before the first step; None for rest.
          is_first: `[T, B]` bool; where it is set, that example enters the step at rest.

        Returns:
          `(last state, outs [T, B, *out])`.

        Raises:
          TypeError, ValueError: as `apply`.
        """
        return apply(self.net, self._arrays(), xs, key=key, state=state, is_first=is_first)

    def initial_state(self, shape: Shape, *, key: Array | None = None) -> State:
        """Return the state at rest for time slices of shape `[B, *in]`; `key` as in the call."""
        return self.net.initial_state(self._arrays(), shape, key=key)[0]

    def step(self, state: State, x: Array, *, is_first: Array | None = None) -> tuple[State, Array]:
        """Run one time step, for streams.

        Args:
          state: before the step.
          x: `[B, *in]`.
          is_first: `[B]` bool; where it is set, that example enters the step at rest.

        Returns:
          `(state, y [B, *out])`.
        """
        return step_layer(self.net, self._arrays(), state, x, is_first)

    def _arrays(self) -> Params:
        return jax.tree.map(
            lambda param: param[...], self.params, is_leaf=lambda x: isinstance(x, nnx.Param)
        )
