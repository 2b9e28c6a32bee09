"""Sweeps of an image classifier: all cells and all seeds of a variant in one compiled program.

Decides how a grid becomes rows: one for each cell and seed, with the fields of a lone run's row.
Leaves out what the cells are and what the network is: a variant's `cells` and `images.build` do it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import stbp_jax as sj
from experiments import harness, images
from experiments.classification import Load, load_named, slice_shape
from experiments.settings import UsageError, setting
from experiments.study import BUDGETS, Plan, Row, Variant
from stbp_jax.core import PyTree

Sets = tuple[Any, Any]  # to train and to test on: `Dataset` or `Recordings`
Cells = Callable[[Any], list[images.HParams]]


@dataclass(frozen=True)
class Settings(images.Settings):
    """Of a sweep; a number here holds in all cells that do not name another."""

    train_limit: int = setting(0, "learn from at most so many examples, test on all; 0: all")
    chunk: int = setting(0, "cells at once, where memory is short; 0 takes all")


def variant(
    tells: str,
    settings: Any,
    *,
    cells: Cells,
    cpu: Plan,
    full: Plan,
    long: Plan | None = None,
    load: Load | None = None,
    **values: Any,
) -> Variant:
    """A variant that trains a network of `images` in each cell with each seed, in one program.

    Args:
      tells: what sets it apart.
      settings: a `Settings`, of the full budget.
      cells: `settings ->` hyper-parameters of each cell, all with the same names, as `sj.grid`
        gives them; what `images.build` does not read only describes the cell.
      cpu: what two cores can afford.
      full: the paper's own run.
      long: what two cores can do in hours; None for nothing.
      load: where each seed's examples come from; None for the data set of the settings.
      **values: as `images.build` takes them.
    """

    def run(settings: Any, seeds: list[int], folder: Path) -> Iterator[list[Row]]:
        pairs = [load(settings, seed) for seed in seeds] if load else [load_named(settings)]
        sets = [(_learnt_from(train, settings), test) for train, test in pairs]
        build, points = images.build(settings, **values), cells(settings)
        yield sweep(build, points, settings, seeds, sets, folder)

    plans = {"cpu": cpu, "long": long, "full": full}
    return Variant(tells, settings, run, {name: plan for name, plan in plans.items() if plan})


def sweep(
    build: sj.training.Build,
    cells: list[images.HParams],
    settings: Any,
    seeds: list[int],
    sets: Sequence[Sets],
    folder: Path,
) -> list[Row]:
    """Trains every cell with every seed; gives the rows cell by cell when all are done.

    Nothing is chosen on validation examples here: `test_accuracy_selected` is None.
    """
    try:
        for cell in cells:  # the program itself can check no numbers but those of the first
            build(cell, 1)
        train = sj.make_train(build, sj.TrainConfig(settings.epochs, settings.batch_size))
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    history, shared = in_one_program(train, cells, settings, seeds, sets, folder)
    shape = slice_shape(build(cells[0], 1), sets[0][0])
    count = images.multiply_accumulates(settings, shape)
    rows = []
    for cell, seed, of in each(history, cells, seeds):
        row = shared | {
            "network": images.network(settings, shape),
            "epochs": settings.epochs,
            "seed": seed,
            "hparams": cell,
            "test_accuracy_last": round(float(of.test.accuracy[-1]), 6),
            "test_accuracy_best": round(float(of.test.accuracy.max()), 6),
            "test_accuracy": of.test.accuracy.round(4),
            "firing_rate": of.test.firing_rate[-1],
            "operations": of.test.operations[-1],
            "multiply_accumulates": count,
        }
        harness.append_row(folder / "row.jsonl", row)
        rows.append(row)
    return rows


def in_one_program(
    train: Callable[..., tuple[Any, PyTree]],
    cells: list[images.HParams],
    settings: Any,
    seeds: list[int],
    sets: Sequence[Sets],
    folder: Path,
) -> tuple[PyTree, Row]:
    """Runs every cell with every seed, and leaves `config.json` in the folder before it starts.

    Args:
      train: `(key, hparams, train_set, test_set) -> (state, told)`.
      cells: the hyper-parameters, all with the same names.
      settings: a `Settings`.
      seeds: each seed's key is that of a lone run.
      sets: to train and to test on: one pair for each seed, or one for all.
      folder: of the run.

    Returns:
      `(told, row)`: the leaves of told are `[H, S, ...]`, NumPy's; row has what all rows share, but
      for the network.
      Its seconds are the whole program's, which `cells` runs share.

    Raises:
      UsageError: what `train` refuses.
    """
    source = harness.provenance()
    harness.claim(folder, {"seeds": seeds, "settings": asdict(settings), **source})
    print(f"{len(cells)} cells with {len(seeds)} seeds each, in one program", flush=True)
    points = {name: jnp.asarray([float(cell[name]) for cell in cells]) for name in cells[0]}
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    clock, began = harness.CompileClock(), time.perf_counter()
    try:
        if len(sets) == 1:
            told = sj.sweep(train, keys, points, *sets[0], chunk=settings.chunk or None)
        else:
            own, stacked = _of_each_seed(train, keys, sets)
            places = jnp.arange(len(seeds))
            told = sj.sweep(own, places, points, *stacked, chunk=settings.chunk or None)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    told = jax.tree.map(np.asarray, told)
    return told, {
        "dataset": settings.data,
        "num_steps": settings.num_steps,
        "epochs": 0,
        "batch_size": settings.batch_size,
        "settings": asdict(settings),
        "num_train": len(sets[0][0].labels),
        "num_test": len(sets[0][1].labels),
        "test_accuracy_last": None,
        "test_accuracy_best": None,
        "test_accuracy_selected": None,
        "cells": len(cells) * len(seeds),
        "wall_seconds": round(time.perf_counter() - began, 2),
        "compile_seconds": round(clock.seconds, 2),
        "peak_bytes": harness.peak_bytes(),
        **source,
    }


def _of_each_seed(
    train: Callable[..., tuple[Any, PyTree]], keys: jax.Array, sets: Sequence[Sets]
) -> tuple[Callable[..., tuple[Any, PyTree]], list[tuple[np.ndarray, np.ndarray]]]:
    """A run that takes a seed's place instead of its key, and the sets with an axis of seeds."""

    def own(place: jax.Array, hparams: PyTree, *stacked: Any) -> tuple[Any, PyTree]:
        of_seed = jax.tree.map(lambda leaf: jnp.asarray(leaf)[place], stacked)
        return train(keys[place], hparams, *of_seed)

    if hasattr(train, "check"):  # so that `sj.run` need not trace every cell

        def check(hparams: PyTree, stacked: Any) -> None:
            train.check(hparams, [array[0] for array in stacked])

        own.check = check  # type: ignore[attr-defined]
    stacked_sets = [
        (np.stack([s[0] for s in of]), np.stack([s[1] for s in of]))
        for of in zip(*sets, strict=True)
    ]
    return own, stacked_sets


def each(
    told: PyTree, cells: list[images.HParams], seeds: list[int]
) -> Iterator[tuple[images.HParams, int, Any]]:
    """`(cell, seed, what its run told)` from leaves `[H, S, ...]`."""
    for h, cell in enumerate(cells):
        for s, seed in enumerate(seeds):
            yield cell, seed, jax.tree.map(lambda leaf, at=(h, s): leaf[at], told)


def numbers(name: str, text: str) -> list[float]:
    """The values of a setting such as `0.1,1,2.5`.

    Raises:
      UsageError: a part that is no number; `name` is the setting's.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{name} must be numbers joined by commas, got {text!r}") from None


def _learnt_from(train: Any, settings: Any) -> Any:
    """The first `train_limit` examples of those that are not held out for validation."""
    left = len(train.labels) - settings.validation
    if not 0 < left <= len(train.labels):
        raise UsageError(
            f"validation must be from 0 to fewer than the {len(train.labels)} training examples, "
            f"got {settings.validation}"
        )
    if settings.train_limit < 0:
        raise UsageError(f"train_limit must be 0 or more, got {settings.train_limit}")
    first = slice(min(settings.train_limit or left, left))
    return type(train)(*(array[first] for array in train))


def budgets(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """By budget, the largest first: of each variant and data set, those run as its newest row."""
    kept: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        of = kept.setdefault((row["budget"], row["variant"], row["dataset"]), [])
        if of and row["settings"] != of[-1]["settings"]:
            of.clear()
        of.append(row)
    found = {
        budget: [row for (b, *_), of in kept.items() if b == budget for row in of]
        for budget in reversed(BUDGETS)
    }
    return {budget: of for budget, of in found.items() if of}


def largest(rows: Iterable[Row]) -> list[Row]:
    """Those of the largest budget: what a figure shows."""
    return next(iter(budgets(rows).values()), [])


def by_budget(table: Callable[[list[Row]], str], rows: list[Row]) -> str:
    """The table of each budget, the largest first, with how it was run below."""
    parts = [
        f"Budget `{budget}`:\n\n{table(of)}\n\n{told_once(of)}"
        for budget, of in budgets(rows).items()
    ]
    return "\n\n".join(parts)


def by(rows: Iterable[Row], *names: str) -> dict[tuple, list[Row]]:
    """Rows that agree in the named fields or hyper-parameters, in the order of their first."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        of = tuple({**row["hparams"], **row}[name] for name in names)
        groups.setdefault(of, []).append(row)
    return groups


def percent(rows: list[Row], name: str = "test_accuracy_last") -> str:
    """Mean and standard deviation over rows, such as `97.11 ± 0.12`."""
    values = 100 * np.array([row[name] for row in rows])
    spread = f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{spread}"


def told_once(rows: list[Row]) -> str:
    """How the rows were run, in a sentence: the line below a table of cells."""
    lines = []
    for (variant, _), of in by(rows, "variant", "command").items():
        row = of[-1]
        lines.append(
            f"`{variant}`: {row['network']}, T = {row['num_steps']}, {row['epochs']} epochs of "
            f"{row['num_train']:,} examples; {row['cells']} runs in one program, "
            f"{row['wall_seconds']:.0f} s of which {row['compile_seconds']:.0f} compiling; "
            f"{row['device']}, jax {row['jax']}, {row['commit']}."
        )
    return "\n".join(f"- {line}" for line in lines)


def markdown(header: Iterable[Any], lines: Iterable[Iterable[Any]]) -> str:
    """A table of a page."""
    head = [str(cell) for cell in header]
    body = [[str(cell) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *body])
