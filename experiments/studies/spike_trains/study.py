"""Fig. 4 of the paper: what goes into a network and what comes out, as spikes."""

from collections.abc import Iterator
from pathlib import Path

from experiments.classification import variant
from experiments.images import Settings
from experiments.spike_trains.figure import FIGURE, draw
from experiments.study import Plan, Row, Study, Variant

# One step is a millisecond in the paper, and its figure shows 15 ms.
TRAINED = variant(
    "LIF, Bernoulli input",
    Settings(hidden="400", num_steps=15, epochs=30, validation=5000),
    cpu=Plan(1, ("epochs=4",)),
    full=Plan(1),
)


def _run(settings: Settings, seeds: list[int], folder: Path) -> Iterator[list[Row]]:
    for seed, rows in zip(seeds, TRAINED.run(settings, seeds, folder), strict=True):
        own = folder if len(seeds) == 1 else folder / f"seed{seed}"
        yield [row | draw(own, own / FIGURE) for row in rows]


STUDY = Study(
    name="spike_trains",
    claim="Before training the output layer is silent on a nine; after it, unit 9 always fires.",
    variants={"stbp": Variant(TRAINED.tells, TRAINED.settings, _run, TRAINED.plans)},
)
