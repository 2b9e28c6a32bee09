"""Figures 3 and 6 of the paper: shape and width of the surrogate curve, 784-400-10 on MNIST."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import stbp_jax as sj
from experiments import images, sweeping
from experiments.settings import setting
from experiments.study import Plan, Study, Variant

FAMILIES = {
    family.__name__: family for family in (sj.rectangular, sj.polynomial, sj.sigmoid, sj.gaussian)
}


@dataclass(frozen=True)
class Settings(sweeping.Settings):
    """Of a sweep over widths; `width`, of the rectangular curve alone, is not read."""

    fwhms: str = setting("0.1,1,2.5,5,7.5,10", "full widths at half maximum")


def cells_of(family: Callable[[Any], sj.Surrogate]) -> sweeping.Cells:
    """The paper's a_i = 1, then each width; a width that a_i = 1 has already comes once."""

    def cells(settings: Settings) -> list[images.HParams]:
        widths = sweeping.numbers("fwhms", settings.fwhms)
        curves = [family(1.0), *(sj.matched(family, width) for width in widths)]
        found = {float(curve.width): float(curve.fwhm) for curve in curves}
        numbers = images.hparams(settings)
        return [numbers | {"width": a, "fwhm": round(fwhm, 4)} for a, fwhm in found.items()]

    return cells


def _variant(name: str, family: Callable[[Any], sj.Surrogate]) -> Variant:
    # The paper sweeps the width of the rectangle alone.
    fwhms = "0.1,0.5,1,2.5,5,7.5,10" if family is sj.rectangular else "1"
    return sweeping.variant(
        f"the {name} curve, at a_i = 1 and at each width",
        Settings(hidden="400", num_steps=30, epochs=200),
        cells=cells_of(family),
        units=images.lif_units(curve=family),
        cpu=Plan(3, ("num_steps=8", "epochs=5", "train_limit=10000")),
        long=Plan(3, ("num_steps=8", "epochs=25", f"fwhms={fwhms}")),
        full=Plan(5),
    )


STUDY = Study(
    name="surrogates",
    claim="Four surrogate curves learn alike; a far too narrow or wide one learns worse (Fig. 6).",
    variants={name: _variant(name, family) for name, family in FAMILIES.items()},
)
