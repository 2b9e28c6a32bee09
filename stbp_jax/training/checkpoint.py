"""Checkpoints: files of parameters or states, and of the constants that shape the forward pass.

A file is an `.npz` without pickles. It has one member for each array, named by the array's path in
the tree, and a header that describes the arrays. A save writes the whole file or nothing.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments, files
from stbp_jax.core import Layer, Params, constants_of
from stbp_jax.streaming import StreamState
from stbp_jax.surrogates import Surrogate

FORMAT = 1
_HEADER = "header"


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
    header, members = _read(Path(path))
    found = header["params"]
    for name in names:
        if name not in found:
            raise ValueError(
                f"{path}: the network has a parameter {name}, the file has {list(found)}"
            )
    for name in found:
        if name not in names:
            raise ValueError(f"{path}: the file has a parameter {name}, the network has {names}")
    for name, (_, leaf) in zip(names, places, strict=True):
        dtype = jnp.dtype(jnp.result_type(leaf)).name
        of_network = {"shape": list(jnp.shape(leaf)), "dtype": dtype}
        for field in ("shape", "dtype"):
            if found[name][field] != of_network[field]:
                raise ValueError(
                    f"{path}: parameter {name} has {field} {found[name][field]}, the network needs "
                    f"{of_network[field]}"
                )
    _compare(str(path), header["constants"], _plain("constants", constants_of(network)), "network")
    arrays = [
        np.frombuffer(members[name], jnp.dtype(found[name]["dtype"])).reshape(found[name]["shape"])
        for name in names
    ]
    return jax.tree.unflatten(tree, [jnp.asarray(array) for array in arrays])


def _read(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Reads the header and the bytes of each array, and verifies every member's checksum."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            members = {name: file[name].tobytes() for name in file.files}
        header = json.loads(members.pop(_HEADER))
        version = header["format"]
    except OSError:
        raise
    except (ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged, or not written by save: {error}") from error
    if version != FORMAT:
        raise ValueError(
            f"{path} has format {version}, this release reads format {FORMAT}: use a newer one"
        )
    for name, described in header["params"].items():
        size = int(np.prod(described["shape"])) * jnp.dtype(described["dtype"]).itemsize
        if len(members.get(name, b"")) != size:
            raise ValueError(
                f"{path} is damaged: parameter {name} must have {size} bytes, got "
                f"{len(members.get(name, b''))}"
            )
    return header, members


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
        if np.float32(found) != np.float32(wanted):
            raise ValueError(f"{path} was saved with {place} = {found!r}, here it is {wanted!r}")
    elif found != wanted:
        raise ValueError(f"{path} was saved with {place} = {found!r}, here it is {wanted!r}")
