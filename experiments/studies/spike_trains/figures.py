"""Measured number of the study, from its rows alone; `figure.py` draws the picture of a run."""

from experiments.report import frames
from experiments.report.frames import Frame, Measured

DIGIT = 9


def lead_of_nine(runs: Frame) -> Measured:
    """Spikes of the output unit of the digit shown, less those of the unit that fires next most."""
    row = frames.newest(runs)
    spikes = list(row["output_spikes_after"])
    nine = spikes.pop(DIGIT)
    ours = (
        f"unit {DIGIT} fires at {nine} of {row['num_steps']} steps, the others at {max(spikes)} "
        f"at most; before training {sum(row['output_spikes_before'])} spikes in all"
    )
    return Measured(ours, frames.exactly(nine - max(spikes)))
