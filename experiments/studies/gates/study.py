"""The gates of equations (6) and (8).

Claim:   The linear gate, decay u (1 - o), stands for the exponential gate, decay u exp(-o / decay),
         at small decays.
Command: python -m experiments reproduce gates --budget long
Result:  0.12 at decay 0.1, target alike; here: 0.2 or less, difference +0.12 [-0.02, +0.26]:
         undecided.
Time:    1.1 h for 30 runs in one program, budget long, AMD EPYC, 1 of 2 cores.
"""

import stbp_jax as sj
from experiments.engine import models
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.models import lif_units
from experiments.engine.runs import variant
from experiments.engine.studies import Plan, Variant
from stbp_jax.neurons import Reset

FULL = Config(Data(num_steps=30), Model("400-10"), Train(epochs=200))
DECAYS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)


def _variant(about: str, reset: Reset) -> Variant:
    def plan(seeds: int, config: Config) -> Plan:
        return Plan(seeds, config, models.points(config, decay=DECAYS))

    return variant(
        about,
        quick=plan(3, FULL.but(num_steps=8, epochs=4, num_train=10_000)),
        long=plan(5, FULL.but(num_steps=8, epochs=12, num_train=20_000)),
        full=plan(5, FULL),
        units=lif_units(reset),
    )


VARIANTS = {
    "linear": _variant("equation (8), the default", sj.hard_reset),
    "exponential": _variant("equation (6)", sj.neurons.exponential_reset),
}
