"""Table 7 of the paper: gradients through space and time against gradients through space alone."""

from dataclasses import dataclass
from typing import Any

import stbp_jax as sj
from experiments import images, pedestrians, sweeping
from experiments.settings import setting
from experiments.study import Plan, Study, Variant


@dataclass(frozen=True)
class Settings(sweeping.Settings):
    """Of a sweep over decays; `decay` is not read."""

    decays: str = setting("0.2,0.1,0.5,0.8", "membrane left after a step, one cell each")


def cells(settings: Settings) -> list[images.HParams]:
    """One for each decay: only through what is left can a gradient go back in time."""
    fixed = {name: [value] for name, value in images.hparams(settings).items() if name != "decay"}
    return sj.grid(**fixed, decay=sweeping.numbers("decays", settings.decays))[1]


@dataclass(frozen=True)
class PedestrianSettings(pedestrians.Settings, Settings):
    """The same on the stand-in for the paper's pedestrian set, drawn anew for each seed."""


MNIST = Settings(hidden="400", num_steps=30, epochs=200)
MNIST_CPU = Plan(8, ("num_steps=8", "epochs=4", "train_limit=10000"))
# As `pedestrian_mlp` learns; at 1e-3 nothing is learnt.
PEDESTRIANS = PedestrianSettings(
    hidden="400", num_steps=8, epochs=40, batch_size=20, learning_rate=3e-4
)


def _variant(units: images.Dynamics, tells: str, settings: Settings, **values: Any) -> Variant:
    return sweeping.variant(tells, settings, cells=cells, units=units, full=Plan(10), **values)


STUDY = Study(
    name="temporal_domain",
    claim="Gradients through time raise accuracy over gradients through space alone (Table 7).",
    variants={
        "stbp": _variant(images.STBP, "gradients through space and time", MNIST, cpu=MNIST_CPU),
        "sdbp": _variant(images.SDBP, "through space alone", MNIST, cpu=MNIST_CPU),
        "pedestrian_stbp": _variant(
            images.STBP,
            "pedestrians: gradients through space and time",
            PEDESTRIANS,
            cpu=Plan(10),
            load=pedestrians.load,
            coding=images.DIRECT,
        ),
        "pedestrian_sdbp": _variant(
            images.SDBP,
            "pedestrians: through space alone",
            PEDESTRIANS,
            cpu=Plan(10),
            load=pedestrians.load,
            coding=images.DIRECT,
        ),
    },
)
