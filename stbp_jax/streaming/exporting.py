"""Files that hold a network as compiled programs, which run without this library.

A file is a zip archive of three members. `header.json` describes the others: `start` is the program
`xs -> state` and `advance` is the program `(state, xs) -> (state, outs)`, each as `jax.export`
serializes it. A state is a tuple of arrays. JAX alone reads the file:

    import json, zipfile
    from jax import export

    with zipfile.ZipFile("network.zip") as file:
        header = json.loads(file.read("header.json"))
        start, advance = (
            export.deserialize(bytearray(file.read(name))).call for name in ("start", "advance")
        )
    assert header["format"] == 1
    state = start(xs)                    # at rest; only the shape of xs counts
    state, outs = advance(state, xs)

JAX runs a program that a release of the last six months has exported. The library does not read
such a file. It is a program: run only one that you trust. `zipfile` verifies a checksum of 32 bits
of each member, which detects damage; JAX reads the bytes of a program without checking them.
"""

import importlib.util
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from stbp_jax import arguments, files
from stbp_jax.core import Array, Layer, Neuron, Params, Shape

FORMAT = 1


def export_stream(
    path: str | os.PathLike[str],
    network: Layer,
    params: Params,
    shape: Shape,
    *,
    steps: int | None = 1,
    batch: int | None = 1,
    dtype: Any = jnp.float32,
    encode: Callable[[Array], Array] | None = None,
    readout: Neuron | None = None,
    platforms: Sequence[str] | None = None,
) -> None:
    """Write a network to a file that runs without this library.

    The programs contain the parameters, and the caller carries the state from call to call. With
    the defaults a call is one time step at batch 1; `steps=None, batch=None` gives a network for
    sequences of any length and any batch. Layers that draw random numbers (dropout) are off.

    Args:
      path: path of the file, a zip archive as the module describes it; an existing file is replaced
        once the new file is complete.
      network: a layer or a network.
      params: parameters of the network.
      shape: shape of one input, without T and B.
      steps: number of time steps T of a call; None for any T >= 1. Networks in `chunked` or
        `truncated` need a number.
      batch: batch size B; None for any B >= 1.
      dtype: dtype of the inputs.
      encode: function from inputs `[T, B, *shape]` to the network's inputs `[T, B, *in]`, such as
        `any_event`; None for the inputs themselves.
      readout: a neuron without parameters, from outputs to scores so far, such as `running_rate()`;
        None for the outputs themselves.
      platforms: names of the platforms, such as `("cpu", "cuda")`; None for the one in use.

    Raises:
      ImportError: flatbuffers is not installed.
      TypeError: an argument of another type.
      ValueError: a size below 1, or a network that does not take the inputs.
      OSError: the file cannot be written.

    >>> import tempfile
    >>> from stbp_jax import dense, lif
    >>> network = dense(3, lif())
    >>> params, _ = network.init(jax.random.key(0), (4,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_stream(folder + "/network.zip", network, params, (4,), batch=None)
    ...     with zipfile.ZipFile(folder + "/network.zip") as file:
    ...         json.loads(file.read("header.json"))["outputs"]
    {'shape': [1, 'B', 3], 'dtype': 'float32'}
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ImportError(
            "export_stream needs flatbuffers, which is not installed: pip install flatbuffers"
        )
    arguments.instance("network", network, Layer, "a Layer, such as dense(10)")
    arguments.instance("readout", readout, Neuron | None, "a Neuron, such as running_rate()")
    arguments.function("encode", encode, "a function of inputs", optional=True)
    kinds = jnp.floating, jnp.integer, jnp.bool_
    dtype = arguments.dtype("dtype", dtype, "a dtype of real numbers", *kinds)
    for leaf in jax.tree.leaves(params):
        arguments.array("params", leaf)
    shape = arguments.shape("shape", shape)
    time = "T" if steps is None else str(arguments.count("steps", steps))
    examples = "B" if batch is None else str(arguments.count("batch", batch))
    sizes = export.symbolic_shape(f"{time}, {examples}")
    inputs = jax.ShapeDtypeStruct((*sizes, *shape), jnp.dtype(dtype))

    def encoded(xs: Array) -> Array:
        return xs if encode is None else encode(xs)

    def rest(xs: Array) -> Any:
        seen = encoded(xs)
        state, _ = network.initial_state(params, seen.shape[1:])
        if readout is None:
            return state, ()
        outs = jax.eval_shape(network.unroll, params, state, seen)[1]
        return state, readout.initial_state(outs.shape[1:], outs.dtype)

    tree: Any = jax.tree.structure(jax.eval_shape(rest, inputs))

    def start(xs: Array) -> tuple[Array, ...]:
        return tuple(jax.tree.leaves(rest(xs)))

    def advance(leaves: tuple[Array, ...], xs: Array) -> tuple[tuple[Array, ...], Array]:
        state, read = tree.unflatten(leaves)
        state, outs = network.unroll(params, state, encoded(xs))
        if readout is not None:
            read, outs = readout.unroll((), read, outs)
        return tuple(jax.tree.leaves((state, read))), outs

    state = jax.eval_shape(start, inputs)
    programs = {
        "start": export.export(jax.jit(start), platforms=platforms)(inputs),
        "advance": export.export(jax.jit(advance), platforms=platforms)(state, inputs),
    }
    outputs = jax.eval_shape(advance, state, inputs)[1]
    header = {
        "format": FORMAT,
        "network": repr(network),
        "jax": jax.__version__,
        "platforms": list(programs["advance"].platforms),
        "inputs": _described(inputs),
        "outputs": _described(outputs),
        "state": [_described(leaf) for leaf in state],
    }
    with files.whole(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("header.json", json.dumps(header))
        for name, program in programs.items():
            archive.writestr(name, bytes(program.serialize()))


def _described(array: Any) -> dict[str, Any]:
    """The shape and the dtype of an array; symbolic sizes by their names."""
    sizes = [size if isinstance(size, int) else str(size) for size in array.shape]
    return {"shape": sizes, "dtype": jnp.dtype(array.dtype).name}
