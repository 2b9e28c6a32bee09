"""A network as a `flax.linen` module, whose parameters are the network's."""

from typing import Any

import jax

try:
    from flax import linen
except ImportError as error:
    raise ImportError(
        "stbp_jax.bridges.linen needs flax, which is not installed: pip install flax"
    ) from error

from stbp_jax import arguments
from stbp_jax.core import Array, Layer, Params, Shape, State, step_layer
from stbp_jax.layers import apply, named_parameters


class Spiking(linen.Module):
    """A network inside a Linen model.

    The parameters are dicts in the collection `params`, under `net`: `net/0/synapse/kernel` is the
    leaf `0/synapse/kernel` of `named_parameters`. The state of the neurons is no variable: it is
    an argument and a result. Layers that draw random numbers (dropout) draw from the stream
    `dropout`, once for the sequence, and are off in a call without this stream.

    Attributes:
      net: the network, any `Layer`.

    >>> import jax.numpy as jnp
    >>> from stbp_jax import dense, lif, rate, serial
    >>> model = Spiking(serial(dense(8, lif()), dense(3, lif())))
    >>> xs = jnp.ones((5, 2, 4))
    >>> variables = model.init(jax.random.key(0), xs)
    >>> variables["params"]["net"]["1"]["synapse"]["kernel"].shape
    (8, 3)
    >>> state, outs = model.apply(variables, xs)
    >>> rate(outs).shape
    (2, 3)
    """

    net: Layer

    def __post_init__(self) -> None:
        """Check the network before Flax wraps it."""
        arguments.instance("net", self.net, Layer, "a Layer, such as dense(10)")
        super().__post_init__()

    def __call__(
        self, xs: Array, *, state: State | None = None, is_first: Array | None = None
    ) -> tuple[State, Array]:
        """Run the network over whole sequences, as `apply` does.

        Args:
          xs: `[T, B, *in]`.
          state: before the first step; None for rest.
          is_first: `[T, B]` bool; where it is set, that example enters the step at rest.

        Returns:
          `(last state, outs [T, B, *out])`.

        Raises:
          TypeError, ValueError: as `apply`.
        """
        arguments.sequence("xs", xs)
        params = self._params(xs.shape[2:])
        key = self._key() if state is None else None
        return apply(self.net, params, xs, key=key, state=state, is_first=is_first)

    def initial_state(self, shape: Shape) -> State:
        """Return the state at rest for time slices of shape `[B, *in]`."""
        return self.net.initial_state(self._params(shape[1:]), shape, key=self._key())[0]

    def step(self, state: State, x: Array, *, is_first: Array | None = None) -> tuple[State, Array]:
        """Run one time step, for streams.

        Args:
          state: before the step.
          x: `[B, *in]`.
          is_first: `[B]` bool; where it is set, that example enters the step at rest.

        Returns:
          `(state, y [B, *out])`.
        """
        return step_layer(self.net, self._params(x.shape[1:]), state, x, is_first)

    @linen.compact
    def _params(self, shape: Shape) -> Params:
        def init(key: Array) -> Params:
            return self.net.init(key, tuple(shape))[0]

        made = self.param("net", lambda key: _as_dicts(init(key)))
        return _as_params(made, jax.eval_shape(init, jax.random.key(0)))

    def _key(self) -> Array | None:
        return self.make_rng("dropout") if self.has_rng("dropout") else None


def _as_dicts(params: Params) -> dict[str, Any]:
    """The parameters as nested dicts, with one key for each part of a leaf's name."""
    made: dict[str, Any] = {}
    for name, leaf in named_parameters(params).items():
        *path, last = name.split("/")
        inner = made
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = leaf
    return made


def _as_params(dicts: Any, like: Params) -> Params:
    """The parameters in the tree of `like` from nested dicts."""
    leaves = []
    for name in named_parameters(like):
        leaf = dicts
        for part in name.split("/"):
            leaf = leaf[part]
        leaves.append(leaf)
    tree: Any = jax.tree.structure(like)
    return tree.unflatten(leaves)
