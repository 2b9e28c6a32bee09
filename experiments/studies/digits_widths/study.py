"""Fig. 6B in minutes: four curves at seven widths on the digits of scikit-learn.

Claim:   On small data too, the width of a curve matters more than its shape (Fig. 6 of the paper).
Command: python -m experiments reproduce digits_widths
"""

import stbp_jax as sj
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.models import hparams, lif_units
from experiments.engine.runs import variant
from experiments.engine.studies import Plan, Variant
from experiments.studies.surrogates.study import FAMILIES, Family

FULL = Config(
    Data("digits", num_steps=15),
    Model("400-10"),
    Train(epochs=20, batch_size=50, learning_rate=2e-3),
)
WIDTHS = (0.1, 0.5, 1, 2.5, 5, 7.5, 10)  # full widths at half maximum


def _variant(name: str, family: Family) -> Variant:
    points = [
        hparams(FULL) | {"width": float(sj.matched(family, width).width), "fwhm": width}
        for width in WIDTHS
    ]
    plan = Plan(5, FULL, points)
    about = f"the {name} curve at each width, five seeds in the same program"
    return variant(about, quick=plan, full=plan, units=lif_units(curve=family))


VARIANTS = {name: _variant(name, family) for name, family in FAMILIES.items()}
