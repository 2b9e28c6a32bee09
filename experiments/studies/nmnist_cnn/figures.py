"""Table of the study, made from its rows."""

from experiments.report import pairs
from experiments.report.frames import Frame
from stbp_jax.data import NMNIST_SHAPE


def table(runs: Frame) -> str:
    """Return a table with one line for each variant."""
    return pairs.table("nmnist_cnn", runs, "folds", NMNIST_SHAPE)
