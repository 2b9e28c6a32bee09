"""Pictures of the study: `python -m experiments.studies.spoken_digits.figures` draws the recording.

`speakers.png` shows the accuracy on each left-out speaker, from the rows. `recording.png` shows one
recording as a wave, as envelopes and as spikes of the cochlea model, from the data.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.datasets import spoken
from experiments.engine.config import UsageError
from experiments.report import figures
from experiments.report.frames import Frame
from stbp_jax.data import cochlea_events, cochleagram

SPEAKERS_FIGURE = "speakers.png"
RECORDING_FIGURE = "recording.png"
RECORDING = "7_jackson_10"  # a training example


def draw(runs: Frame, folder: Path) -> None:
    """Draw `speakers.png`, if there are rows of left-out speakers."""
    folds = runs[runs["variant"].str.startswith("speaker_out")]
    if folds.empty:
        return
    figure, (axes,) = figures.panels(1, size=(6.4, 3.4))
    variants = folds.groupby("variant", sort=False)
    wide = 0.8 / len(variants)
    for n, (name, part) in enumerate(variants):
        places = part["seed"] + (n - (len(variants) - 1) / 2) * wide
        axes.bar(places, part["accuracy"], 0.9 * wide, label=name)
    axes.set_xticks(range(len(spoken.SPEAKERS)), spoken.SPEAKERS)
    axes.set(ylabel="test accuracy, last epoch (%)", ylim=(0, 100))
    figure.legend(loc="outside lower center", ncols=len(variants), fontsize="small", frameon=False)
    figure.suptitle("Accuracy on each speaker after training on the other five", fontsize="medium")
    figures.save(figure, folder / SPEAKERS_FIGURE)


def draw_recording(out: Path, name: str) -> None:
    """Draw one recording: wave, envelopes and spikes.

    Args:
      out: file of the picture.
      name: `<digit>_<speaker>_<index>`.

    Raises:
      UsageError: no recording has that name, or the data cannot be read.
    """
    sound, ear = spoken.recording(name), spoken.EAR
    figure = Figure(figsize=(7, 6.4), dpi=140, layout="constrained")
    wave, envelopes, spikes = figure.subplots(3, 1, sharex=True, height_ratios=(1, 2, 2))
    figure.suptitle(f"{name}: wave, envelopes and spikes", fontsize="medium")
    wave.plot(1000 * np.arange(len(sound)) / ear.rate, sound, linewidth=0.4, color="0.3")
    wave.set(ylabel="sample")
    (heard,) = cochleagram([sound], ear)
    seconds = 1000 * len(sound) / ear.rate
    level = 20 * np.log10(np.maximum(heard.T, 1e-5))
    shown = envelopes.imshow(
        level,
        aspect="auto",
        origin="lower",
        vmin=-70,
        extent=(0, seconds, -0.5, ear.channels - 0.5),
    )
    figure.colorbar(shown, ax=envelopes, label="envelope (dB)")
    (words,) = cochlea_events([sound], ear)
    times, addresses = np.divmod(words, np.uint32(np.prod(ear.shape)))
    channel, fiber = np.divmod(addresses, ear.shape[1])
    for n, threshold in reversed([*enumerate(ear.thresholds)]):
        own = fiber == n
        spikes.scatter(
            times[own] / 1000,
            channel[own],
            s=2,
            linewidths=0,
            color=f"C{n}",
            label=f"{threshold:g}",
        )
    spikes.legend(title="threshold", loc="upper right", fontsize="small", markerscale=4)
    ticks = np.arange(0, ear.channels, 9)
    for axes in (envelopes, spikes):
        axes.set_yticks(ticks, [f"{ear.frequencies[t]:.0f}" for t in ticks])
        axes.set(ylabel="channel (Hz)")
    spikes.set(xlabel="ms", ylim=(-0.5, ear.channels - 0.5), xlim=(0, seconds))
    figures.save(figure, out)


if __name__ == "__main__":
    try:
        draw_recording(Path(__file__).with_name(RECORDING_FIGURE), RECORDING)
    except UsageError as error:
        sys.exit(str(error))
