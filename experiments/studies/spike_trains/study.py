"""Fig. 4: input and output spikes of a network.

Claim:   After training, the output unit of the shown class spikes most, for a digit and for a
         pedestrian.
Command: python -m experiments reproduce spike_trains --budget quick
Result:  unit 9 spikes at 13 of 15 steps, the next unit at 0; 23 spikes before training, target
         unit 9 most: reproduced, short run.
Time:    9.4 min a run, budget quick, AMD EPYC, 1 of 2 cores.
"""

import math
from pathlib import Path
from typing import Any

from experiments.datasets import pedestrians
from experiments.engine import runs
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.rows import Row
from experiments.engine.studies import Job, Plan, Variant
from experiments.studies.spike_trains import trains
from stbp_jax import presets

# The paper's figure shows 15 ms with steps of 1 ms.
FULL = Config(Data(num_steps=15, validation=5000), Model("400-10"), Train(epochs=30))
PAPER = presets.paper.mnist
# U[-1, 1] / √fan-in has rows of norm 1 / √3, and the preset has rows of norm 4.
TABLE_1 = FULL.but(decay=PAPER.decay, threshold=PAPER.threshold, gain=4 * math.sqrt(3))
# The settings of `pedestrian_mlp`.
PEDESTRIAN = Config(
    Data(pedestrians.NAME, num_train=1509, num_test=631, validation=150, num_steps=15),
    Model("400-2", decay=0.5),
    Train(epochs=40, batch_size=20, learning_rate=3e-4),
)


def extend(job: Job, folder: Path, rows: list[Row]) -> list[Row]:
    """Add images and spikes to the rows."""
    return [row | trains.measure(folder) for row in rows]


def _variant(about: str, quick: Config, full: Config, **more: Any) -> Variant:
    found = runs.variant(about, quick=Plan(1, quick), full=Plan(1, full), **more)
    return found._replace(extend=extend)


VARIANTS = {
    "stbp": _variant("a nine, Bernoulli input", FULL.but(epochs=4), FULL),
    "table_1": _variant(
        "as stbp, with threshold, decay and size of the initial weights as in the paper's Table 1",
        TABLE_1.but(epochs=4),
        TABLE_1,
    ),
    "pedestrian": _variant(
        "a pedestrian, Bernoulli input", PEDESTRIAN, PEDESTRIAN, load=pedestrians.load
    ),
}
