"""N-MNIST, convolutional (later works).

Claim:   12C5-P2-64C5-P2-10 reaches 94 % on N-MNIST's raw events after training on 1,000
         recordings (later works, all recordings: 99.20 to 99.35 %).
Command: python -m experiments reproduce nmnist_cnn --budget quick
Result:  95.55 ± 1.75 (11 seeds), target 94 (later works, all data: 99.2), difference +1.55 [+0.37,
         +2.72]: surpassed.
Time:    3.6 min a run, budget quick, AMD EPYC, 1 of 2 cores.
"""

import functools

from experiments.datasets import recordings
from experiments.datasets.recordings import FOLDS, FRAME, SPIKES
from experiments.engine import models
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.runs import variant
from experiments.engine.studies import Plan

FEW = Config(Data(recordings.SUBSET), Model("12C5-P2-64C5-P2-10"), Train(epochs=20, batch_size=20))
TUNED = FEW.but(learning_rate=3e-3)
WHOLE = Config(Data(recordings.WHOLE, validation=5000, num_steps=30), FEW.model, Train(epochs=30))

VARIANTS = {
    "folds": variant(
        "LIF, 1,000 real recordings, tested on 100 others; the seed is the fold",
        quick=Plan(FOLDS, FEW),
        full=Plan(3 * FOLDS, FEW),
        load=recordings.load_folds,
        coding=SPIKES,
    ),
    "folds_moved": variant(
        "as folds, with training recordings shifted by up to 2 pixels",
        quick=Plan(FOLDS, FEW),
        full=Plan(3 * FOLDS, FEW),
        load=recordings.load_folds,
        coding=SPIKES,
        augment=functools.partial(recordings.moved, most=2),
    ),
    "ann": variant(
        "ReLU for LIF, on one frame for each recording, the mean of the frames that LIF sees",
        quick=Plan(FOLDS, FEW),
        full=Plan(3 * FOLDS, FEW),
        load=recordings.load_folds,
        coding=FRAME,
        units=models.RELU,
    ),
    "ann_tuned": variant(
        "as ann, at the learning rate of its best trial on training recordings",
        quick=Plan(FOLDS, TUNED),
        full=Plan(3 * FOLDS, TUNED),
        load=recordings.load_folds,
        coding=FRAME,
        units=models.RELU,
    ),
    "stbp": variant(
        "LIF, all of N-MNIST", full=Plan(3, WHOLE), load=recordings.load_whole, coding=SPIKES
    ),
}
