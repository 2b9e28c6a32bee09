"""Sweeps: many runs over hyper-parameter points and seeds in one compiled program."""

from stbp_jax.sweeps.grid import grid, log_uniform, random_points, uniform
from stbp_jax.sweeps.summary import summarize
from stbp_jax.sweeps.sweep import sweep, sweep_chunks, sweep_epochs

__all__ = [
    "grid",
    "log_uniform",
    "random_points",
    "summarize",
    "sweep",
    "sweep_chunks",
    "sweep_epochs",
    "uniform",
]
