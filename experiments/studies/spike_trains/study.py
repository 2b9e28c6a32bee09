"""Fig. 4: input and output spikes of a network.

Claim:   For a nine, the output layer is silent before training, and only unit 9 spikes after it.
Command: python -m experiments reproduce spike_trains --budget quick
Result:  unit 9 spikes at 15 of 15 steps, the next unit at 0; 0 spikes before training, target unit
         9 alone: reproduced, short run.
Time:    1.3 min a run, budget quick, AMD EPYC, 1 of 2 cores.
"""

from pathlib import Path

from experiments.engine import runs
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.rows import Row
from experiments.engine.studies import Job, Plan
from experiments.studies.spike_trains.figure import FIGURE, draw

# The paper's figure shows 15 ms with steps of 1 ms.
FULL = Config(Data(num_steps=15, validation=5000), Model("400-10"), Train(epochs=30))


def extend(job: Job, folder: Path, rows: list[Row]) -> list[Row]:
    """Draw the figure into the folder, and add the output spikes to the rows."""
    return [row | draw(folder, folder / FIGURE) for row in rows]


TRAINED = runs.variant(
    "LIF, Bernoulli input", quick=Plan(1, FULL.but(epochs=4)), full=Plan(1, FULL)
)
VARIANTS = {"stbp": TRAINED._replace(extend=extend)}
