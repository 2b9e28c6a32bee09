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
from stbp_jax.bridges._drawing import draws
from stbp_jax.calls import step_layer
from stbp_jax.core import Array, Layer, Params, Shape, State
from stbp_jax.layers import apply


class Spiking(nnx.Module):
    """A network inside an NNX model.

    Each leaf of the parameters is an `nnx.Param`: the path `params/0/synapse/kernel` in
    `nnx.state` is the leaf `0/synapse/kernel` of `named_parameters(nnx.as_pure(model.params))`. The
    state of the neurons is no variable: it is an argument and a result.

    Layers that draw random numbers (dropout) are on and off as `nnx.Dropout` is. The module forks
    the stream `dropout` of its `rngs`, or else the default stream. A call that starts from rest
    takes one key of it, for all steps. `model.eval()` sets `deterministic`, which turns these
    layers off, and `model.train()` turns them on. Without a stream they are off, except in calls
    with a `key`. A network that draws nothing keeps no stream.

    Attributes:
      net: the network; static.
      params: the parameters, in the network's tree, with an `nnx.Param` at each leaf.
      deterministic: whether layers that draw random numbers are off.
      rngs: the `nnx.RngStream` of these layers; None if there is none.

    >>> import jax.numpy as jnp
    >>> from stbp_jax import dense, lif, rate, serial
    >>> model = Spiking(serial(dense(8, lif()), dense(3, lif())), (4,), rngs=nnx.Rngs(0))
    >>> model.params[1].synapse.kernel.shape
    (8, 3)
    >>> state, outs = model(jnp.ones((5, 2, 4)))
    >>> rate(outs).shape
    (2, 3)

    The parameters as `apply`, `record`, `apply_with_stats` and `save` take them, and back:

    >>> params = nnx.as_pure(model.params)
    >>> model.params = nnx.data(jax.tree.map(nnx.Param, params))
    """

    def __init__(self, net: Layer, shape: Shape, *, rngs: Any, deterministic: bool = False) -> None:
        """Draw the parameters.

        Args:
          net: the network, any `Layer`.
          shape: shape of the input of one example at one step, such as `(28, 28)`: without T and B.
          rngs: `nnx.Rngs`; the stream `params` gives the key, the stream `dropout` is forked for
            the calls.
          deterministic: whether layers that draw random numbers are off.

        Raises:
          TypeError: `net` is not a `Layer`, or `rngs` is not `nnx.Rngs`.
          ValueError: the network does not take the shape.
        """
        arguments.instance("rngs", rngs, nnx.Rngs, "nnx.Rngs")
        self.net = nnx.static(arguments.instance("net", net, Layer, "a Layer, such as dense(10)"))
        shape = arguments.shape("shape", shape)
        params, _ = net.init(rngs.params(), shape)
        self.params = nnx.data(jax.tree.map(nnx.Param, params))
        self.deterministic = deterministic
        has_stream = "dropout" in rngs or "default" in rngs
        keep = has_stream and draws(net, params, (1, *shape))
        self.rngs = nnx.data(rngs["dropout"].fork() if keep else None)

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
          key: for layers that draw random numbers (dropout), in place of a key of the module's
            stream. If the module is `deterministic`, the key is not used.
          state: before the first step, which holds what was drawn; None for rest.
          is_first: `[T, B]` bool; where it is set, that example enters the step at rest.

        Returns:
          `(last state, outs [T, B, *out])`.

        Raises:
          TypeError, ValueError: as `apply`.
        """
        key = self._key(key) if state is None else key
        return apply(self.net, self._arrays(), xs, key=key, state=state, is_first=is_first)

    def initial_state(self, shape: Shape, *, key: Array | None = None) -> State:
        """Return the state at rest for time slices of shape `[B, *in]`.

        Args:
          shape: of one time slice, with B.
          key: for layers that draw random numbers, as in the call.

        Returns:
          The state, which holds what was drawn.
        """
        return self.net.initial_state(self._arrays(), shape, key=self._key(key))[0]

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

    def set_view(self, deterministic: bool | None = None) -> None:
        """Set `deterministic` in a copy that `nnx.view` makes."""
        if deterministic is not None:
            self.deterministic = deterministic

    def _key(self, key: Array | None) -> Array | None:
        if self.deterministic:
            return None
        return self.rngs() if key is None and self.rngs is not None else key

    def _arrays(self) -> Params:
        return jax.tree.map(
            lambda param: param[...], self.params, is_leaf=lambda x: isinstance(x, nnx.Param)
        )
