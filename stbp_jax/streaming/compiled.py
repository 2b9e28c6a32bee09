"""The compiled part of streaming: K time steps of a network at batch 1, state in and state out.

Decides what is compiled and what is carried. Leaves out where bins come from (`loop`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments
from stbp_jax.core import Array, Layer, Neuron, Params, Shape, State
from stbp_jax.reprs import record_text
from stbp_jax.streaming.readouts import running_rate

_MOST = 2**16 - 1  # events of a cell in a bin; more count as so many


class StreamState(NamedTuple):
    """What a stream carries from call to call: the network's state and the readout's."""

    network: State
    readout: State


class Stream(NamedTuple):
    """A network that waits for bins; made by `make_stream`.

    Attributes:
      start: `() -> StreamState` at rest.
      advance: `(state, counts [K, *shape]) -> (state, scores [K, C])`: the next K bins, each as the
        number of events in each cell. The state that goes in is used up: its memory is reused.
      shape: of the sensor.
      steps_per_call: K.
    """

    start: Callable[[], StreamState]
    advance: Callable[[StreamState, Any], tuple[StreamState, Array]]
    shape: Shape
    steps_per_call: int

    def __repr__(self) -> str:
        """Its fields, functions by their names."""
        return record_text(self)


def any_event(counts: Array) -> Array:
    """1 where a cell has at least one event, as `event_spikes`."""
    return (counts > 0).astype(jnp.result_type(float))


def make_stream(
    network: Layer,
    params: Params,
    *,
    shape: Shape = (34, 34, 2),
    steps_per_call: int = 1,
    encode: Callable[[Array], Array] = any_event,
    readout: Neuron | None = None,
) -> Stream:
    """Compiles a network for one stream: K time steps a call, batch 1, state carried.

    What it gives is what `apply` gives on the same bins, up to the order of sums in a product of
    one row and of many; `dense(..., matmul=event_driven_matmul)` has the same order in both, and is
    the fast one here. It compiles now, not at the first event, and never again.

    Args:
      network: from `[T, 1, *in]` to `[T, 1, C]`.
      params: of the network; they go to the device once.
      shape: of the sensor.
      steps_per_call: K. Several steps cost less each, but scores come only every K steps.
      encode: counts `[K, 1, *shape]` uint16 to the network's input `[K, 1, *in]`, step by step; the
        default is `event_spikes`, `jnp.float32` is `event_counts`.
      readout: scores so far, as a neuron that learns nothing; default `running_rate()`.

    Returns:
      A `Stream`.

    Raises:
      TypeError: `steps_per_call` or a size in `shape` no integer; a network, encoder, readout or
        parameters of another type.
      ValueError: `steps_per_call` or a size below 1; a network that does not end in `[C]`, or that
        does not take what `encode` makes.

    >>> from stbp_jax import dense, flatten, lif, serial
    >>> network = serial(flatten(), dense(10, lif()))
    >>> params, _ = network.init(jax.random.key(0), (34, 34, 2))
    >>> stream = make_stream(network, params)
    >>> state, scores = stream.advance(stream.start(), np.zeros((1, 34, 34, 2), int))
    >>> scores.shape
    (1, 10)
    """
    steps = arguments.count("steps_per_call", steps_per_call)
    shape = arguments.sensor(shape)
    read = running_rate() if readout is None else readout
    for name, value, kind in (("network", network, Layer), ("readout", read, Neuron)):
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be a {kind.__name__}, got {type(value).__name__}")
    arguments.function("encode", encode)
    for leaf in jax.tree.leaves(params):
        if not isinstance(leaf, int | float | complex):
            arguments.array("params", leaf)
    params = jax.tree.map(jnp.asarray, params)
    counts = jax.ShapeDtypeStruct((steps, 1, *shape), jnp.uint16)
    xs = jax.eval_shape(encode, counts)
    if not isinstance(xs, jax.ShapeDtypeStruct):
        raise TypeError(f"encode must give one array, got {type(xs).__name__}")
    if xs.ndim < 2 or xs.shape[:2] != (steps, 1):
        raise ValueError(f"encode must keep the axes [{steps}, 1, ...], got {list(xs.shape)}")

    def rest(params: Params) -> StreamState:
        state, _ = network.initial_state(params, xs.shape[1:])
        outs = jax.eval_shape(network.unroll, params, state, xs)[1]
        if outs.ndim != 3:
            raise ValueError(
                f"network must end in one number a class, [T, 1, C], got {list(outs.shape)}"
            )
        return StreamState(state, read.initial_state(outs.shape[1:], outs.dtype))

    def run(params: Params, state: StreamState, counts: Array) -> tuple[StreamState, Array]:
        wanted = jax.eval_shape(rest, params)
        structure: Any = jax.tree.structure(wanted)
        if jax.tree.structure(state) != structure:
            raise TypeError("state must be of this stream, got one of another structure")
        for got, want in zip(jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True):
            if (got.shape, got.dtype) != (want.shape, want.dtype):
                raise ValueError(
                    f"state must be of this stream, with {want.dtype} {list(want.shape)}, got "
                    f"{got.dtype} {list(got.shape)}"
                )
        inner, outs = network.unroll(params, state.network, encode(counts.reshape((-1, 1, *shape))))
        told, scores = read.unroll((), state.readout, outs)
        return StreamState(inner, told), scores[:, 0]

    start, program = jax.jit(rest), jax.jit(run, donate_argnums=1)

    def advance(state: StreamState, counts: Any) -> tuple[StreamState, Array]:
        if np.shape(counts) != (steps, *shape):
            raise ValueError(
                f"counts must have shape {[steps, *shape]}, one array of the sensor's cells for "
                f"each of steps_per_call bins, got {list(np.shape(counts))}"
            )
        if not isinstance(state, StreamState):
            raise TypeError(f"state must be a StreamState, got {type(state).__name__}")
        if isinstance(counts, np.ma.MaskedArray):
            raise TypeError("counts must be an array without a mask, got a masked array")
        wide = np.asarray(counts)
        if wide.dtype.kind not in "biu" or wide.min() < 0:
            least = f", least {wide.min()}" if wide.dtype.kind in "biuf" else ""
            raise TypeError(f"counts must be integers of at least 0, got dtype {wide.dtype}{least}")
        if wide.dtype.itemsize > 1:  # a byte cannot hold the limit, and needs none
            wide = np.minimum(wide, np.array(_MOST, np.uint16))
        return program(params, state, wide.astype(np.uint16))

    stream = Stream(lambda: start(params), advance, shape, steps)
    jax.block_until_ready(advance(stream.start(), np.zeros((steps, *shape), np.uint16)))
    return stream
