"""What a run does at a loss, gradient or parameter that is not finite: it stops, or it skips."""

import functools
from collections.abc import Iterator

import jax
import numpy as np

import stbp_jax as sj
from experiments.engine import programs
from stbp_jax.training import History

HINT = "--train.skip-non-finite skips such updates, --debug-nans names the operation"


class NonFiniteError(Exception):
    """A run that stopped at an update that is not finite; the message names epoch and layer."""


def epochs(
    program: programs.Program, state: sj.TrainState | None
) -> Iterator[tuple[sj.TrainState, History]]:
    """Yield the state and the history after each remaining epoch, as long as a run is finite.

    A single run stops in the first epoch with an update that is not finite, unless the config asks
    to skip such updates. A sweep goes on while one of its runs is finite: they cannot stop one by
    one. No state of the epoch at fault is yielded, so that no checkpoint holds it.

    Args:
      program: of the job.
      state: of an unfinished run; None for the initial state.

    Raises:
      NonFiniteError: the run stops. Under `jax_debug_nans` its cause is the error of the operation
        that made the NaN.
    """
    left = programs.epochs(program, state)
    if program.config.train.skip_non_finite:
        yield from left
        return
    while True:
        item, blind = None, None
        try:
            item = next(left, None)
        except FloatingPointError as error:  # of `jax_debug_nans`; it names no more than a scan
            blind = error
        if blind is not None:
            raise _located(program, state, "an update is NaN") or blind
        if item is None:
            return
        lost = np.asarray(item[1].non_finite_updates)
        if (lost > 0).all():
            words = f"{lost.max()} updates are not finite"
            words += f" in each of {lost.size} runs" if lost.size > 1 else ""
            raise _located(program, state, words) or NonFiniteError(words)
        yield item
        state = item[0]


def _located(
    program: programs.Program, state: sj.TrainState | None, words: str
) -> NonFiniteError | None:
    """Find the fault of the first run after `state`; None if the same updates are finite now."""
    if state is not None and not program.is_single:
        state = jax.tree.map(lambda leaf: leaf[0, 0], state)
    (train, _, _), config = program.sets[0], program.train_config
    find = functools.partial(
        sj.training.first_non_finite,
        program.build,
        config,
        jax.random.key(program.seeds[0]),
        program.points[0],
        train,
        state=state,
    )
    with jax.debug_nans(False):
        fault = find()
    if fault is None:
        return None
    epoch = fault.update // (len(train.labels) // config.batch_size) + 1
    stopped = NonFiniteError(f"epoch {epoch}: {words}; {fault} ({HINT})")
    if jax.config.jax_debug_nans:  # type: ignore[attr-defined]
        try:
            find()
        except FloatingPointError as error:
            stopped.__cause__ = error
    return stopped
