"""Training: what a run is made of, one update, a whole run, and how well it did."""

from stbp_jax.training.adversary import adversarial
from stbp_jax.training.checkpoint import load, save
from stbp_jax.training.evaluation import Evaluation, evaluate
from stbp_jax.training.pipeline import (
    Batch,
    Build,
    History,
    LossFn,
    Pipeline,
    TrainConfig,
    TrainState,
)
from stbp_jax.training.run import Training, make_train, make_training, num_updates, train_epochs
from stbp_jax.training.update import make_train_step

__all__ = [
    "Batch",
    "Build",
    "Evaluation",
    "History",
    "LossFn",
    "Pipeline",
    "TrainConfig",
    "TrainState",
    "Training",
    "adversarial",
    "evaluate",
    "load",
    "make_train",
    "make_train_step",
    "make_training",
    "num_updates",
    "save",
    "train_epochs",
]
