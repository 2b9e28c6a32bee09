"""Pictures and table of the study, made from its rows."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.report import figures, frames, tables
from experiments.report.frames import Frame

NAMES = {
    "stbp": "STBP",
    "reset_detached": "reset detached",
    "sdbp": "SDBP",
    "adaptive": "adaptive thresholds",
    "adaptive_space": "adaptive thresholds, through space alone",
    "recurrent": "recurrent",
    "recurrent_space": "recurrent, through space alone",
}
CHANCE = 25.0


def draw(runs: Frame, folder: Path) -> None:
    """Draw `accuracy`, `differences`, `horizons` and `networks.png`: means and 95 % intervals."""
    runs = frames.largest(runs)
    pictures = {
        "accuracy": _over_decays,
        "differences": _differences,
        "horizons": _horizons,
        "networks": _networks,
    }
    for name, picture in pictures.items():
        figures.save(picture(runs), folder / f"{name}.png")


def _over_decays(runs: Frame) -> Figure:
    figure, by_gap = _panels(runs)
    for gap, axes in by_gap.items():
        for variant in ("stbp", "reset_detached", "sdbp"):
            _line(axes, runs[(runs["gap"] == gap) & (runs["variant"] == variant)], "decay", variant)
        axes.set_xlabel("decay (fraction of membrane left)")
    return _finished(figure, list(by_gap.values()))


def _differences(runs: Frame) -> Figure:
    figure, by_gap = _panels(runs)
    for gap, axes in by_gap.items():
        for variant, color in (("sdbp", "C3"), ("reset_detached", "C1")):
            found = {
                decay: frames.difference(_seeds(part, "stbp"), _seeds(part, variant))
                for decay, part in frames.by(runs[runs["gap"] == gap], "decay").items()
            }
            made = {decay: d for decay, d in found.items() if d.pairs > 1}
            axes.errorbar(
                list(made),
                [d.mean for d in made.values()],
                [
                    [d.mean - d.low for d in made.values()],
                    [d.high - d.mean for d in made.values()],
                ],
                fmt="o-",
                color=color,
                capsize=3,
                label=f"STBP minus {NAMES[variant]}",
            )
        axes.axhline(0, color="0.3", lw=0.8)
        axes.set_xlabel("decay (fraction of membrane left)")
    first = next(iter(by_gap.values()))
    first.set_ylabel("test accuracy (points), mean and 95 % interval")
    first.legend(fontsize="small")
    return figure


def _horizons(runs: Frame) -> Figure:
    """Draw accuracy over horizons, from SDBP (1 step) to STBP (T steps), at the common decays."""
    cut = runs["variant"].str.startswith("horizon_")
    ends = runs["variant"].isin(["stbp", "sdbp"]) & runs["decay"].isin(runs.loc[cut, "decay"])
    some = runs[cut | ends].copy()
    some.loc[some["variant"] == "sdbp", "horizon"] = 1
    figure, by_gap = _panels(some)
    for gap, axes in by_gap.items():
        for decay, part in some[some["gap"] == gap].groupby("decay"):
            _line(axes, part, "horizon", f"decay {decay:g}")
        axes.set(xscale="log", xlabel="steps between cuts of the gradient")
        axes.set_xticks([1, 2, 4, 8, 16, 46], ["1", "2", "4", "8", "16", "T"])
        axes.minorticks_off()
    return _finished(figure, list(by_gap.values()))


def _networks(runs: Frame) -> Figure:
    """Draw accuracy over gaps for all networks, at the common decays."""
    decays = sorted(runs.loc[runs["variant"] == "adaptive", "decay"].unique())
    figure, panels = figures.panels(
        max(len(decays), 1), size=(3 + 4 * len(decays), 3.8), sharey=True
    )
    for axes, decay in zip(panels, decays, strict=False):
        for n, variant in enumerate(NAMES):
            part = runs[(runs["variant"] == variant) & (runs["decay"] == decay)]
            if len(part) and variant != "reset_detached":
                _line(axes, part, "gap", variant, shift=0.25 * (n - 2))  # bars do not overlap
        axes.set_title(f"decay {decay:g}", fontsize="medium")
        axes.set_xlabel("gap (steps)")
    return _finished(figure, panels)


def _seeds(runs: Frame, variant: str) -> "frames.pd.Series[float]":
    return frames.by_seed(runs[runs["variant"] == variant])


def _panels(runs: Frame) -> tuple[Figure, dict[float, Axes]]:
    gaps = sorted(float(gap) for gap in runs["gap"].unique())
    figure, panels = figures.panels(len(gaps), size=(2 + 3 * len(gaps), 3.6), sharey=True)
    for axes, gap in zip(panels, gaps, strict=True):
        axes.set_title(f"gap of {gap:g} steps", fontsize="medium")
    return figure, dict(zip(gaps, panels, strict=True))


def _line(axes: Axes, runs: Frame, over: str, label: str, shift: float = 0.0) -> None:
    parts = frames.by(runs, over)
    if parts:
        xs = [x + shift for x in parts]
        figures.points(axes, xs, list(parts.values()), label=NAMES.get(label, label))


def _finished(figure: Figure, panels: list[Axes]) -> Figure:
    for axes in panels:
        axes.axhline(CHANCE, color="0.6", lw=0.8, ls="--")
    panels[0].set_ylabel("test accuracy (%), mean and 95 % interval\n(dashed: chance)")
    named = panels[0].get_legend_handles_labels()
    figure.legend(*named, loc="outside right upper", fontsize="small", frameon=False)
    return figure


def table(runs: Frame) -> str:
    """Return a table with one line for each gap and decay, in percent and points."""
    return tables.by_budget(_table, runs)


def _table(runs: Frame) -> str:
    others = [v for v in runs["variant"].unique() if v not in ("stbp", "sdbp")]
    lines = []
    for (gap, decay), part in runs.groupby(["gap", "decay"]):
        found = frames.difference(_seeds(part, "stbp"), _seeds(part, "sdbp"))
        first, *rest = (_tenths(_seeds(part, name)) for name in ("stbp", "sdbp", *others))
        between = f"{found.mean:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"
        lines.append([f"{gap:g}", f"{decay:g}", first, rest[0], between, *rest[1:]])
    head = ["gap", "decay", "STBP (%)", "SDBP (%)", "difference [95 %]"]
    return tables.markdown([*head, *(v.replace("_", " ") for v in others)], lines)


def _tenths(values: "frames.pd.Series[float]") -> str:
    if values.empty:
        return ""
    return f"{values.mean():.1f}" + (f" ± {values.std():.1f}" if len(values) > 1 else "")
