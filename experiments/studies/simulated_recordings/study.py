"""Training on simulated recordings, test on real ones.

Claim:   A 34x34x2-800-10 network that is trained on simulated recordings only classifies 95 % of
         1,100 real ones correctly.
Command: python -m experiments reproduce simulated_recordings --budget quick
Result:  97.09 (1 seed), target 95, difference +2.09: one seed.
Time:    5.7 min a run, budget quick, AMD EPYC, 1 of 2 cores.
"""

import functools

from experiments.datasets import recordings
from experiments.datasets.recordings import SPIKES
from experiments.datasets.saccades import Camera
from experiments.engine import models
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.runs import variant
from experiments.engine.studies import Plan, Variant
from experiments.studies.simulated_recordings import camera

FULL = Config(
    Data(recordings.SIMULATED, num_train=59_000, validation=2000, num_steps=30),
    Model("800-10"),
    Train(epochs=20),
)
QUICK = FULL.but(num_train=41_000, validation=1000, num_steps=10, epochs=6)
COMPARED = Config(Data(recordings.SIMULATED), FULL.model, Train(epochs=0))
# Cameras and paths vary by more than the error of the estimate.
VARIED = Camera(mismatch=0.2, position=0.7, size=0.05, contrast=0.15, path=0.1, lead=(1.5, 4.0))


def _variant(about: str, camera: Camera) -> Variant:
    return variant(
        about,
        quick=Plan(3, QUICK),
        full=Plan(3, FULL),
        load=functools.partial(recordings.load_simulated, camera),
        coding=SPIKES,
    )


VARIANTS = {
    "stbp": _variant("LIF, recordings of the estimated camera", Camera()),
    "varied": _variant("LIF, recordings of cameras that vary around the estimate", VARIED),
    "camera": Variant(
        "no training: comparison of simulated and real recordings of the same images",
        {name: Plan(1, COMPARED) for name in ("full", "quick")},
        functools.partial(recordings.load_simulated, Camera()),
        models.build,
        run=camera.run,
    ),
}
