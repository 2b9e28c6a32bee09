"""Measure of the study, made from its rows; `figure.py` draws the picture."""

from experiments.report import frames
from experiments.report.frames import Frame, Measured

DIGIT = 9


def lead_of_nine(runs: Frame) -> Measured:
    """Return the spikes of the digit's output unit minus those of the next most active unit."""
    row = frames.newest(runs)
    spikes = list(row["output_spikes_after"])
    nine = spikes.pop(DIGIT)
    ours = (
        f"unit {DIGIT} spikes at {nine} of {row['num_steps']} steps, the next unit at "
        f"{max(spikes)}; {sum(row['output_spikes_before'])} spikes before training"
    )
    return Measured(ours, frames.exactly(nine - max(spikes)))
