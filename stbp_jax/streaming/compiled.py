"""The compiled part of a stream: K time steps of a network at batch 1, state in and state out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Real

from stbp_jax import arguments
from stbp_jax.core import AnyArray, Array, Layer, Neuron, Params, Shape, State
from stbp_jax.reprs import record_text
from stbp_jax.streaming.readouts import running_rate

_MOST = 2**16 - 1  # counts of events saturate here


class StreamState(NamedTuple):
    """The states of the network and of the readout, carried from call to call.

    >>> from stbp_jax import dense, flatten, lif, serial
    >>> network = serial(flatten(), dense(10, lif()))
    >>> params, _ = network.init(jax.random.key(0), (2, 2, 1))
    >>> stream = make_stream(network, params, shape=(2, 2, 1))
    >>> isinstance(stream.start(), StreamState)
    True
    """

    network: State
    readout: State


class Stream(NamedTuple):
    """A network compiled for one stream of bins; made by `make_stream`.

    Attributes:
      start: `() -> StreamState`, the state at rest.
      advance: `(state, counts [K, *shape]) -> (state, scores [K, C])`, the next K bins. `counts`
        holds the number of events of each address, an integer; a number above 65,535 counts as
        65,535. The given state stays as it is, so it can be saved or used again. Counts are checked
        in Python, so inside `jit`, and for inputs that are not counts, use `network.step`.
      shape: shape of the sensor.
      steps_per_call: number of bins K per call.

    >>> from stbp_jax import dense, flatten, lif, serial
    >>> network = serial(flatten(), dense(10, lif()))
    >>> params, _ = network.init(jax.random.key(0), (2, 2, 1))
    >>> stream = make_stream(network, params, shape=(2, 2, 1))
    >>> stream.shape, stream.steps_per_call
    ((2, 2, 1), 1)
    """

    start: Callable[[], StreamState]
    advance: Callable[[StreamState, Any], tuple[StreamState, Array]]
    shape: Shape
    steps_per_call: int

    def __repr__(self) -> str:
        """Its fields, functions by their names."""
        return record_text(self)


def any_event(counts: Real[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
    """1 for each address with at least one event, else 0, as `event_spikes`.

    >>> any_event(np.array([0, 3]))
    Array([0., 1.], dtype=float32)
    """
    return (jnp.asarray(counts) > 0).astype(jnp.result_type(float))


def make_stream(
    network: Layer,
    params: Params,
    *,
    shape: Shape = (34, 34, 2),
    steps_per_call: int = 1,
    encode: Callable[[Array], Array] = any_event,
    readout: Neuron | None = None,
) -> Stream:
    """Compile a network for one stream: K time steps per call, batch 1, the state carried.

    The scores equal those of `apply` on the same bins, up to the order of sums: a matrix product of
    one row may sum in another order than one of many rows. `dense(...,
    matmul=event_driven_matmul)` sums in one order, and is the fastest product for a stream. The
    network is compiled here, once, not at the first event.

    Args:
      network: a layer from `[T, 1, *in]` to `[T, 1, C]`.
      params: parameters of the network; they go to the device once.
      shape: shape of the sensor, the default that of N-MNIST.
      steps_per_call: number of steps K per call. A larger K costs less per step, but scores come
        only every K steps.
      encode: function from counts `[K, 1, *shape]`, uint16, to the network's input `[K, 1, *in]`,
        step by step. The default gives the spikes of `event_spikes`; `jnp.float32` gives counts.
      readout: a neuron without parameters, from outputs to scores so far; default
        `running_rate()`.

    Returns:
      A `Stream`.

    Raises:
      TypeError: `steps_per_call` or a side of `shape` that is not an integer; a network, encoder,
        readout or parameters of another type.
      ValueError: `steps_per_call` or a side below 1; a network that does not end in `[C]`, or does
        not take the output of `encode`.

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
        try:
            state, _ = network.initial_state(params, xs.shape[1:])
            outs = jax.eval_shape(network.unroll, params, state, xs)[1]
        except ValueError as error:
            raise ValueError(
                f"network must take the inputs [T, 1, ...] that encode makes of a sensor of "
                f"shape={shape}, here {list(xs.shape)}: {error}"
            ) from error
        if outs.ndim != 3:
            raise ValueError(
                f"network must end in one number a class, [T, 1, C], got {list(outs.shape)}"
            )
        return StreamState(state, read.initial_state(outs.shape[1:], outs.dtype))

    def run(params: Params, state: StreamState, counts: Array) -> tuple[StreamState, Array]:
        check_state(state, jax.eval_shape(rest, params))
        inner, outs = network.unroll(params, state.network, encode(counts.reshape((-1, 1, *shape))))
        read_state, scores = read.unroll((), state.readout, outs)
        return StreamState(inner, read_state), scores[:, 0]

    # The state is not donated: that would save 4 us of 90, and `Decision.state` would be a copy.
    start, program = jax.jit(rest), jax.jit(run)

    def advance(state: StreamState, counts: Any) -> tuple[StreamState, Array]:
        if np.shape(counts) != (steps, *shape):
            raise ValueError(
                f"counts must have shape {[steps, *shape]}, one array of the sensor's shape for "
                f"each of steps_per_call bins, got {list(np.shape(counts))}"
            )
        if not isinstance(state, StreamState):
            raise TypeError(f"state must be a StreamState, got {type(state).__name__}")
        if not arguments.concrete(counts):
            raise TypeError("counts must be concrete, got a traced value: inside jit, network.step")
        if isinstance(counts, np.ma.MaskedArray):
            raise TypeError("counts must be an array without a mask, got a masked array")
        wide = np.asarray(counts)
        if wide.dtype.kind not in "biu" or wide.min() < 0:
            least = f", least {wide.min()}" if wide.dtype.kind in "biuf" else ""
            raise TypeError(
                f"counts must be integers of at least 0, got dtype {wide.dtype}{least}; other "
                "inputs than counts go through network.step"
            )
        if wide.dtype.itemsize > 1:  # a byte cannot hold the limit, and needs none
            wide = np.minimum(wide, np.array(_MOST, np.uint16))
        return program(params, state, wide.astype(np.uint16))

    stream = Stream(lambda: start(params), advance, shape, steps)
    jax.block_until_ready(advance(stream.start(), np.zeros((steps, *shape), np.uint16)))
    return stream


def check_state(state: Any, wanted: StreamState) -> None:
    """Raises if a state has another tree, other shapes or other dtypes than that of the stream."""
    if not isinstance(state, StreamState):
        raise TypeError(f"state must be a StreamState, got {type(state).__name__}")
    structure: Any = jax.tree.structure(wanted)
    if jax.tree.structure(state) != structure:
        raise TypeError("state must be of this stream, got one of another structure")
    for got, want in zip(jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True):
        if (jnp.shape(got), jnp.result_type(got)) != (want.shape, want.dtype):
            raise ValueError(
                f"state must be of this stream, with {want.dtype} {list(want.shape)}, got "
                f"{jnp.result_type(got)} {list(jnp.shape(got))}"
            )
