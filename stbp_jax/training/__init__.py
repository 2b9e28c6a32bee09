"""Training: pipelines, updates, whole runs, evaluation and checkpoints."""

from stbp_jax.training.adversary import adversarial
from stbp_jax.training.checkpoint import load, save
from stbp_jax.training.evaluation import evaluate
from stbp_jax.training.history import Evaluation, History
from stbp_jax.training.pipeline import (
    Batch,
    Build,
    LossFn,
    Pipeline,
    TrainConfig,
    TrainState,
)
from stbp_jax.training.run import init_state, make_epoch, make_train, num_updates, train_epochs
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
    "adversarial",
    "evaluate",
    "init_state",
    "load",
    "make_epoch",
    "make_train",
    "make_train_step",
    "num_updates",
    "save",
    "train_epochs",
]
