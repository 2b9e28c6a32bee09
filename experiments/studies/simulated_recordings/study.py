"""Learning from simulated recordings, testing on real ones."""

import functools

from experiments import recordings
from experiments.classification import variant
from experiments.recordings import SPIKES, Simulated
from experiments.saccades import Camera
from experiments.simulated_recordings import camera
from experiments.study import Plan, Study, Variant

SETTINGS = Simulated(
    hidden="800", num_train=59_000, validation=2000, num_steps=30, epochs=20, batch_size=100
)
CPU = Plan(3, ("num_train=41000", "validation=1000", "num_steps=10", "epochs=6"))
# Every recording has another camera, and every hundred another path, further from the real one than
# that is from its estimate.
VARIED = Camera(mismatch=0.2, position=0.7, size=0.05, contrast=0.15, path=0.1, lead=(1.5, 4.0))

STUDY = Study(
    name="simulated_recordings",
    claim="A 34x34x2-800-10 network that has seen simulated recordings alone reads 95 % of all "
    "1,100 real ones.",
    variants={
        "stbp": variant(
            "LIF, recordings of the camera as estimated",
            SETTINGS,
            load=functools.partial(recordings.load_simulated, Camera()),
            cpu=CPU,
            full=Plan(3),
            coding=SPIKES,
        ),
        "varied": variant(
            "LIF, recordings of cameras around it",
            SETTINGS,
            load=functools.partial(recordings.load_simulated, VARIED),
            cpu=CPU,
            full=Plan(3),
            coding=SPIKES,
        ),
        "camera": Variant(
            "nothing is trained: simulated beside real recordings of the same images",
            Simulated(num_train=0, epochs=0),
            camera.run,
            {"cpu": Plan(1), "full": Plan(1)},
        ),
    },
)
