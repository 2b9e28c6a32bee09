"""Where the first number that is not finite comes from, in a run that is made once more.

Nothing here is part of a training program: the run is made again, update by update, and the first
update at fault is taken apart.
"""

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import calls
from stbp_jax.core import Array, Layer, Params, PyTree, State
from stbp_jax.training.datasets import as_arrays, check_form, is_stream, parts_of
from stbp_jax.training.forward import (
    only,
    per_example,
    recorded,
    rest,
    scores_of,
    steps_of,
)
from stbp_jax.training.pipeline import Batch, Build, Pipeline, TrainConfig, TrainState
from stbp_jax.training.run import (
    check_run,
    check_state,
    checked,
    epoch_order,
    num_updates,
    parts_of_run,
    updates_per_epoch,
)
from stbp_jax.training.update import loss_of, make_watched_step

_FINITE = "begin from finite parameters"
_SMALLER = "lower the learning rate, or clip the gradient"
_LARGE = "lower the learning rate, the initial weights or the inputs"
_GRADIENT = (
    "look for an infinite derivative in the loss, lower the decay, or cut the gradient through time"
)


class Fault(NamedTuple):
    """The first number of a run that is not finite; its `str` is one sentence.

    Attributes:
      update: number of updates before the one at fault.
      kind: `"parameter"` before the update, `"input"`, `"current"`, `"state"`, `"output"`,
        `"scores"`, `"loss"`, `"gradient"`, `"update"` for the parameters after it, or `"unknown"`.
      layer: path of the layer in the parameters, such as `"1"`, as in the names of
        `layers.named_parameters`; empty for a network of one layer, None outside of the layers.
      examples: the first examples at fault, at most five: their places in the training set, or in
        the batch of an iterator; `()` if the fault is not in single examples.
      words: what is not finite, and where.
      remedy: what to try.

    >>> print(Fault(3, "state", "1", (7,), "layer 1: membrane is inf", "clip the gradient"))
    update 3: layer 1: membrane is inf: clip the gradient
    """

    update: int
    kind: str
    layer: str | None
    examples: tuple[int, ...]
    words: str
    remedy: str

    def __str__(self) -> str:
        """One sentence: the update, the words and the remedy."""
        return f"update {self.update}: {self.words}: {self.remedy}"


def first_non_finite(
    build: Build,
    config: TrainConfig,
    key: Array,
    hparams: PyTree,
    train_set: Batch | Iterable[Batch],
    *,
    state: TrainState | None = None,
) -> Fault | None:
    """Find the first layer at fault in a run whose `non_finite_updates` is not 0.

    The run is made again from `state` on, update by update, up to the first update with a NaN or an
    infinity in the loss, the gradient or the parameters. Of that update the parameters are looked
    at first, then the inputs, the layers in order, the scores, the loss, the gradients from the
    last layer to the first, and the parameters after it. In a layer the *current* is at fault if
    one step from rest is not finite, and the *state*, such as the membrane, if it is only so after
    the steps before. In a network that is not a `serial`, `layer` is empty, and the words name the
    inner layer whose state is at fault.

    Args:
      build: as in `make_train`.
      config: as in `make_train`.
      key: random key of the run.
      hparams: hyper-parameters of the run.
      train_set: of the run; an iterator of batches is used up as far as the fault.
      state: of the run before the fault, such as that of `train_epochs` one epoch earlier, so that
        less is made again; None for the initial state.

    Returns:
      The `Fault`, or None if all updates up to the end of the run are finite. Another program sums
      in another order, so that a number at the edge of its dtype's range may be finite here.

    Raises:
      TypeError, ValueError: as in `train_epochs`.
      FloatingPointError: under `jax.debug_nans(True)`. The update at fault is then computed
        operation by operation, and the traceback ends at the first that makes a NaN, or else an
        infinity. The `Fault` is in a note of the error.

    >>> import optax
    >>> import stbp_jax as sj
    >>> def build(hparams, num_updates):
    ...     return sj.Pipeline(
    ...         encode=lambda key, inputs: sj.constant(inputs, num_steps=3),
    ...         network=sj.serial(sj.dense(4, sj.lif()), sj.dense(2)),
    ...         readout=sj.rate,
    ...         loss=sj.half_squared_error,
    ...         optimizer=optax.sgd(hparams),
    ...     )
    >>> data = np.full((20, 3), 0.5, np.float32), np.arange(20) % 2
    >>> config = sj.TrainConfig(epochs=2, batch_size=10)
    >>> print(first_non_finite(build, config, jax.random.key(0), jnp.inf, data))
    update 0: after the update, parameter 0/synapse/kernel is NaN: lower the learning rate, or clip
    the gradient
    """
    config = checked(build, config)
    if is_stream(train_set):
        if config.updates_per_epoch is None:
            raise ValueError("updates_per_epoch of config must be set if train_set is an iterator")
        stream: Any = iter(train_set)
        like: Any = next(stream, None)
        if like is None:
            raise ValueError("train_set must have a batch, got an iterator at its end")
        name = "batch"
    else:
        stream, like, name = None, train_set, "train_set"
    fresh = check_run(build, config, key, hparams, {name: like})
    if state is None:
        state = parts_of_run(build, config).start(key, hparams, like)
    else:
        check_state(state, fresh)
    if stream is None:
        batches = _batches(config, key, like, int(state.step))
    else:
        batches = ((batch, None) for batch in itertools.chain([like], stream))
    total = num_updates(config, like)

    def update(hparams: PyTree, state: TrainState, batch: Batch) -> tuple[TrainState, Array]:
        pipeline = build(hparams, total)
        step = make_watched_step(loss_of(pipeline), pipeline.optimizer)
        after, (_, _, finite) = step(state, batch)
        return after, finite

    compiled = jax.jit(update)
    for batch, places in batches:
        check_form("batch", batch)
        batch = as_arrays((*batch,))
        with jax.debug_nans(False), jax.debug_infs(False):
            after, finite = compiled(hparams, state, batch)
            if finite:
                state = after
                continue
            fault = _fault(build(hparams, total), state, after, batch, places)
        if jax.config.jax_debug_nans:  # type: ignore[attr-defined]
            _raise_at_operation(fault, update, hparams, state, batch)
        return fault
    return None


def _raise_at_operation(fault: Fault, update: Callable[..., Any], *args: Any) -> None:
    """Compute an update operation by operation, up to the first NaN, or else infinity."""
    for check in (jax.debug_nans, jax.debug_infs):
        try:
            with check(True), jax.disable_jit():
                update(*args)
        except FloatingPointError as error:
            error.add_note(str(fault))
            raise


def _batches(
    config: TrainConfig, key: Array, train_set: Batch, done: int
) -> Iterator[tuple[Batch, np.ndarray | None]]:
    """The batches of a run after its first `done` updates, with their places in the set."""
    count = check_form("train_set", train_set)
    updates = updates_per_epoch(config, count)
    train_set = as_arrays(jax.device_put((*train_set,)))
    for epoch in range(done // updates, config.epochs):
        order = np.asarray(epoch_order(config, key, jnp.int32(epoch * updates), count))
        for places in order[max(done - epoch * updates, 0) :]:
            yield jax.tree.map(lambda x, places=places: x[places], train_set), places


# One update, taken apart --------------------------------------------------------------------------


def _fault(
    pipeline: Pipeline,
    state: TrainState,
    after: TrainState,
    batch: Batch,
    places: np.ndarray | None,
) -> Fault:
    """The first part of an update that is not finite; `after` is the state behind it."""
    for kind, layer, rows, words, remedy in _parts(pipeline, state, after, batch):
        at = np.flatnonzero(rows)[:5]
        examples = tuple(int(i) for i in (at if places is None else places[at]))
        if examples:
            which = "example" if len(examples) == 1 else "examples"
            words += f", in {which} {', '.join(map(str, examples))}"
            words += "" if np.sum(rows) == len(examples) else f" and {np.sum(rows) - 5} others"
            words += " of the batch" if places is None else ""
        return Fault(int(state.step), kind, layer, examples, words, remedy)
    words = "the update is not finite, but all of its parts are when they are computed one by one"
    return Fault(int(state.step), "unknown", None, (), words, _SMALLER)


_Part = tuple[str, str | None, Any, str, str]  # kind, layer, examples `[B]`, words, remedy
_NOWHERE = np.zeros(0, bool)


def _parts(
    pipeline: Pipeline, state: TrainState, after: TrainState, batch: Batch
) -> Iterator[_Part]:
    """The parts that are not finite, in the order in which an update computes them."""
    params, key = state.params, jax.random.fold_in(state.key, state.step)
    paths = ["/".join(map(str, place)) for place, _ in _layers(pipeline.network)]
    for name, leaf in _named(params):
        if _is_bad(leaf):
            words = f"parameter {name} is {_value(leaf)} before the update"
            yield "parameter", _home(name, paths), _NOWHERE, words, _FINITE

    yield from _forward(pipeline, params, key, batch)

    (loss, _), grads = jax.jit(jax.value_and_grad(loss_of(pipeline), has_aux=True))(
        params, key, batch
    )
    if _is_bad(loss):
        words = f"the loss is {_value(loss)}, that of each example is finite"
        plain = pipeline.objective is None and pipeline.auxiliary_loss is None
        remedy = _SMALLER if plain else "look at objective and auxiliary_loss"
        yield "loss", None, _NOWHERE, words, remedy
    for name, leaf in reversed(_named(grads)):  # gradients run from the last layer to the first
        if _is_bad(leaf):
            words = f"the gradient of {name} is {_value(leaf)}, the loss is finite"
            yield "gradient", _home(name, paths), _NOWHERE, words, _GRADIENT
    for name, leaf in _named(after.params):
        if _is_bad(leaf):
            words = f"after the update, parameter {name} is {_value(leaf)}"
            yield "update", _home(name, paths), _NOWHERE, words, _SMALLER


def _forward(pipeline: Pipeline, params: Params, key: Array, batch: Batch) -> Iterator[_Part]:
    """The parts of the forward pass, as `loss_of` computes it, layer by layer."""
    inputs, targets, weights = parts_of("batch", batch)
    key_encode, key_layers, key_augment = jax.random.split(key, 3)
    seen = inputs if pipeline.augment is None else pipeline.augment(key_augment, inputs)
    xs = pipeline.encode(key_encode, seen)
    steps = steps_of(pipeline, seen, weights, xs)
    xs = only(xs, steps.own)
    rows = _rows(xs)
    if rows.any():
        if rows[_rows(jax.tree.map(lambda x: x[None], inputs))].any():
            yield "input", None, rows, f"the inputs are {_value(xs)}", "leave these examples out"
        words = f"the encoded inputs are {_value(xs)}, the inputs are finite"
        yield "input", None, rows, words, "look at encode and augment"
    whole = rest(pipeline, params, xs, key_layers)
    for place, layer in _layers(pipeline.network):
        own, first = (functools.reduce(operator.getitem, place, tree) for tree in (params, whole))
        states, outs = recorded(pipeline._replace(network=layer), own, first, xs)
        yield from _in_layer("/".join(map(str, place)), layer, own, xs, states, outs)
        xs = outs
    scores = scores_of(pipeline, xs, steps)
    if _is_bad(scores):
        words = f"the scores are {_value(scores)}, the outputs are finite"
        yield "scores", None, _NOWHERE, words, "look at readout"
    losses = per_example("loss", pipeline.loss(scores, targets), steps)
    rows = ~np.isfinite(losses) & (True if weights is None else np.asarray(weights) > 0)
    if rows.any():
        path = "/".join(map(str, place))
        largest = max(float(jnp.abs(leaf).max()) for _, leaf in _named(scores))
        words = f"the loss is {_value(losses)}, the scores of {_called(path)} reach {largest:.2g}"
        yield "loss", path, rows, words, "lower the learning rate, or take a loss with a bound"


def _in_layer(
    path: str, layer: Layer, params: Params, xs: PyTree, states: State, outs: PyTree
) -> Iterator[_Part]:
    """The first state, else output, of a layer that is not finite at the earliest step."""
    found = [
        (int(np.argmax(_bad(leaf).any(1))), kind, name or kind, leaf)
        for kind, tree in (("state", states), ("output", outs))
        for name, leaf in _named(tree)
        if _is_bad(leaf)
    ]
    if not found:
        return
    t, kind, name, leaf = min(found, key=operator.itemgetter(0))
    what = f"{name} is {_value(leaf[t])} at step {t}"
    if kind == "state":
        x = jax.tree.map(lambda x: x[t], xs)
        rested = layer.initial_state(params, jax.tree.map(jnp.shape, x))[0]
        if _is_bad(calls.step_layer(layer, params, rested, x)[0]):
            kind, what = "current", f"the current is not finite: {what}"
    yield kind, path, _bad(leaf)[t], f"{_called(path)}: {what}", _LARGE


def _called(path: str) -> str:
    return f"layer {path}" if path else "the network"


def _layers(layer: Layer, place: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Layer]]:
    """The layers of a network in order, with their places in its parameters."""
    if not layer.layers:
        yield place, layer
    for i, inner in enumerate(layer.layers):
        yield from _layers(inner, (*place, i))


def _home(name: str, paths: list[str]) -> str:
    """The path of the layer that holds a parameter."""
    return next((path for path in paths if name.startswith(f"{path}/")), "")


def _named(tree: PyTree) -> list[tuple[str, Array]]:
    """The leaves of floats in a tree, by their names."""
    return [
        (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
        for path, leaf in jax.tree.leaves_with_path(tree)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]


def _is_bad(tree: PyTree) -> bool:
    return any(not bool(jnp.isfinite(leaf).all()) for _, leaf in _named(tree))


def _value(tree: PyTree) -> str:
    """What a tree with numbers that are not finite holds."""
    nan = any(bool(jnp.isnan(leaf).any()) for _, leaf in _named(tree))
    return "NaN" if nan else "infinite"


def _bad(leaf: Array) -> np.ndarray:
    """Which steps of which examples, `[T, B]`, are not finite in an array `[T, B, ...]`."""
    return np.asarray(~jnp.isfinite(leaf).all(range(2, leaf.ndim)))


def _rows(xs: PyTree) -> np.ndarray:
    """Which examples, `[B]`, are not finite at some step of arrays `[T, B, ...]`."""
    batch = jax.tree.leaves(xs)[0].shape[1]
    return np.any([np.zeros(batch, bool), *(_bad(leaf).any(0) for _, leaf in _named(xs))], axis=0)
