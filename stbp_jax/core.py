"""The types `Neuron` and `Layer`: records of pure functions over pytrees, as in optax.

A neuron is an elementwise recurrent cell; a layer maps sequences to sequences. Both have a `step`
for one time step and an `unroll` for all of them, with equal results.

Axes come in this order: T time, B batch, then the units (`*units`, `*in`). C counts classes, H
hyper-parameter points, S seeds. `x` and `current` are one time slice `[B, ...]`; `xs` and
`currents` have the leading T.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Key, Shaped, UInt32

from stbp_jax import arguments, meshes, reprs

Array = jax.Array
"""An array of JAX."""
PyTree = Any
"""Arrays in nested tuples, dicts and other containers that JAX knows."""
Params = Any
"""A pytree of learned arrays; `()` when nothing is learned."""
State = Any
"""A pytree of arrays that lead with B, carried from step to step."""
Shape = tuple[int, ...]
"""The shape of an array."""
Shapes = Any
"""A `Shape`, or a pytree of shapes where a layer takes or gives a pytree of arrays."""
Step = Callable[..., tuple[State, Array]]
"""`(params, state, x) -> (state, y)`, one time step."""
Unroll = Callable[..., tuple[State, Array]]
"""`(params, state, xs [T, B, ...], is_first=None) -> (state, ys [T, B, ...])`, all steps."""

AnyArray = jax.Array | np.ndarray
"""An array of JAX, traced or not, or of NumPy."""

KeyArray = Key[jax.Array, ""] | UInt32[AnyArray, "_"]
"""One random key: typed, or old-style words."""

Numbers = float | int | np.floating | Float[AnyArray, "*#units"]
"""A number, or one for each unit; may be traced."""


class Neuron(NamedTuple):
    """Dynamics of a population, elementwise over its units.

    Attributes:
      init: `(key, shape) -> params`, `shape = units`; `()` where nothing is learned.
      initial_state: `(shape, dtype) -> state` at rest, `shape = [B, *units]`.
      step: `(params, state, current [B, *units]) -> (state, out [B, *units])`, a `lax.scan` body.
      unroll: `(params, state, currents [T, B, *units], is_first=None) -> (state, outs [T, B,
        *units])`; equals the scan of `step`. Where `is_first [T, B]` is set, that example enters
        the step at rest.
      probe: `(params, state) -> Probe`: how near to the threshold each unit is. None if unknown:
        the statistics then hold NaN.
      spiking: whether the outputs are spikes; a neuron that does not spike has no statistics.
      constants: `() -> dict` from names to the numbers and function names that shape the forward
        pass, which `save` stores, and to the surrogate, which `save` omits; None if unknown.

    >>> from stbp_jax import lif
    >>> neuron = lif(threshold=0.5)
    >>> state = neuron.initial_state((1, 2), jnp.float32)
    >>> neuron.step((), state, jnp.array([[0.4, 0.6]]))[1]
    Array([[0., 1.]], dtype=float32)
    """

    init: Callable[[Array, Shape], Params]
    initial_state: Callable[[Shape, Any], State]
    step: Step
    unroll: Unroll
    probe: "Callable[[Params, State], Probe] | None" = None
    spiking: bool = True
    constants: Callable[[], dict[str, Any]] | None = None

    def __repr__(self) -> str:
        """The factory's call, as far as `constants` names its arguments."""
        return _text(self)


class Probe(NamedTuple):
    """How near to its threshold each unit is after one step, each `[B, *units]`.

    Attributes:
      distance: membrane minus threshold, as the surrogate sees it.
      slope: the surrogate derivative there.
      in_window: bool, whether the distance lies inside the surrogate's window.

    >>> import stbp_jax as sj
    >>> neuron = sj.lif(threshold=0.5, surrogate=sj.rectangular(0.5))
    >>> state = sj.neurons.LIFState(jnp.array([[0.1, 0.4]]), jnp.zeros((1, 2)))
    >>> neuron.probe((), state).in_window
    Array([[False,  True]], dtype=bool)
    """

    distance: Array
    slope: Array
    in_window: Array


class LayerStats(NamedTuple):
    """Statistics of one spiking layer over a batch of examples.

    An unknown number is NaN. A layer without statistics has the entry `MISSING`, which is all NaN,
    so that the entries of the other layers keep their places. `jax_debug_nans` refuses these NaN as
    it refuses all others.

    Attributes:
      firing_rate: `[*units]`, spikes per step of each unit, mean over T and B.
      in_window: scalar in [0, 1], fraction of (unit, step) pairs whose membrane lies inside the
        surrogate's window: nearer to the threshold than half the curve's full width at half
        maximum.
      operations: scalar, synaptic operations per example: the synapses that each non-zero input
        drives, summed over inputs and steps; NaN if the synapse has no `fan_out`. Recurrent
        synapses are not counted.

    >>> from stbp_jax import apply_with_stats, dense, lif
    >>> net = dense(3, lif())
    >>> params, _ = net.init(jax.random.key(0), (2,))
    >>> _, _, (stats,) = apply_with_stats(net, params, jnp.ones((4, 5, 2)))
    >>> stats.firing_rate.shape, float(stats.operations)
    ((3,), 24.0)
    """

    firing_rate: Array
    in_window: Array
    operations: Array


_UNKNOWN: Any = np.float32(np.nan)
MISSING = LayerStats(_UNKNOWN, _UNKNOWN, _UNKNOWN)
"""The entry of a layer that reports no statistics: all NaN."""


class Layer(NamedTuple):
    """A map with a state from input sequences to output sequences; a network is a layer too.

    Inputs and outputs are arrays, or pytrees of arrays of one T and B; their shapes are then
    pytrees of the same form, whose leaves are tuples of integers.

    Attributes:
      init: `(key, shape) -> (params, out_shape)`; shapes without T and B.
      initial_state: `(params, shape, *, key=None) -> (state, out_shape)` at rest; shapes are of
        one time slice, `[B, *in]`. Random layers (dropout) need `key`; None turns them off.
      step: `(params, state, x [B, *in], is_first=None) -> (state, y [B, *out])`. Where `is_first
        [B]` is set, that example enters the step at rest; what was drawn for the sequence stays. It
        takes no key, because the state holds what was drawn.
      unroll: `(params, state, xs [T, B, *in], is_first=None) -> (state, ys [T, B, *out])`, with
        `is_first [T, B]`; equals the scan of `step`.
      unroll_with_stats: as `unroll`, but returns `(state, ys, stats)`; `stats` is a tuple with one
        `LayerStats` for each spiking layer inside, `()` if none spikes. It takes `mask=None` after
        `is_first`, `[T, B]` bool: the statistics are then those of the steps where it is set, the
        first steps of an example. None if unknown: the statistics then have one entry `MISSING`
        for this layer.
      constants: `() -> dict`, as in `Neuron`.
      layers: the layers of a `serial`, in order, for `summary`; `params` is then a tuple with one
        entry for each of them. `()` for a single layer.

    >>> from stbp_jax import dense, lif
    >>> layer = dense(3, lif())
    >>> params, shape = layer.init(jax.random.key(0), (2,))
    >>> shape
    (3,)
    >>> state, _ = layer.initial_state(params, (5, 2))
    >>> layer.step(params, state, jnp.ones((5, 2)))[1].shape
    (5, 3)
    """

    init: Callable[[Array, Shapes], tuple[Params, Shapes]]
    initial_state: Callable[..., tuple[State, Shapes]]
    step: Step
    unroll: Unroll
    unroll_with_stats: Callable[..., tuple[State, Array, tuple[LayerStats, ...]]] | None = None
    constants: Callable[[], dict[str, Any]] | None = None
    layers: "tuple[Layer, ...]" = ()

    def __repr__(self) -> str:
        """The factory's call, as far as `constants` names its arguments."""
        return _text(self)


def restart_where(is_first: Bool[AnyArray, " B"], state: State, rest: State) -> State:
    """Put some examples of a state at rest.

    Args:
      is_first: `[B]` bool.
      state: a pytree whose leaves lead with B.
      rest: the state at rest, of the same form.

    Returns:
      The state: `rest` where `is_first`, else `state`.

    Raises:
      ValueError: a leaf of the state has another batch size than `is_first`.

    >>> restart_where(jnp.array([True, False]), jnp.array([3.0, 4.0]), jnp.zeros(2))
    Array([0., 4.], dtype=float32)
    """

    def choose(leaf: Array, at_rest: Array) -> Array:
        if jnp.shape(leaf)[:1] != is_first.shape:
            raise ValueError(
                f"is_first must have shape {list(jnp.shape(leaf)[:1])}, one for each example of "
                f"the state, got {list(is_first.shape)}"
            )
        where = jnp.expand_dims(is_first, range(1, jnp.ndim(leaf)))
        return jnp.where(where, jnp.asarray(at_rest, leaf.dtype), leaf)

    return jax.tree.map(choose, state, rest)


def scan(
    step: Step,
    initial_state: Callable[[Shape, Any], State] | None = None,
    *,
    steps_per_iteration: int = 1,
) -> Unroll:
    """Make the reference `unroll` of a `step`: `lax.scan` over the leading time axis.

    Args:
      step: `(params, state, x) -> (state, y)`.
      initial_state: `(shape, dtype) -> state` at rest, for restarts within a sequence.
      steps_per_iteration: the `unroll` of `lax.scan`, which changes no value.

    Returns:
      `(params, state, xs [T, ...], is_first=None) -> (state, ys [T, ...])`.

    >>> unroll = scan(lambda params, state, x: (state + x, state + x))
    >>> unroll((), jnp.zeros(1), jnp.ones((3, 1)))[1].ravel()
    Array([1., 2., 3.], dtype=float32)
    """

    def unroll(
        params: Params, state: State, xs: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        arguments.sequence("xs", xs)
        params, state, xs, is_first = meshes.vary_alike(params, state, xs, is_first)
        if is_first is None:
            return meshes.scan(
                lambda s, x: step(params, s, x), state, xs, unroll=steps_per_iteration
            )
        if initial_state is None:
            raise TypeError(
                "is_first needs a neuron that knows its state at rest: pass initial_state to scan"
            )
        arguments.restarts("is_first", is_first, xs)
        rest = initial_state(xs.shape[1:], float_dtype(state, xs))

        def body(state: State, now: tuple[Array, Array]) -> tuple[State, Array]:
            x, first = now
            return step(params, restart_where(first, state, rest), x)

        return meshes.scan(body, state, (xs, is_first), unroll=steps_per_iteration)

    return unroll


def given(is_first: AnyArray | None) -> tuple[AnyArray, ...]:
    """Return the arguments that restarts add to a call: none where there are no restarts.

    >>> given(None), len(given(np.array([True])))
    ((), 1)
    """
    return () if is_first is None else (is_first,)


def float_dtype(state: State, xs: Shaped[AnyArray, "..."]) -> Any:
    """The dtype of a state at rest: that of its first float leaf, or else of the inputs.

    >>> float_dtype(jnp.zeros(2, jnp.bfloat16), jnp.zeros(2)) == jnp.bfloat16
    True
    """
    for leaf in jax.tree.leaves(state):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf.dtype
    floats = jnp.issubdtype(xs.dtype, jnp.inexact)
    return jnp.result_type(xs) if floats else jnp.result_type(float)


def wide_dtype(dtype: Any) -> Any:
    """The dtype of sums: the given float dtype if it has 32 bits or more, else float32.

    Unlike `jnp.promote_types` it works under strict dtype promotion too.

    >>> wide_dtype(jnp.bfloat16) == wide_dtype(jnp.uint8) == jnp.float32
    True
    """
    wide = jnp.issubdtype(dtype, jnp.inexact) and jnp.dtype(dtype).itemsize >= 4
    return jnp.dtype(dtype) if wide else jnp.dtype(jnp.float32)


def make_neuron(
    step: Step,
    initial_state: Callable[[Shape, Any], State],
    *,
    init: Callable[[Array, Shape], Params] | None = None,
    unroll: Unroll | None = None,
    probe: Callable[[Params, State], Probe] | None = None,
    spiking: bool = True,
    name: str | None = None,
    constants: Mapping[str, Any] | None = None,
) -> Neuron:
    """Make a `Neuron` of its step and its state at rest.

    Args:
      step: `(params, state, current [B, *units]) -> (state, out [B, *units])`.
      initial_state: `(shape, dtype) -> state` at rest, `shape = [B, *units]`; every leaf of the
        state leads with B.
      init: `(key, units) -> params`; None if nothing is learned.
      unroll: `(params, state, currents [T, B, *units]) -> (state, outs)`, faster than the scan of
        `step` and equal to it; None for the scan. Restarts within a sequence scan the step.
      probe: `(params, state) -> Probe`; None if unknown.
      spiking: whether the outputs are spikes.
      name: of the neuron in `repr`, `summary` and `save`; None for the name of `step`.
      constants: the numbers that shape the forward pass, by name: `repr` shows them, `save` stores
        them, and `load` refuses a network with others. It cannot see a number that is left out.

    Returns:
      A `Neuron`. Its `step` and `unroll` raise TypeError if `step` does not return `(state, out)`
      with a state of the form that it gets.

    Raises:
      TypeError: a function is not callable.

    >>> neuron = make_neuron(lambda params, u, i: (u + i, u + i), jnp.zeros, spiking=False)
    >>> neuron.unroll((), jnp.zeros((1, 1)), jnp.ones((3, 1, 1)))[1].ravel()
    Array([1., 2., 3.], dtype=float32)
    """
    arguments.function("step", step, "a function (params, state, current) -> (state, out)")
    arguments.function("initial_state", initial_state, "a function (shape, dtype) -> state")

    @functools.wraps(step)
    def checked(params: Params, state: State, current: Array) -> tuple[State, Array]:
        found = step(params, state, current)
        if not (isinstance(found, tuple | list) and len(found) == 2):
            raise TypeError(f"step must return (state, out), got shapes {_shapes(found)}")
        forms: list[Any] = [jax.tree.structure(tree) for tree in (found[0], state)]
        if forms[0] != forms[1]:
            raise TypeError(
                "step must return (state, out) with a state of the form that it gets, of shapes "
                f"{_shapes(state)}, got {_shapes(found[0])}"
            )
        return found[0], found[1]

    by_step = scan(checked, initial_state)

    def unroll_(
        params: Params, state: State, currents: Array, is_first: Array | None = None
    ) -> tuple[State, Array]:
        if is_first is None and unroll is not None:
            return unroll(params, state, currents)
        return by_step(params, state, currents, is_first)

    named = dict(constants or {})
    return Neuron(
        init or (lambda key, shape: ()),
        initial_state,
        checked,
        unroll_,
        probe,
        spiking,
        lambda: {"neuron": name or name_of(step), **named},
    )


def _shapes(tree: PyTree) -> PyTree:
    """The pytree with the shapes of its arrays, as lists, for messages."""
    return jax.tree.map(lambda x: list(np.shape(x)), tree)


def is_shape(x: Any) -> bool:
    """Whether `x` is a shape, a tuple or list of sizes, and not a pytree of shapes.

    >>> [is_shape(x) for x in [(28, 28), (), ((28, 28), (5,)), {"picture": (28, 28)}]]
    [True, True, False, False]
    """
    return isinstance(x, tuple | list) and jax.tree_util.all_leaves(x)


def map_shapes(function: Callable[..., Any], *shapes: Shapes) -> Any:
    """Apply a function to every shape of a pytree of shapes.

    >>> map_shapes(len, {"a": (2, 3), "b": (4,)})
    {'a': 2, 'b': 1}
    """
    return jax.tree.map(function, *shapes, is_leaf=is_shape)


def constants_of(part: Any) -> dict[str, Any]:
    """Return the constants of a neuron, layer or synapse; `{}` if they are unknown.

    >>> import stbp_jax as sj
    >>> constants_of(sj.lif(decay=0.5))["decay"]
    0.5
    """
    return {} if part.constants is None else part.constants()


def _text(part: Any) -> str:
    named = constants_of(part)
    if named:
        return reprs.call_text(named)
    return f"{type(part).__name__}(step={reprs.value_text(part.step)})"


def name_of(function: Any) -> str:
    """Return a function's name, for `constants`: functions of equal names count as equal.

    >>> import stbp_jax as sj
    >>> name_of(sj.hard_reset)
    'hard_reset'
    """
    return getattr(function, "__name__", None) or type(function).__name__
