"""Fig. 2: the flow of errors through layers and steps.

Claim:   The error of a neuron comes from the layer above (space) and from its own next step (time).
Command: python -m experiments reproduce error_flow --budget quick
Result:  47 % of the part from space, in the first layer, target two paths: reproduced, short run.
Time:    4.2 min a run, budget quick, AMD EPYC, 1 of 2 cores.
"""

from pathlib import Path

from experiments.engine import runs
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.rows import Row
from experiments.engine.studies import Job, Plan
from experiments.studies.error_flow import flow

FULL = Config(Data(num_steps=15, validation=5000), Model("400-10", decay=0.5), Train(epochs=30))


def extend(job: Job, folder: Path, rows: list[Row]) -> list[Row]:
    """Add the errors of one backward pass after training to the rows."""
    return [row | flow.measure(folder) for row in rows]


TRAINED = runs.variant(
    "LIF, Bernoulli input", quick=Plan(1, FULL.but(epochs=4)), full=Plan(1, FULL)
)
VARIANTS = {"stbp": TRAINED._replace(extend=extend)}
