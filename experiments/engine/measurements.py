"""Measurements of a trained network: confusion matrix, rates of units, spikes of an example.

They are in `measured.npz` of the run folder. A page is made from the folder alone, and trains
and evaluates nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

import stbp_jax as sj
from experiments.engine import programs
from stbp_jax import plots

MEASURED = "measured.npz"
# Sizes of the rasters, and of the confusion matrix.
UNITS, STEPS, CLASSES = 64, 300, 30

Arrays = dict[str, np.ndarray]


def measure(program: programs.Program, params: Any) -> Arrays:
    """Measure a trained network of a single run.

    Args:
      program: of the run.
      params: trained parameters.

    Returns:
      A dict of arrays, some of which a network without spikes or classes does not have:

      - `confusion`: `[C, C]`, the number of test examples of each class (first axis) and predicted
        class, with the input spikes of the run's own evaluation. An example with a NaN score counts
        nowhere.
      - `rates_0`, `rates_1`, ...: `[units]`, spikes per step of each unit on the test set.
      - `label`: the class of the example whose spikes follow.
      - `before`, `after`: `[T, C]`, output of the network for this example, before and after
        training.
      - `spikes_0`, ...: `[T, n]`, spikes of at most 64 units of each spiking layer after training.
      - `layers`: `[L]`, names of these layers; `units`: `[L]`, their numbers of units.
    """
    pipeline, test = program.build(program.points[0], 1), program.sets[0][2]
    return _on_test_set(program, pipeline, params) | _of_an_example(program, pipeline, params, test)


def _on_test_set(program: programs.Program, pipeline: sj.Pipeline, params: Any) -> Arrays:
    """Run the test set with the batches and keys of `sj.evaluate` (docs/keys.md)."""
    test = program.sets[0][2]
    key = jax.random.split(jax.random.key(program.seeds[0]), 4)[3]
    size = min(program.train_config.eval_batch_size, len(test.labels))

    @jax.jit
    def run(params: Any, key: jax.Array, inputs: jax.Array) -> Any:
        xs = pipeline.encode(key, inputs)
        _, outs, stats = sj.apply_with_stats(pipeline.network, params, xs)
        return pipeline.readout(outs), [layer.firing_rate for layer in stats]

    starts = range(0, len(test.labels), size)
    found = [
        jax.tree.map(np.asarray, run(params, one, test[0][start : start + size]))
        for start, one in zip(
            starts, jax.random.split(key, len(test.labels) // size + 1), strict=False
        )
    ]
    sizes = [min(size, len(test.labels) - start) for start in starts]
    rates = zip(*(rates for _, rates in found), strict=True)
    arrays = {
        f"rates_{i}": np.average([np.ravel(one) for one in layer], axis=0, weights=sizes)
        for i, layer in enumerate(rates)
    }
    scores = np.concatenate([scores for scores, _ in found], axis=0)
    if scores.ndim == 2 and scores.shape[1] <= CLASSES and np.ndim(test.labels) == 1:
        known = ~np.isnan(scores).any(1)
        pairs = np.asarray(test.labels)[known], scores[known].argmax(1)
        arrays["confusion"] = np.zeros((scores.shape[1],) * 2, int)
        np.add.at(arrays["confusion"], pairs, 1)
    return arrays


def _of_an_example(
    program: programs.Program, pipeline: sj.Pipeline, params: Any, test: Any
) -> Arrays:
    # The paper shows a nine (Fig. 4D); a set with fewer classes shows its last one.
    label = min(9, int(test.labels.max()))
    example = test[0][int(np.argmax(test.labels == label))][None]
    xs = pipeline.encode(jax.random.key(0), example)
    before = sj.apply(pipeline.network, programs.initial_state(program).params, xs)[1]
    states, after = sj.record(pipeline.network, params, xs)
    arrays = {"label": np.array(label)}
    arrays |= {"before": np.asarray(before)[:, 0], "after": np.asarray(after)[:, 0]}
    spiking = plots.populations(states)
    for i, state in enumerate(spiking.values()):
        spikes = np.asarray(state.spikes)[:STEPS, 0]
        arrays[f"spikes_{i}"] = _some_units(spikes.reshape(len(spikes), -1))
    units = [np.asarray(state.spikes)[0, 0].size for state in spiking.values()]
    return arrays | {"layers": np.array([*spiking], str), "units": np.array(units, int)}


def _some_units(spikes: np.ndarray) -> np.ndarray:
    """Return at most `UNITS` units at equal distances, as the smallest type."""
    chosen = np.linspace(0, spikes.shape[1] - 1, min(UNITS, spikes.shape[1])).round().astype(int)
    return np.nan_to_num(spikes[:, chosen]) != 0


def save(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `measured.npz`."""
    kept: dict[str, Any] = dict(arrays)
    np.savez_compressed(folder / MEASURED, **kept)


def load(folder: Path) -> Arrays:
    """Read `measured.npz`; a folder without it has no arrays."""
    if not (folder / MEASURED).exists():
        return {}
    with np.load(folder / MEASURED) as file:
        return {name: file[name] for name in file.files}
