"""Comparison of simulated and real recordings of the same images.

`python -m experiments.studies.simulated_recordings.camera` draws `camera.png` from MNIST and the
subset of N-MNIST. Labels are not used.
"""

import math
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.datasets import recordings
from experiments.datasets.saccades import DURATION, Camera, record
from experiments.engine import folders, provenance, rows
from experiments.engine.rows import Row
from experiments.engine.studies import Job
from stbp_jax.data import NMNIST_SHAPE, PAD

matplotlib.use("Agg")

BIN = 10  # ms
BINS = DURATION // BIN
Measures = dict[str, Any]


def run(job: Job, folder: Path, until: float) -> list[Row]:
    """Measure real training recordings and simulated recordings of the same images.

    Args:
      job: with a single seed, for the simulation.
      folder: of the run.
      until: not used.

    Returns:
      One row.
    """
    config, camera, source = job.config, Camera(), provenance.provenance()
    (seed,) = job.seeds
    real = recordings.subset()[0]
    count = min(config.data.limit or len(real.labels), len(real.labels))
    events, images = real.events[:count], recordings.mnist().images[:count]
    with folders.claimed(folder, job, source):
        watch, began = provenance.Watch(), time.perf_counter()
        simulated = record(images, seed, camera)
        seconds = time.perf_counter() - began
        found = {
            "dataset": config.data.name,
            "network": "-",
            "num_steps": BINS,
            "epochs": 0,
            "batch_size": count,
            "seed": seed,
            "hparams": {},
            "config": config.asdict(),
            "camera": camera._asdict(),
            "num_train": count,
            "num_test": 0,
            "test_accuracy_last": None,
            "test_accuracy_best": None,
            "test_accuracy_selected": None,
            "real": measures(events),
            "simulated": measures(simulated),
            "between": between(events, simulated),
            "seconds_an_image": round(seconds / count, 6),
        }
        row = job.label | found | watch.fields() | source
        rows.append(folder / folders.ROW, row)
    return [row]


def measures(events: NDArray[np.uint32]) -> Measures:
    """Compute statistics of recordings `[N, M]`, as rows store them."""
    there = events != PAD
    times, y, x, on = _events(events)
    number = len(events)
    counts = there.sum(1)
    when = times // (1000 * BIN)
    rates = [np.bincount(when[on == p], minlength=BINS)[:BINS] / number for p in (0, 1)]
    total = np.maximum(np.bincount(when, minlength=BINS)[:BINS], 1)
    path = [np.bincount(when, along, minlength=BINS)[:BINS] / total for along in (y, x)]
    addresses = events % np.uint32(math.prod(NMNIST_SHAPE))
    pauses = np.concatenate([_pauses(*each) for each in zip(addresses, events, strict=True)])
    return {
        "events": float(counts.mean()),
        "events_deviation": float(counts.std()),
        "share_on": float(on.mean()),
        "spread_y": float(y.std()),
        "spread_x": float(x.std()),
        "pause_ms": [float(q) / 1000 for q in np.percentile(pauses, [1, 10, 25, 50, 75])],
        "spikes_10_steps": float(_frames(events, 3 * BIN).sum() / number),
        "spikes_30_steps": float(_frames(events, BIN)[:, :30].sum() / number),
        "rate_off": np.round(rates[0], 3),
        "rate_on": np.round(rates[1], 3),
        "path_y": np.round(path[0], 3),
        "path_x": np.round(path[1], 3),
    }


def between(real: NDArray[np.uint32], simulated: NDArray[np.uint32]) -> Measures:
    """Compute similarities between real and simulated recordings of the same images.

    Args:
      real: `[N, M]`, packed events.
      simulated: `[N, M]`, packed events of the same images.

    Returns:
      The correlation of the numbers of events, the cosine of frames of 10 ms, and the cosine of
      frames of different images.
    """
    counts = [(events != PAD).sum(1) for events in (real, simulated)]
    frames = [_frames(events, BIN).reshape(len(real), -1) for events in (real, simulated)]
    both = (frames[0] & frames[1]).sum()
    shuffled = (frames[0] & np.roll(frames[1], 1, 0)).sum()
    scale = math.sqrt(frames[0].sum() * frames[1].sum())
    return {
        "correlation_of_events": float(np.corrcoef(*counts)[0, 1]),
        "cosine_of_frames": float(both / scale),
        "cosine_of_others_frames": float(shuffled / scale),
    }


def _events(events: NDArray[np.uint32]) -> tuple[NDArray[Any], ...]:
    """Return times in microseconds, rows, columns and polarities of all events, `[E]` each."""
    times, addresses = np.divmod(events[events != PAD].astype(np.int64), math.prod(NMNIST_SHAPE))
    return (times, *np.unravel_index(addresses, NMNIST_SHAPE))


def _pauses(addresses: NDArray[np.uint32], events: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the microseconds from each event to the next at the same address."""
    addresses = addresses[events != PAD]
    times = events[: len(addresses)] // np.uint32(math.prod(NMNIST_SHAPE))
    order = np.argsort(addresses, kind="stable")  # stable, because events are in the order of time
    same = np.diff(addresses[order].astype(np.int64)) == 0
    return np.diff(times[order].astype(np.int64))[same]


def _frames(events: NDArray[np.uint32], milliseconds: int) -> NDArray[np.bool_]:
    """Return whether an address has an event in a frame, `[N, T, addresses]`."""
    size = math.prod(NMNIST_SHAPE)
    frames = np.zeros((len(events), DURATION // milliseconds, size), bool)
    owners, _ = np.nonzero(events != PAD)
    times, address = np.divmod(events[events != PAD].astype(np.int64), size)
    when = times // (1000 * milliseconds)
    inside = when < frames.shape[1]
    frames[owners[inside], when[inside], address[inside]] = True
    return frames


# The picture --------------------------------------------------------------------------------------

REAL, SIMULATED = "C0", "C1"


def main() -> None:
    """Draw real and simulated recordings of the same images."""
    matplotlib.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    count, shown, step = 300, 3, 6  # the frame at 60 ms is in the middle of the first saccade
    real = recordings.subset()[0].events[:count]
    simulated = record(recordings.mnist().images[:count], 0)
    figure = Figure(figsize=(11, 6.2), dpi=110, layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    top, bottom = halves
    scatter, rate, path = top.subplots(1, 3)
    counts = [(events != PAD).sum(1) for events in (real, simulated)]
    scatter.plot(*counts, ".", color="k", ms=3)
    ends = [0, max(count.max() for count in counts)]
    scatter.plot(ends, ends, color="0.6", lw=1)
    scatter.set(xlabel="events, real", ylabel="events, simulated", title="each recording")
    found = [measures(events) for events in (real, simulated)]
    ms = BIN * np.arange(BINS)
    for of, color, name in zip(found, (REAL, SIMULATED), ("real", "simulated"), strict=True):
        rate.step(ms, of["rate_on"], color=color, where="post", label=f"{name}, on")
        rate.step(ms, of["rate_off"], color=color, where="post", ls=":", label=f"{name}, off")
        path.plot(of["path_x"], of["path_y"], ".-", color=color, label=name, lw=1)
    rate.set(xlabel="ms", ylabel="events per recording in 10 ms", title="rate over time")
    rate.set_ylim(top=1.35 * max(found[0]["rate_off"]))
    rate.legend(fontsize="small", frameon=False, ncols=2, loc="upper center")
    path.set(xlabel="x", ylabel="y", title="mean position of events, each 10 ms", aspect="equal")
    path.invert_yaxis()
    path.legend(fontsize="small", frameon=False)
    panels = bottom.subplots(2, 3 * shown)
    for events, line, name in zip((real, simulated), panels, ("real", "simulated"), strict=True):
        frames = _frames(events[:shown], BIN).reshape(shown, -1, *NMNIST_SHAPE)
        for i, axes in enumerate(line):
            at = step + 10 * (i % 3)
            axes.imshow(picture(frames[i // 3, at]))
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{BIN * at} ms", fontsize="small")
        line[0].set_ylabel(name)
    file = rows.STUDIES / "simulated_recordings" / "camera.png"
    figure.savefig(file, metadata={"Software": None})


def picture(frame: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Convert events `[34, 34, 2]` to colors: on is red, off is blue, both is violet."""
    off, on = frame[..., 0], frame[..., 1]
    red, blue = np.where(off & ~on, 0.1, 1.0), np.where(on & ~off, 0.1, 1.0)
    return np.stack([np.where(on & off, 0.6, red), np.where(on | off, 0.2, 1.0), blue], -1)


if __name__ == "__main__":
    main()
