"""Table 7 of the paper: gradients through space and time against gradients through space alone.

On the paper's still images, and on what has a time of its own: spoken digits and recordings of an
event camera.
"""

import functools
from dataclasses import dataclass
from typing import Any

import stbp_jax as sj
from experiments import images, pedestrians, recordings, sweeping
from experiments.settings import setting
from experiments.spoken_digits import study as spoken
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


@dataclass(frozen=True)
class RecordingSettings(recordings.Settings, Settings):
    """The same on 1,000 recordings of N-MNIST, tested on 100; the seed is the fold."""


@dataclass(frozen=True)
class SpokenSettings(spoken.Settings, Settings):
    """The same on the official split of the Free Spoken Digits."""


MNIST = Settings(hidden="400", num_steps=30, epochs=200)
MNIST_CPU = Plan(8, ("num_steps=8", "epochs=4", "train_limit=10000"))
MNIST_LONG = Plan(5, ("num_steps=8", "epochs=40", "decays=0.1,0.2"))
# As `pedestrian_mlp` learns; at 1e-3 nothing is learnt.
PEDESTRIANS = PedestrianSettings(
    hidden="400", num_steps=8, epochs=40, batch_size=20, learning_rate=3e-4
)
RECORDINGS = RecordingSettings(
    hidden="800", epochs=30, batch_size=50, decays="0.1,0.3,0.5,0.7,0.9,0.95", chunk=1
)
RECORDINGS_CPU = Plan(5, ("epochs=10", "hidden=400", "decays=0.1,0.5,0.9"))
SPOKEN = SpokenSettings(decays="0.1,0.3,0.5,0.7,0.9,0.95", chunk=1)
SPOKEN_CPU = Plan(5, ("epochs=12",))


def _variant(units: images.Dynamics, tells: str, settings: Settings, **values: Any) -> Variant:
    return sweeping.variant(tells, settings, cells=cells, units=units, full=Plan(10), **values)


_recorded = functools.partial(
    _variant,
    settings=RECORDINGS,
    cpu=RECORDINGS_CPU,
    load=recordings.load_folds,
    coding=recordings.SPIKES,
)
_spoken = functools.partial(
    _variant,
    settings=SPOKEN,
    cpu=SPOKEN_CPU,
    load=spoken.official,
    coding=spoken.HEARD,
    loss=sj.cross_entropy,
)

STUDY = Study(
    name="temporal_domain",
    claim="Gradients through time raise accuracy over gradients through space alone (Table 7).",
    variants={
        "stbp": _variant(
            images.STBP, "gradients through space and time", MNIST, cpu=MNIST_CPU, long=MNIST_LONG
        ),
        "sdbp": _variant(images.SDBP, "through space alone", MNIST, cpu=MNIST_CPU, long=MNIST_LONG),
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
        "spoken_stbp": _spoken(spoken.FORWARD, "spoken digits: gradients through space and time"),
        "spoken_sdbp": _spoken(spoken.SPACE, "spoken digits: through space alone"),
        "spoken_reset_detached": _spoken(
            spoken.RESET_DETACHED, "spoken digits: through the membrane, not through its reset"
        ),
        "nmnist_stbp": _recorded(
            images.STBP, "recordings of digits: gradients through space and time"
        ),
        "nmnist_sdbp": _recorded(images.SDBP, "recordings of digits: through space alone"),
        "nmnist_reset_detached": _recorded(
            images.lif_units(sj.detach_reset(sj.hard_reset)),
            "recordings of digits: through the membrane, not through its reset",
        ),
    },
)
