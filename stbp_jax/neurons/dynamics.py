"""Neurons from their equations: `from_dynamics` gives a `Dynamics` the contract of `Neuron`."""

from collections.abc import Callable, Mapping
from typing import Any

from stbp_jax import arguments
from stbp_jax.core import Array, Neuron, Params, Probe, Shape, State, name_of
from stbp_jax.neurons import unrolling
from stbp_jax.neurons.blocks import check_block
from stbp_jax.neurons.recursion import Dynamics, hidden_of, in_dtype
from stbp_jax.neurons.units import check_constants, check_surrogate, with_batch


def from_dynamics(
    dynamics: Dynamics,
    constants: Any,
    initial_state: Callable[[Shape, Any], State],
    *,
    name: str | None = None,
    block: int | None = None,
    named: Mapping[str, Any] | None = None,
) -> Neuron:
    """Make a spiking neuron of its equations, with the fast unroll and gradient of `lif`.

        hiddenᵗ = reset(constants, stateᵗ⁻¹), and Iᵗ is added to the membrane
        oᵗ = H(distance(constants, hiddenᵗ))

    A spike depends on the current of its own step. The reset acts on the next step. Gradients
    cross all that the functions do not detach. The unroll is that of `lif_unroll`: its backward
    pass stores the hidden variables and computes the recursion of δ and ε by `jax.vjp` of the
    functions.

    Args:
      dynamics: the equations.
      constants: a NamedTuple of numbers and a `surrogate`; gradients reach the numbers. Each is a
        scalar or broadcasts to the units' shape: `[C]` after a convolution is one for each channel.
      initial_state: `(shape, dtype) -> state` at rest, a NamedTuple with `spikes`; every leaf has
        the shape `[B, *units]`.
      name: of the neuron in `repr`, `summary` and `save`; None for the name of the reset.
      block: steps per block on a GPU or TPU; None chooses it by T, as in `lif_unroll`.
      named: further entries for `repr` and `save`, such as names of functions.

    Returns:
      A `Neuron` without learned parameters. Its `init` and `initial_state` raise ValueError for
      constants whose shape does not match the units; `step` and `unroll` raise TypeError for a
      reset that returns no tuple.

    Raises:
      TypeError: `dynamics` is not a `Dynamics`, the constants have no `surrogate`, or `block` is
        not an integer.
      ValueError: `block` is below 1.

    A neuron whose membrane leaks towards a bias, and is cut to 0 by a spike:

    >>> from typing import NamedTuple
    >>> import jax.numpy as jnp
    >>> from stbp_jax import rectangular
    >>> from stbp_jax.neurons import Dynamics, LIFState
    >>> class Biased(NamedTuple):
    ...     decay: float
    ...     bias: float
    ...     threshold: float
    ...     surrogate: object
    >>> dynamics = Dynamics(
    ...     reset=lambda c, s: (c.decay * s.membrane * (1 - s.spikes) + c.bias,),
    ...     distance=lambda c, hidden: hidden[0] - c.threshold,
    ...     state=lambda hidden, spikes: LIFState(hidden[0], spikes),
    ...     hidden=lambda state: (state.membrane,),
    ... )
    >>> rest = lambda shape, dtype: LIFState(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))
    >>> neuron = from_dynamics(dynamics, Biased(0.5, 0.25, 1.0, rectangular(1.0)), rest)
    >>> neuron.unroll((), rest((1, 1), jnp.float32), jnp.full((4, 1, 1), 0.5))[1].ravel()
    Array([0., 1., 0., 1.], dtype=float32)
    """
    arguments.instance("dynamics", dynamics, Dynamics, "a Dynamics")
    if not hasattr(constants, "surrogate"):
        raise TypeError(f"constants must have a surrogate, got {type(constants).__name__}")
    check_surrogate(constants.surrogate)
    block = check_block(block)

    def init(key: Array, shape: Shape) -> Params:
        check_constants(constants, shape)
        return ()

    def rest(shape: Shape, dtype: Any) -> State:
        check_constants(constants, shape[1:])
        return initial_state(shape, dtype)

    def step(params: Params, state: State, current: Array) -> tuple[State, Array]:
        arguments.array("current", current)
        arguments.state("state", state, current.shape)
        c = in_dtype(with_batch(constants, state.spikes), state.spikes)
        membrane, *others = hidden_of(dynamics.reset(c, state))
        hidden = (membrane + current, *others)
        spikes = c.surrogate(dynamics.distance(c, hidden))
        return dynamics.state(hidden, spikes), spikes

    def unroll(
        params: Params, state: State, currents: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        at_rest = None
        if is_first is not None:
            arguments.sequence("currents", currents)
            at_rest = initial_state(currents.shape[1:], state.spikes.dtype)
        c = with_batch(constants, state.spikes)
        return unrolling.unroll(dynamics, c, state, currents, is_first, at_rest, block=block)

    def probe(params: Params, state: State) -> Probe:
        c = in_dtype(with_batch(constants, state.spikes), state.spikes)
        return c.surrogate.probe(dynamics.distance(c, dynamics.hidden(state)))

    def constants_() -> dict[str, Any]:
        title = {"neuron": name or name_of(dynamics.reset)}
        return {**title, **constants._asdict(), **dict(named or {})}

    return Neuron(init, rest, step, unroll, probe, constants=constants_)
