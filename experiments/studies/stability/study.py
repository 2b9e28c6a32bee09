"""Stability (section 3 of the paper).

Claim:   SDBP "is not stable enough", and training "relies heavily on the parameter initialization".
Command: python -m experiments reproduce stability --budget long
Result:  +0.03 points, target SDBP less stable, difference +0.03 [-0.07, +0.12]: undecided.
Time:    59 s for 50 runs in one program, budget long, NVIDIA H200.
"""

from experiments.engine import models
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.models import SDBP, STBP, Units
from experiments.engine.runs import variant
from experiments.engine.studies import Plan, Variant

FULL = Config(Data(num_steps=30), Model("400-10"), Train(epochs=200))
GAINS = (0.25, 0.5, 1.0, 2.0, 4.0)  # initial weights, as multiples of those in the authors' code


def _variant(about: str, units: Units) -> Variant:
    def plan(seeds: int, config: Config) -> Plan:
        return Plan(seeds, config, models.points(config, gain=GAINS))

    return variant(
        about,
        quick=plan(3, FULL.but(num_steps=8, epochs=4, num_train=10_000)),
        long=plan(10, FULL.but(num_steps=8, epochs=10, num_train=20_000)),
        full=plan(10, FULL),
        units=units,
    )


VARIANTS = {
    "stbp": _variant("gradients through space and time", STBP),
    "sdbp": _variant("gradients through space alone", SDBP),
}
