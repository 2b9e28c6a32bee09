"""Training: pipelines, updates, whole runs, evaluation and checkpoints."""

from stbp_jax.training.adversary import adversarial
from stbp_jax.training.checkpoint import load, save
from stbp_jax.training.diagnosis import Finding, diagnose
from stbp_jax.training.evaluation import evaluate, merge_evaluations
from stbp_jax.training.faults import Fault, first_non_finite
from stbp_jax.training.history import Counts, Evaluation, History
from stbp_jax.training.host import train_epochs
from stbp_jax.training.pipeline import (
    Batch,
    Build,
    LossFn,
    Metric,
    Pipeline,
    TrainConfig,
    TrainState,
)
from stbp_jax.training.run import init_state, make_epoch, make_train, num_updates
from stbp_jax.training.update import loss_of, make_train_step

__all__ = [
    "Batch",
    "Build",
    "Counts",
    "Evaluation",
    "Fault",
    "Finding",
    "History",
    "LossFn",
    "Metric",
    "Pipeline",
    "TrainConfig",
    "TrainState",
    "adversarial",
    "diagnose",
    "evaluate",
    "first_non_finite",
    "init_state",
    "load",
    "loss_of",
    "make_epoch",
    "make_train",
    "make_train_step",
    "merge_evaluations",
    "num_updates",
    "save",
    "train_epochs",
]
