"""Fig. 3 and 6: shape and width of the surrogate derivative.

Claim:   Four surrogate curves reach similar accuracies; a very narrow or wide curve is worse (Fig.
         6).
Command: python -m experiments reproduce surrogates --budget quick
Result:  0.25 from rectangular to sigmoid, target differ by 0.5 or less, difference +0.25 [+0.01,
         +0.49]: reproduced, short run.
Time:    23 min for 7 runs in one program, budget long, AMD EPYC, 1 of 2 cores.
"""

from collections.abc import Callable, Sequence
from typing import Any

import stbp_jax as sj
from experiments.engine import models
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.models import HParams, lif_units
from experiments.engine.runs import variant
from experiments.engine.studies import Plan, Variant

FULL = Config(Data(num_steps=30), Model("400-10"), Train(epochs=200))
QUICK = FULL.but(num_steps=8, epochs=5, num_train=10_000)
LONG = FULL.but(num_steps=8, epochs=25)
WIDTHS = (0.1, 1, 2.5, 5, 7.5, 10)  # full widths at half maximum
FAMILIES = {
    family.__name__: family for family in (sj.rectangular, sj.polynomial, sj.sigmoid, sj.gaussian)
}

Family = Callable[[Any], sj.Surrogate]


def points(config: Config, family: Family, widths: Sequence[float]) -> list[HParams]:
    """Return points for a = 1, as in the paper, and for each width, without duplicates."""
    curves = [family(1.0), *(sj.matched(family, width) for width in widths)]
    found = {float(curve.width): float(curve.fwhm) for curve in curves}
    numbers = models.hparams(config)
    return [numbers | {"width": a, "fwhm": round(fwhm, 4)} for a, fwhm in found.items()]


def _variant(name: str, family: Family) -> Variant:
    # The paper varies the width of the rectangular curve only.
    long = (0.1, 0.5, 1, 2.5, 5, 7.5, 10) if family is sj.rectangular else (1,)
    return variant(
        f"the {name} curve, at a = 1 and at each width",
        quick=Plan(3, QUICK, points(QUICK, family, WIDTHS)),
        long=Plan(3, LONG, points(LONG, family, long)),
        full=Plan(5, FULL, points(FULL, family, WIDTHS)),
        units=lif_units(curve=family),
    )


VARIANTS = {name: _variant(name, family) for name, family in FAMILIES.items()}
