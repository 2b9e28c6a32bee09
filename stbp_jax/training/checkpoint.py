"""Checkpoints: files of parameters or states, and of the constants that shape the forward pass.

A file is an `.npz` without pickles. It has one member for each array, named by the array's path in
the tree, and a header that describes the arrays. A save writes the whole file or nothing. A load
reads the header first, and then no more bytes than the parameters need.
"""

import contextlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments, files
from stbp_jax.core import Array, Layer, Params, constants_of
from stbp_jax.data import archives, contents
from stbp_jax.streaming import StreamState
from stbp_jax.surrogates import Surrogate

FORMAT = 1
_HEADER = "header"
_LONGEST_HEADER = 2**26  # bytes: a constant for each of a million neurons


def save(path: str | os.PathLike[str], network: Layer, params: Params) -> None:
    """Writes parameters, or a state, and the network's constants to a file.

    Args:
      path: path of the file; an existing file is replaced once the new file is complete.
      network: the network of the parameters. Its constants are those that its neurons and layers
        name: decays, thresholds, resets, kernel sizes. Functions are saved by their names.
      params: parameters of the network, or a state of it, such as that of `apply` or of a
        `streaming.Decision`. Dtypes are kept, bfloat16 included.

    Raises:
      TypeError: `network` is not a `Layer`; a parameter or constant is traced or not an array; or
        the network is a `serial`, and `params` is not a tuple with an entry for each layer.
      OSError: the file cannot be written.

    >>> import tempfile
    >>> from stbp_jax import dense, lif
    >>> network = dense(3, lif(decay=0.5))
    >>> params, _ = network.init(jax.random.key(0), (4,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/params.npz", network, params)
    ...     loaded = load(folder + "/params.npz", network, params)
    >>> bool(jnp.all(loaded.synapse.kernel == params.synapse.kernel))
    True
    """
    arguments.instance("network", network, Layer, "a Layer, such as dense(10)")
    # The states of a `serial` are in the tree of its parameters.
    _check_form("params", network, params.network if isinstance(params, StreamState) else params)
    arrays = _named("params", params)
    header = {
        "format": FORMAT,
        "params": {name: _described(array) for name, array in arrays.items()},
        "constants": _plain("constants", constants_of(network)),
    }
    members = {name: _storable(array) for name, array in arrays.items()}
    members[_HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with files.whole(path) as file:
        np.savez(file, **members)  # type: ignore[arg-type]


def load(path: str | os.PathLike[str], network: Layer, like: Params) -> Params:
    """Reads the parameters, or the state, that `save` wrote for the same network.

    No code in the file is executed, and no array in it unpacks to more bytes than `like` needs.
    Every array has a checksum of 32 bits, which detects damage; it does not detect a file that was
    changed on purpose.

    Args:
      path: path of the file.
      network: the network, with the same constants as at the save.
      like: parameters with the same tree, shapes and dtypes, or their `jax.ShapeDtypeStruct`s from
        `jax.eval_shape(lambda key: network.init(key, shape)[0], jax.random.key(0))`. For a state, a
        state of the same form: `network.initial_state(params, shape)[0]` with `shape` `[B, *in]`,
        or `stream.start()`.

    Returns:
      Parameters or a state in the tree of `like`.

    Raises:
      TypeError: `network` is not a `Layer`.
      ValueError: the file is damaged, has a newer format, or was not written by `save`; its
        parameters have other names, shapes or dtypes; or it was saved with other constants. The
        message names the first difference.
      OSError: the file cannot be read.

    >>> import pathlib, tempfile
    >>> import stbp_jax as sj
    >>> net = sj.dense(2, sj.lif())
    >>> params, _ = net.init(jax.random.key(0), (3,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "params.npz")
    ...     sj.save(path, net, params)
    ...     same = load(path, net, params)
    >>> bool((same.synapse.kernel == params.synapse.kernel).all())
    True
    """
    arguments.instance("network", network, Layer, "a Layer, such as dense(10)")
    places, tree = jax.tree_util.tree_flatten_with_path(like)
    names = [jax.tree_util.keystr(place) for place, _ in places]
    with contextlib.ExitStack() as stack:
        header, members = _opened(Path(path), stack)
        _check_header(path, header, names, [leaf for _, leaf in places])
        wanted = _plain("constants", constants_of(network))
        _compare(str(path), header["constants"], wanted, "network")
        leaves = [
            _member(path, members, name, jnp.shape(leaf), jnp.dtype(jnp.result_type(leaf)))
            for name, (_, leaf) in zip(names, places, strict=True)
        ]
    return jax.tree.unflatten(tree, leaves)


_Members = dict[str, Callable[[int], np.ndarray]]


def _opened(path: Path, stack: contextlib.ExitStack) -> tuple[dict[str, Any], _Members]:
    """Reads the header, and opens the arrays."""
    try:
        members = archives.arrays(path, contents.Folder(path.parent, None), stack)
        if _HEADER not in members:
            raise ValueError(f"it has no header, but {list(members)}")
        header = json.loads(members.pop(_HEADER)(_LONGEST_HEADER).tobytes())
        version = header["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error
    if version != FORMAT:
        raise ValueError(
            f"{path} has format {version!r}, this release reads format {FORMAT}: use a newer one"
        )
    return header, members


def _damaged(path: Any, why: Any) -> ValueError:
    return ValueError(f"{path} is damaged, or not written by save: {why}")


def _check_header(path: Any, header: dict[str, Any], names: list[str], leaves: list[Any]) -> None:
    """Raises where the described arrays are not those of the network."""
    found, described = header.get("params"), ("shape", "dtype")
    if "constants" not in header or not isinstance(found, dict):
        raise _damaged(path, f"its header has {list(header)}")
    for name, entry in found.items():
        if not isinstance(entry, dict) or not set(described) <= set(entry):
            raise _damaged(path, f"its header describes {name} by {entry!r}")
    for name in names:
        if name not in found:
            raise ValueError(
                f"{path}: the network has a parameter {name}, the file has {list(found)}"
            )
    for name in found:
        if name not in names:
            raise ValueError(f"{path}: the file has a parameter {name}, the network has {names}")
    for name, leaf in zip(names, leaves, strict=True):
        dtype = jnp.dtype(jnp.result_type(leaf)).name
        of_network = {"shape": list(jnp.shape(leaf)), "dtype": dtype}
        for field in described:
            if found[name][field] != of_network[field]:
                raise ValueError(
                    f"{path}: parameter {name} has {field} {found[name][field]}, the network needs "
                    f"{of_network[field]}"
                )


def _member(
    path: Any, members: _Members, name: str, shape: tuple[int, ...], dtype: np.dtype
) -> Array:
    size = math.prod(shape) * dtype.itemsize
    try:
        raw = members[name](size).tobytes()
    except (ValueError, KeyError) as error:
        raise _damaged(path, error) from error
    if len(raw) != size:
        raise _damaged(path, f"parameter {name} must have {size} bytes, got {len(raw)}")
    return jnp.asarray(np.frombuffer(raw, dtype).reshape(shape))


def _check_form(name: str, network: Layer, params: Any) -> None:
    """Raises where the parameters are not in the tree of the network, as far as it is known.

    Only a `serial` shows the form of its parameters without the shape of the inputs.
    """
    if not network.layers:
        return
    plain = type(params) in (tuple, list)  # no record of one layer, such as LayerParams
    if not plain or len(params) != len(network.layers):
        got = type(params).__name__ + (f" of {len(params)}" if plain else "")
        raise TypeError(
            f"{name} must be a tuple of {len(network.layers)}, one entry for each layer, as "
            f"network.init makes, got {got}"
        )
    for i, (layer, entry) in enumerate(zip(network.layers, params, strict=True)):
        _check_form(f"{name}[{i}]", layer, entry)


def _boxed(x: Any) -> bool:
    """Whether `x` is a box around one array, such as an `nnx.Param`, and no array itself."""
    inside = jax.tree.leaves(x)
    shaped = hasattr(x, "shape") and hasattr(x, "dtype")
    return shaped and len(inside) == 1 and inside[0] is not x


def _named(prefix: str, tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree as NumPy arrays, by their paths."""
    named = {}
    for place, leaf in jax.tree_util.tree_flatten_with_path(tree, is_leaf=_boxed)[0]:
        name = jax.tree_util.keystr(place)
        if _boxed(leaf):
            raise TypeError(
                f"{prefix}{name} must be an array, got {type(leaf).__name__}: of the parameters of "
                "an NNX module, save nnx.as_pure(module.params)"
            )
        if not arguments.concrete(leaf):
            raise TypeError(
                f"{prefix}{name} must be concrete, got a traced value: save outside jit"
            )
        array = np.asarray(leaf)
        if array.dtype == object:
            raise TypeError(f"{prefix}{name} must be an array, got {type(leaf).__name__}")
        named[name] = array
    return named


def _storable(array: np.ndarray) -> np.ndarray:
    """The array, or its bytes if NumPy's format has no name for the dtype, such as bfloat16."""
    known = array.dtype.isbuiltin == 1
    return array if known else np.frombuffer(array.tobytes(), np.uint8)


def _described(array: np.ndarray) -> dict[str, Any]:
    """An array's entry in the header."""
    return {"shape": list(array.shape), "dtype": array.dtype.name}


def _plain(name: str, value: Any) -> Any:
    """A constant in the types of JSON; surrogates are left out."""
    if isinstance(value, dict):
        shape_forward = {k: v for k, v in value.items() if not isinstance(v, Surrogate)}
        return {key: _plain(f"{name}.{key}", item) for key, item in shape_forward.items()}
    if isinstance(value, list | tuple):
        return [_plain(f"{name}[{i}]", item) for i, item in enumerate(value)]
    if value is None or isinstance(value, str | bool):
        return value
    if not arguments.concrete(value):
        raise TypeError(f"{name} must be concrete, got a traced value")
    array = np.asarray(value)
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        raise TypeError(f"{name} must be a number, a name or an array, got {value!r}")
    return array.astype(np.float64).tolist()


def _compare(path: str, found: Any, wanted: Any, place: str) -> None:
    """Raises if constants differ; numbers are compared in float32."""
    if isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys():
        for key in found:
            _compare(path, found[key], wanted[key], f"{place}.{key}")
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for i, (one, other) in enumerate(zip(found, wanted, strict=True)):
            _compare(path, one, other, f"{place}[{i}]")
    elif isinstance(found, float) and isinstance(wanted, float):
        with np.errstate(over="ignore"):
            same = np.float32(found) == np.float32(wanted)
        if not same:
            raise ValueError(f"{path} was saved with {place} = {found!r}, here it is {wanted!r}")
    elif found != wanted:
        raise ValueError(f"{path} was saved with {place} = {found!r}, here it is {wanted!r}")
