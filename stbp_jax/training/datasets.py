"""Checks that the parts of a data set fit each other and the pipeline.

Types, shapes and dtypes are static, so they are checked under a trace too. Values are checked only
if they are concrete: the values of a set that is an argument of `jit` are not checked.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments, calls
from stbp_jax.core import Params, PyTree
from stbp_jax.training.forward import loss_and_metrics, only, rest, scores_of, steps_of
from stbp_jax.training.pipeline import Batch, Pipeline

_PARTS = "(inputs, targets) or (inputs, targets, weights)"
_OF_A_LIST = "; a list is a pytree of its numbers, np.asarray(list) is an array"


def parts_of(name: str, data: Any) -> tuple[Any, Any, Any]:
    """The inputs, targets and weights of a set or batch; weights are None if it has none.

    Raises:
      TypeError: `data` is not a tuple or list.
      ValueError: `data` does not have two or three parts.
    """
    if not isinstance(data, tuple | list):
        raise TypeError(f"{name} must be {_PARTS}, got {type(data).__name__}")
    if len(data) not in (2, 3):
        raise ValueError(f"{name} must be {_PARTS}, got {len(data)} parts")
    inputs, targets, *weights = data
    return inputs, targets, weights[0] if weights else None


def is_stream(data: Any) -> bool:
    """Whether the data are an iterator of batches, or another iterable that is not a set."""
    sets = (tuple, list, Mapping, str, np.ndarray, jax.Array)
    return isinstance(data, Iterable) and not isinstance(data, sets)


def check_form(name: str, data: Any, *, least: int = 1) -> int:
    """Checks the types and shapes of a set.

    Args:
      name: name of the set in messages, such as `"train_set"`.
      data: `(inputs, targets)` or `(inputs, targets, weights)`: pytrees of arrays `[N, ...]`.
      least: the least N.

    Returns:
      N.

    Raises:
      TypeError: the set is no tuple, or a leaf is not an array of numbers.
      ValueError: the shapes do not fit, N is below `least`, an input is empty, or concrete weights
        are not finite, negative or all 0.
    """
    parts = dict(
        zip(("inputs", "targets", "weights"), parts_of(name or "the set", data), strict=True)
    )
    count = None
    for part, tree in parts.items():
        leaves = jax.tree.leaves_with_path(tree)
        if not leaves and part != "weights":
            raise TypeError(f"{name} {part}".strip() + f" must hold an array, got {tree!r}")
        for path, leaf in leaves:
            place = f"{name} {part}{jax.tree_util.keystr(path)}".strip()
            _check_array(place, leaf)
            if count is None and (leaf.ndim < 1 or len(leaf) < least):
                raise ValueError(
                    f"{place} must have shape [N, ...] with N >= {least}"
                    f"{' (batch_size)' if least > 1 else ''}, got {list(leaf.shape)}"
                    + (leaf.ndim < 1)
                    * _OF_A_LIST
                )
            count = len(leaf) if count is None else count
            if leaf.shape[:1] != (count,):
                raise ValueError(
                    f"{place} must have shape [{count}, ...], one for each example, got "
                    f"{list(leaf.shape)}" + (leaf.ndim < 1) * _OF_A_LIST
                )
            if part == "inputs" and 0 in leaf.shape:
                raise ValueError(f"{place} must not be empty, got shape {list(leaf.shape)}")
    assert count is not None  # the inputs hold an array
    if parts["weights"] is not None:
        _check_weights(f"{name} weights".strip(), parts["weights"], count)
    return count


def _check_array(name: str, x: Any) -> None:
    """Raises unless `x` is an array of JAX, or an unmasked array of NumPy, of numbers.

    The message holds only the type, because a list may be long.
    """
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an array without a mask, got a masked array: fill it")
    if not isinstance(x, np.ndarray | np.generic | jax.Array):
        raise TypeError(
            f"{name} must be an array of NumPy or JAX, got {type(x).__name__}; np.asarray makes "
            "one of a list or a column of a table"
        )
    if not (jnp.issubdtype(x.dtype, jnp.number) or x.dtype == bool):
        raise TypeError(f"{name} must be an array of numbers, got dtype {x.dtype}")


def _check_weights(name: str, weights: Any, count: int) -> None:
    """Raises unless weights are numbers `[N]` of at least 0, not all 0."""
    if not isinstance(weights, np.ndarray | jax.Array):
        raise TypeError(f"{name} must be an array, got {type(weights).__name__}")
    if weights.shape != (count,):
        raise ValueError(f"{name} must have shape [{count}], got {list(weights.shape)}")
    if jnp.issubdtype(weights.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, got dtype {weights.dtype}")
    if not arguments.concrete(weights):
        return
    values = np.asarray(weights, np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all() and values.any()):
        raise ValueError(
            f"{name} must be finite, at least 0 and not all 0, got values from {values.min():g} to "
            f"{values.max():g}"
        )


def check_values(
    name: str, pipeline: Pipeline, params: Params, data: Batch, *, batch_size: int
) -> None:
    """Checks the concrete values of a set by the checks of the encoder, the loss and the metrics.

    One batch is traced, and nothing is computed. It holds the examples with the least and the
    greatest number of each array, so that the checks of ranges see those of the whole set.

    Args:
      name: name of the set in messages; empty for none.
      pipeline: the pipeline that takes the set.
      params: parameters of its network, or their shapes and dtypes.
      data: a set that `check_form` accepts.
      batch_size: examples in a batch.

    Raises:
      TypeError, ValueError: those of the encoder, network, readout, loss and metrics.
    """
    leaves, tree = jax.tree.flatten(tuple(data))
    known = [arguments.concrete(leaf) for leaf in leaves]
    if not any(known):
        return
    weights = parts_of(name, data)[2]
    indices = _extremes([leaf for leaf, k in zip(leaves, known, strict=True) if k], weights)
    missing = min(batch_size, len(leaves[0])) - len(indices)
    indices = np.pad(indices, (0, max(missing, 0)), mode="edge")
    batch = [
        np.asarray(leaf)[indices]
        if k
        else jax.ShapeDtypeStruct((len(indices), *leaf.shape[1:]), held_dtype(leaf))
        for leaf, k in zip(leaves, known, strict=True)
    ]
    unknown = [leaf for leaf, k in zip(batch, known, strict=True) if not k]

    def run(params: Params, unknown: list[Any]) -> Any:
        remaining = iter(unknown)
        made = [x if k else next(remaining) for x, k in zip(batch, known, strict=True)]
        inputs, targets, weights = parts_of(name, jax.tree.unflatten(tree, made))
        xs = pipeline.encode(jax.random.key(0), inputs)
        steps = steps_of(pipeline, inputs, None if weights is None else jnp.asarray(weights), xs)
        xs = only(xs, steps.own)
        state = rest(pipeline, params, xs)
        outs = calls.unroll_layer(pipeline.network, params, state, xs)[1]
        scores = scores_of(pipeline, outs, steps)
        return loss_and_metrics(pipeline, scores, targets, None, steps)

    with naming(name):
        jax.eval_shape(run, params, unknown)
        check_mask(pipeline, data)
    for part, some in zip(
        ("inputs", "targets", "weights"), jax.tree.unflatten(tree, batch), strict=False
    ):
        for path, leaf in jax.tree.leaves_with_path(some):
            if isinstance(leaf, np.ndarray) and not jnp.issubdtype(leaf.dtype, jnp.inexact):
                arguments.held(f"{name} {part}{jax.tree_util.keystr(path)}".strip(), leaf)


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Lets the messages of errors begin with the name of the set, unless it is empty."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if not name or type(error) not in (TypeError, ValueError):
            raise
        named = type(error)(f"{name}: {error}")
        for note in getattr(error, "__notes__", ()):
            named.add_note(note)
        raise named from error


def check_mask(pipeline: Pipeline, data: Batch) -> None:
    """Raises if a concrete mask has padding before the end of an example, or no step for one.

    Examples of weight 0 may be all padding.
    """
    inputs, _, weights = parts_of("the set", data)
    if pipeline.mask is None or not all(
        map(arguments.concrete, jax.tree.leaves((inputs, weights)))
    ):
        return
    with jax.ensure_compile_time_eval():
        mask: Any = pipeline.mask(inputs)
    if not arguments.concrete(mask):
        return
    found = np.asarray(mask)
    wrong = ~found[0] | (found[1:] & ~found[:-1]).any(axis=0)
    if weights is not None:
        wrong &= np.asarray(weights) > 0
    if wrong.any():
        raise ValueError(
            f"mask must have the steps of each example first and then "
            f"its padding, got {found[:, np.argmax(wrong)].astype(int).tolist()} for example "
            f"{int(np.argmax(wrong))}"
        )


def _extremes(leaves: list[Any], weights: Any) -> np.ndarray:
    """The indices of the examples with the least and the greatest number of each array.

    Examples of weight 0 do not count.
    """
    counts = None
    if weights is not None and arguments.concrete(weights) and not np.all(weights):
        counts = np.flatnonzero(np.asarray(weights))
    found = [0 if counts is None else counts[0]]
    for leaf in leaves:
        values = np.asarray(leaf) if counts is None else np.asarray(leaf)[counts]
        size = values[0].size
        if size and not np.iscomplexobj(values):
            of_both = np.array([values.argmin(), values.argmax()]) // size
            found += list(of_both if counts is None else counts[of_both])
    return np.unique(np.array(found, np.int64))


def as_arrays(data: PyTree) -> PyTree:
    """The set as a tuple of pytrees of JAX arrays."""
    return jax.tree.map(jnp.asarray, tuple(data))


def held_dtype(x: Any) -> Any:
    """The dtype in which JAX holds an array of NumPy or JAX: int64 becomes int32 without x64."""
    return jax.dtypes.canonicalize_dtype(x.dtype, allow_extended_dtype=True)
