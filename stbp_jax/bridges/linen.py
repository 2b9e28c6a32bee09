"""A network as a `flax.linen` module, whose parameters are the network's."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

try:
    from flax import linen
except ImportError as error:
    raise ImportError(
        "stbp_jax.bridges.linen needs flax, which is not installed: pip install flax"
    ) from error

from stbp_jax import arguments
from stbp_jax.bridges._drawing import draws
from stbp_jax.calls import step_layer
from stbp_jax.core import Array, Layer, Params, Shape, State
from stbp_jax.layers import apply, named_parameters


class Spiking(linen.Module):
    """A network inside a Linen model.

    The parameters are dicts in the collection `params`, under `net`: `net/0/synapse/kernel` is the
    leaf `0/synapse/kernel` of `named_parameters`. The state of the neurons is no variable: it is
    an argument and a result.

    Layers that draw random numbers (dropout) take one key of the stream `dropout` for a sequence.
    `deterministic` turns them off or on, as in `nn.Dropout`: True is off, whatever streams there
    are, and False needs the stream. Give it to the module or to the call, but not to both. If
    neither has it, these layers are on in calls with the stream, and off in others.

    Attributes:
      net: the network, any `Layer`.
      deterministic: whether layers that draw random numbers are off; None if the call decides.

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

    The parameters as `apply`, `record`, `apply_with_stats` and `save` take them:

    >>> params = network_params(model.net, (4,), variables["params"])
    >>> params[1].synapse.kernel.shape
    (8, 3)
    """

    net: Layer
    deterministic: bool | None = None

    def __post_init__(self) -> None:
        """Check the network before Flax wraps it."""
        arguments.instance("net", self.net, Layer, "a Layer, such as dense(10)")
        super().__post_init__()

    def __call__(
        self,
        xs: Array,
        *,
        state: State | None = None,
        is_first: Array | None = None,
        deterministic: bool | None = None,
    ) -> tuple[State, Array]:
        """Run the network over whole sequences, as `apply` does.

        Args:
          xs: `[T, B, *in]`.
          state: before the first step, which holds what was drawn; None for rest.
          is_first: `[T, B]` bool; where it is set, that example enters the step at rest.
          deterministic: whether layers that draw random numbers are off; None if the module
            decides.

        Returns:
          `(last state, outs [T, B, *out])`.

        Raises:
          TypeError, ValueError: as `apply`; both the module and the call have `deterministic`.
          flax.errors.InvalidRngError: `deterministic` is False, the network draws random numbers,
            and there is no stream `dropout`.
        """
        arguments.sequence("xs", xs)
        params = self._params(xs.shape[1:])
        key = self._key(params, xs.shape[1:], deterministic) if state is None else None
        return apply(self.net, params, xs, key=key, state=state, is_first=is_first)

    def initial_state(self, shape: Shape, *, deterministic: bool | None = None) -> State:
        """Return the state at rest for time slices of shape `[B, *in]`.

        Args:
          shape: of one time slice, with B.
          deterministic: as in the call.

        Returns:
          The state, which holds what was drawn.
        """
        params = self._params(shape)
        key = self._key(params, shape, deterministic)
        return self.net.initial_state(params, shape, key=key)[0]

    def step(self, state: State, x: Array, *, is_first: Array | None = None) -> tuple[State, Array]:
        """Run one time step, for streams.

        Args:
          state: before the step.
          x: `[B, *in]`.
          is_first: `[B]` bool; where it is set, that example enters the step at rest.

        Returns:
          `(state, y [B, *out])`.
        """
        return step_layer(self.net, self._params(x.shape), state, x, is_first)

    @linen.compact
    def _params(self, shape: Shape) -> Params:
        """The parameters in the network's tree, for time slices of this shape."""

        def init(key: Array) -> Params:
            return self.net.init(key, tuple(shape[1:]))[0]

        like = jax.eval_shape(init, jax.random.key(0))
        if self.has_variable("params", "net"):
            held = _as_params(linen.unbox(self.get_variable("params", "net")), like)
            if jax.tree.map(jnp.shape, held) != jax.tree.map(jnp.shape, like):
                # Inputs of another size: the network says what it takes, Flax would name shapes of
                # parameters. If the inputs fit, Flax names the parameter below.
                self.net.initial_state(held, tuple(shape))
        return _as_params(self.param("net", lambda key: _as_dicts(init(key))), like)

    def _key(self, params: Params, shape: Shape, deterministic: bool | None) -> Array | None:
        """A key of the stream; None if layers that draw random numbers are off."""
        if not (self.deterministic is None and deterministic is None):
            if linen.merge_param("deterministic", self.deterministic, deterministic):
                return None
            needed = draws(self.net, params, tuple(shape))
        else:
            needed = False
        return self.make_rng("dropout") if needed or self.has_rng("dropout") else None


def network_params(net: Layer, shape: Shape, variables: Mapping[str, Any]) -> Params:
    """The parameters of a network as `apply`, `record`, `apply_with_stats` and `save` take them.

    Args:
      net: the network.
      shape: shape of the input of one example at one step, without T and B.
      variables: the parameters of its `Spiking`, such as `variables["params"]["Spiking_0"]`, or
        anything of their form, such as gradients.

    Returns:
      The arrays in the tree that `net.init` makes.

    Raises:
      TypeError: `net` is not a `Layer`.
      ValueError: `variables` are not those of a `Spiking` of this network.

    >>> import jax.numpy as jnp
    >>> from stbp_jax import dense, lif, record, serial
    >>> net = serial(dense(8, lif()), dense(3, lif()))
    >>> xs = jnp.ones((5, 2, 4))
    >>> variables = Spiking(net).init(jax.random.key(0), xs)
    >>> states, outs = record(net, network_params(net, (4,), variables["params"]), xs)
    >>> states[0].membrane.shape
    (5, 2, 8)
    """
    arguments.instance("net", net, Layer, "a Layer, such as dense(10)")
    shape = arguments.shape("shape", shape)
    if not isinstance(variables, Mapping) or set(variables) != {"net"}:
        got = list(variables) if isinstance(variables, Mapping) else type(variables).__name__
        raise ValueError(
            "variables must be the parameters of one Spiking, a dict with the entry 'net', got "
            f"{got}; take variables['params'][the module's name]"
        )
    like = jax.eval_shape(lambda key: net.init(key, shape)[0], jax.random.key(0))
    return _as_params(linen.unbox(variables["net"]), like)


def module_params(params: Params) -> dict[str, Any]:
    """The parameters of a `Spiking` from those of its network, the inverse of `network_params`.

    Args:
      params: in the tree that `net.init` makes, such as the result of `load`.

    Returns:
      The dict that belongs at `variables["params"]["Spiking_0"]`, or under another module's name.

    >>> import jax.numpy as jnp
    >>> from stbp_jax import dense, lif
    >>> net = dense(3, lif())
    >>> params, _ = net.init(jax.random.key(0), (4,))
    >>> state, outs = Spiking(net).apply({"params": module_params(params)}, jnp.ones((5, 2, 4)))
    >>> outs.shape
    (5, 2, 3)
    """
    return {"net": _as_dicts(params)}


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
    found = named_parameters(dicts)
    names = list(named_parameters(like))
    if set(found) != set(names):
        raise ValueError(
            f"the variables must hold the parameters {names} of the network, got {list(found)}"
        )
    tree: Any = jax.tree.structure(like)
    return tree.unflatten([found[name] for name in names])
