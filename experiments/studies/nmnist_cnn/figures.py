"""Table and measure of the study, made from its rows."""

from experiments.report import pairs
from experiments.report.frames import Frame, Measured
from stbp_jax.data import NMNIST_SHAPE


def table(runs: Frame) -> str:
    """Return a table with one line for each variant."""
    return pairs.table("nmnist_cnn", runs, "folds", NMNIST_SHAPE)


def lead_over_frames(runs: Frame) -> Measured:
    """Return the spiking network's accuracy minus that of the better network on frames."""
    return pairs.least_lead(runs, "folds", ("ann", "ann_tuned"))
