"""Table 4: N-MNIST, one hidden layer.

Claim:   A 34x34x2-800-10 spiking perceptron reaches 90 % on N-MNIST's raw events after training
         on 1,000 recordings (paper, all recordings: 98.78 %).
Command: python -m experiments reproduce nmnist_mlp --budget quick
Result:  91.73 ± 2.65 (11 seeds), target 98.78, difference -7.05 [-8.83, -5.27]: stand-in.
Time:    31 s a run, budget quick, AMD EPYC, 1 of 2 cores.
"""

import functools

from experiments.datasets import recordings
from experiments.datasets.recordings import COUNT_FRAME, FOLDS, FRAME, SPIKES
from experiments.engine import models
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.runs import variant
from experiments.engine.studies import Plan, Variant
from experiments.studies.nmnist_mlp import lstm

FEW = Config(Data(recordings.SUBSET), Model("800-10"), Train(epochs=30, batch_size=50))
LSTM = FEW.but(layers="186-10")  # 1,861,126 parameters; 2312-800-10 has 1,858,410
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
    "ann_counts": variant(
        "as ann, on the number of events of each input, over the recording's largest",
        quick=Plan(FOLDS, FEW),
        full=Plan(3 * FOLDS, FEW),
        load=recordings.load_folds,
        coding=COUNT_FRAME,
        units=models.RELU,
    ),
    "lstm": Variant(
        "LSTM units, on the frames that LIF sees, with the perceptron's number of parameters",
        {"full": Plan(3 * FOLDS, LSTM), "quick": Plan(FOLDS, LSTM)},
        recordings.load_folds,
        lstm.build,
        lstm.extend,
    ),
    "stbp": variant(
        "LIF, all of N-MNIST", full=Plan(3, WHOLE), load=recordings.load_whole, coding=SPIKES
    ),
    "two_layers": variant(
        "LIF, all of N-MNIST, 400-400",
        full=Plan(3, WHOLE.but(layers="400-400-10")),
        load=recordings.load_whole,
        coding=SPIKES,
    ),
}
