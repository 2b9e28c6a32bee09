"""Checks that the images and labels of a data set fit each other and the pipeline.

Types, shapes and dtypes are static, so they are checked under a trace too. Values are checked only
if they are concrete: the values of a set that is an argument of `jit` are not checked.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments
from stbp_jax.core import Array, Params
from stbp_jax.training.pipeline import Pipeline


def check_pair(name: str, data: Any) -> tuple[Any, Any]:
    """The images and labels of a pair such as `data.Dataset`.

    Raises:
      TypeError: `data` is not a tuple or list.
      ValueError: `data` does not have two parts.
    """
    if not isinstance(data, tuple | list):
        raise TypeError(f"{name} must be a pair (images, labels), got {type(data).__name__}")
    if len(data) != 2:
        raise ValueError(f"{name} must be a pair (images, labels), got {len(data)} parts")
    return data[0], data[1]


def check_form(images: Any, labels: Any, *, of: str = "", least: int = 1) -> tuple[Array, Array]:
    """Checks the types, shapes and dtypes of a set.

    Args:
      images: `[N, ...]`, uint8, floats, or uint32 `[N, M]` for packed events.
      labels: `[N]`, integers.
      of: prefix of both names in messages, such as `"train_set "`.
      least: the least N.

    Returns:
      `(images, labels)`, unchanged.

    Raises:
      TypeError: images or labels are not arrays, or have a dtype that no pipeline takes.
      ValueError: the shapes do not fit, N is below `least`, or the images have no pixels.
    """
    _check_array(f"{of}images", images)
    _check_array(f"{of}labels", labels)
    if images.ndim < 2 or len(images) < least:
        raise ValueError(
            f"{of}images must have shape [N, ...] with N >= {least}"
            f"{' (batch_size)' if least > 1 else ''}, got {list(images.shape)}"
        )
    if labels.shape != (len(images),):
        raise ValueError(
            f"{of}labels must have shape [{len(images)}], one for each example, "
            f"got {list(labels.shape)}"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"{of}labels must be integers, got dtype {labels.dtype}")
    if images.dtype == np.uint32:  # packed events, which the encoder checks
        return images, labels
    if images.dtype != np.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"{of}images must be uint8, or floats in [0, 1], or packed events (uint32), "
            f"got dtype {images.dtype}"
        )
    if 0 in images.shape:
        raise ValueError(f"{of}images must have pixels, got shape {list(images.shape)}")
    return images, labels


def _check_array(name: str, x: Any) -> None:
    """Raises unless `x` is an array of JAX or an unmasked array of NumPy.

    The message holds only the type, because a list may be long.
    """
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an array without a mask, got a masked array: fill it")
    if not isinstance(x, np.ndarray | np.generic | jax.Array):
        raise TypeError(f"{name} must be an array of NumPy or JAX, got {type(x).__name__}")


def check_numbers(
    pipeline: Pipeline,
    params: Params,
    images: Array,
    labels: Array,
    *,
    batch_size: int,
    of: str = "",
) -> None:
    """Checks the concrete values of a set that `check_form` accepts.

    Args:
      pipeline: the pipeline that takes the set.
      params: parameters of its network, or their shapes and dtypes.
      images: `[N, ...]`.
      labels: `[N]`.
      batch_size: examples in a batch.
      of: prefix of both names in messages.

    Raises:
      TypeError, ValueError: pixels are not finite or outside [0, 1], the network has no class for a
        label, or the network does not take images of this size.
    """
    if images.dtype != np.uint32:
        arguments.images(f"{of}images", images)
    if not arguments.concrete(labels):
        return

    def scores(params: Params, images: Array) -> Array:
        xs = pipeline.encode(jax.random.key(0), images)
        state, _ = pipeline.network.initial_state(params, xs.shape[1:])
        return pipeline.readout(pipeline.network.unroll(params, state, xs)[1])

    # One batch, because some encoders refuse a set with more elements than can be indexed.
    shape = (min(batch_size, len(images)), *images.shape[1:])
    found = jax.eval_shape(scores, params, jax.ShapeDtypeStruct(shape, images.dtype))
    if len(found.shape) != 2:
        raise ValueError(f"scores must have shape [B, C], got {list(found.shape)}")
    arguments.labels(f"{of}labels", labels, batch=len(images), classes=found.shape[1])
