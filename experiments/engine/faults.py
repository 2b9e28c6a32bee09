"""What a run does at a loss, gradient or parameter that is not finite: it stops, or it skips."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax

import stbp_jax as sj
from stbp_jax.training import Build, History

Epochs = Iterator[tuple[sj.TrainState, History]]
MANY = 2**31 - 1  # consecutive updates that `optax.apply_if_finite` skips


class NonFiniteError(Exception):
    """A run that stopped at an update that is not finite; the message names epoch and layer."""


@functools.cache  # the same function for all seeds, so that they share a compiled program
def skipping(build: Build) -> Build:
    """Return `build` with an optimizer that skips updates whose gradient is not finite."""

    def built(hparams: Any, num_updates: int) -> sj.Pipeline:
        pipeline = build(hparams, num_updates)
        return pipeline._replace(optimizer=optax.apply_if_finite(pipeline.optimizer, MANY))

    return built


def stopping(program: Any, state: sj.TrainState | None, epochs: Epochs) -> Epochs:
    """Yield the epochs of a program until no run of it is finite.

    A single run stops in its first epoch with such an update. The runs of a sweep cannot stop one
    by one: it goes on while one of them is finite. No state of the epoch at fault is yielded.

    Args:
      program: a `programs.Program`.
      state: before the first of the epochs; None for the initial state.
      epochs: as `programs.epochs` makes them.

    Raises:
      NonFiniteError: the epoch is at fault. Under `jax_debug_nans` its cause is the error of the
        operation that made the first NaN.
    """
    while True:
        try:
            after, measured = next(epochs)
        except StopIteration:
            return
        except FloatingPointError as error:  # `jax_debug_nans`, which names the scan alone
            raise _stopped(program, state, "a number is NaN") or error from error
        lost = np.asarray(measured.non_finite_updates)
        if (lost > 0).all():
            updates = len(program.sets[0][0].labels) // program.train_config.batch_size
            some = f"{int(lost.max())} of {updates} updates are not finite"
            some += f", in all of {lost.size} runs" if lost.size > 1 else ""
            raise _stopped(program, state, some) or NonFiniteError(some)
        yield after, measured
        state = after


def _stopped(
    program: Any, state: sj.TrainState | None, what: str
) -> NonFiniteError | None:
    """The error of the epoch that begins at `state`, and of its first run; None if it is finite."""
    if not (state is None or program.is_single):
        state = jax.tree.map(lambda leaf: leaf[0, 0], state)
    key, hparams = jax.random.key(program.seeds[0]), program.points[0]
    train = program.sets[0][0]
    cause = None
    try:
        fault = sj.training.first_non_finite(
            program.build, program.train_config, key, hparams, train, state=state
        )
    except FloatingPointError as error:
        fault, cause = error.__notes__[-1], error
    if fault is None:
        return None
