"""Tables of a spiking network beside its baselines, paired by seed."""

from collections.abc import Sequence

import jax

from experiments.engine import models, studies
from experiments.engine.studies import Job
from experiments.report import frames, tables
from experiments.report.frames import Difference, Frame, Measured


def table(study: str, runs: Frame, spiking: str, shape: tuple[int, ...]) -> str:
    """Return a table for each budget, with one line for each variant, in the study's order.

    Args:
      study: name of the study.
      runs: of the study.
      spiking: the variant from which the others are subtracted.
      shape: of one example at one time step.
    """
    lines = []
    for budget in tables.LARGEST_FIRST:
        for variant in studies.load(study).variants:
            job = studies.job(study, variant, budget)
            part = frames.of_job(job, runs) if job else runs[:0]
            if job is None or part.empty:
                continue
            first = studies.job(study, spiking, budget)
            assert first is not None
            found = _minus(frames.of_job(first, runs), part)
            lines.append(
                [
                    variant,
                    budget,
                    part["network"].iloc[0],
                    f"{parameters(job, shape):,}",
                    frames.spread(part["accuracy"]),
                    "-" if variant == spiking or not found.pairs else found,
                    frames.seeds(part),
                    _operations(part),
                ]
            )
    head = [
        "variant",
        "budget",
        "network",
        "parameters",
        "last epoch (%)",
        f"`{spiking}` minus it [95 %]",
        "seeds",
        "operations an example",
    ]
    return f"{tables.markdown(head, lines)}\n\n{tables.origin(runs)}"


def least_lead(runs: Frame, spiking: str, baselines: Sequence[str]) -> Measured:
    """Return the spiking network's accuracy minus that of the baseline it leads least.

    Args:
      runs: of all these variants at one budget.
      spiking: name of the spiking variant.
      baselines: names of the others.
    """
    parts = frames.by(runs, "variant")
    found = {name: _minus(parts[spiking], parts[name]) for name in baselines}
    name = min(found, key=lambda name: found[name].mean)
    means = [frames.spread(parts[one]["accuracy"]) for one in (spiking, name)]
    count = found[name].pairs
    return Measured(f"{' minus '.join(means)} (`{name}`, {count} seeds)", found[name])


def parameters(job: Job, shape: tuple[int, ...]) -> int:
    """Count the parameters of a job's network.

    Args:
      job: its config and variant make the network.
      shape: of one example at one time step.
    """
    network = job.chosen.build(job.config)(models.hparams(job.config), 1).network
    params = jax.eval_shape(lambda: network.init(jax.random.key(0), shape)[0])
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _minus(spiking: Frame, other: Frame) -> Difference:
    return frames.difference(frames.by_seed(spiking), frames.by_seed(other))


def _operations(runs: Frame) -> str:
    """Format the additions of spikes, or the products of a network without spikes."""
    sums = [sum(counts) for counts in runs["operations"] if counts]
    if sums:
        return f"{sum(sums) / len(sums) / 1e6:.3g} M additions"
    return f"{runs['multiply_accumulates'].mean() / 1e6:.3g} M products"
