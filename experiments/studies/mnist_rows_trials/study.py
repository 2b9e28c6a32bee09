"""MNIST row by row: why the exact gradient fails, and trials that choose the settings.

Claim:   With a surrogate, a learning rate and a clipping of gradients that are chosen on held-out
         images, STBP trains recurrent LIF neurons as well as SDBP or better.
Command: python -m experiments reproduce mnist_rows_trials --budget quick

Accuracies in the rows are those of held-out training images; no trial reads the test set.
"""

import functools

from experiments.engine import programs
from experiments.engine.config import Config
from experiments.engine.models import points
from experiments.engine.studies import Plan, Sets, Variant
from experiments.studies.mnist_rows.study import (
    FULL,
    GRADIENTS,
    NEURONS,
    ROWS,
    UNCLIPPED,
    build,
)
from experiments.studies.mnist_rows_trials import growth

TRIAL = FULL.but(layers="128-10", num_train=10_000, num_test=5000, epochs=6, batch_size=50)
LONG = FULL.but(num_train=55_000, num_test=5000)
GRID = {
    "width": (0.5, 1.0, 2.0),
    "learning_rate": (5e-3, 1e-3),
    "clip": (UNCLIPPED, 1.0),
    "recurrent_gain": (1.0,),
}
SMALL_GAIN = GRID | {"width": (0.5, 1.0), "clip": (UNCLIPPED,), "recurrent_gain": (0.3,)}

# Learning rates fall over as many updates as in the long plan of `mnist_rows`.
GROWTH = FULL.but(layers="256-10", num_train=20_000, num_test=5000, epochs=45)
GROWING = points(GROWTH, order=(ROWS,), width=(0.5, 1.0), clip=(UNCLIPPED,))


def load(config: Config, seed: int) -> Sets:
    """Load the first training images of MNIST, and the last ones in place of the test set.

    Args:
      config: `num_train` and `num_test` are the sizes; `limit` bounds both.
      seed: not used; the images are the same for all seeds.

    Returns:
      `(train, held_out)`.
    """
    train, _ = programs.load_named(config.but(num_train=0, num_test=0, limit=0), seed)
    first, last = (
        min(size, config.data.limit or size)
        for size in (config.data.num_train, config.data.num_test)
    )
    return programs.cut(train, slice(first)), programs.cut(train, slice(-last, None))


def _trials(about: str, gradient: str, grid: dict[str, tuple[float, ...]]) -> Variant:
    found = points(TRIAL, order=(ROWS,), **grid)
    _, horizon = GRADIENTS[gradient]
    return Variant(
        about,
        {
            "smoke": Plan(1, TRIAL.but(limit=40, epochs=1, batch_size=20), found[:1]),
            "quick": Plan(1, TRIAL, found),
            "long": Plan(1, LONG, found),
            "full": Plan(1, LONG, found),
        },
        load,
        functools.partial(build, hidden=NEURONS["recurrent_lif"], horizon=horizon),
    )


VARIANTS = {
    f"{gradient}{suffix}": _trials(f"{about}{more}", gradient, grid)
    for suffix, more, grid in (
        ("", "", GRID),
        ("_small_gain", ", smaller initial recurrent weights", SMALL_GAIN),
    )
    for gradient, about in (
        ("stbp", "gradients through space and time"),
        ("sdbp", "gradients through space alone"),
    )
}
VARIANTS["growth"] = Variant(
    "growth of the error through time, before and in training",
    {
        "smoke": Plan(1, GROWTH.but(limit=40, epochs=1, batch_size=20, layers="8-10"), GROWING[:1]),
        "quick": Plan(1, GROWTH, GROWING),
        "full": Plan(1, GROWTH, GROWING),
    },
    load,
    functools.partial(build, hidden=NEURONS["recurrent_lif"]),
    run=growth.run,
)
