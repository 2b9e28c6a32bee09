"""The paper's initialisation as printed: what fires and what learns at the first update.

Nothing is trained: each cell draws weights, looks at one batch and takes its gradient.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import stbp_jax as sj
from experiments import harness, images, sweeping
from experiments.classification import load_named
from experiments.settings import setting
from experiments.study import Plan, Row, Study, Variant
from stbp_jax import data


@dataclass(frozen=True)
class Settings(sweeping.Settings):
    """Of a map over gain and bias; numbers of training are not read."""

    gains: str = setting("0.5,0.7,1,1.4,2,2.8,4,5.7,8", "norms of a unit's incoming weights")
    biases: str = setting("0,0.25,0.5,0.75,1,1.25,1.5", "b ~ U[0, this]")


# Table 1 of the paper (stbp_jax.presets.paper.mnist), which names no batch size.
SETTINGS = Settings(
    hidden="400", num_steps=30, epochs=0, batch_size=200, decay=0.1, threshold=1.5, chunk=9
)


Measure = Callable[..., tuple[None, dict[str, jax.Array]]]


def run(settings: Settings, seeds: list[int], folder: Path) -> Iterator[list[Row]]:
    """One row a cell and seed; `firing_rate`, `silent_fraction`, `gradient_norm` by layer."""
    train, _ = load_named(settings)
    batch = slice(settings.batch_size)
    seen = data.Dataset(train.images[batch], train.labels[batch])
    axes = {
        **{name: [getattr(settings, name)] for name in ("decay", "threshold", "width")},
        "gain": sweeping.numbers("gains", settings.gains),
        "bias": sweeping.numbers("biases", settings.biases),
    }
    cells = sj.grid(**axes)[1]
    told, shared = sweeping.in_one_program(
        _measure(settings), cells, settings, seeds, [(seen, seen)], folder
    )
    shared["network"] = images.network(settings, seen.images.shape[1:])
    rows = []
    for cell, seed, found in sweeping.each(told, cells, seeds):
        row = shared | {"num_test": 0, "seed": seed, "hparams": cell} | found
        harness.append_row(folder / "row.jsonl", row)
        rows.append(row)
    yield rows


def _measure(settings: Settings) -> Measure:
    """`(key, hparams, batch, _) -> (None, numbers by layer)`, in the form that `sj.run` takes."""

    def measure(
        key: jax.Array, hparams: images.HParams, batch: tuple[jax.Array, jax.Array], _: Any
    ) -> tuple[None, dict[str, jax.Array]]:
        init = sj.initializers.fan_in_normalized(hparams["gain"], hparams["bias"])
        neuron = images.STBP.hidden(hparams)
        hidden = [sj.dense(int(units), neuron, init=init) for units in settings.hidden.split("-")]
        output = sj.dense(settings.classes, neuron, init=init)
        network = sj.serial(sj.flatten(), *hidden, output)
        key_init, key_encode = jax.random.split(key)
        xs = sj.bernoulli(key_encode, batch[0], settings.num_steps)
        params, _ = network.init(key_init, xs.shape[2:])

        def loss(params: Any) -> jax.Array:
            scores = sj.rate(sj.apply(network, params, xs)[1])
            return jnp.mean(sj.half_squared_error(scores, batch[1]))

        kernels = [leaf for leaf in jax.tree.leaves(jax.grad(loss)(params)) if leaf.ndim > 1]
        rates = [report.firing_rate for report in sj.apply_with_stats(network, params, xs)[2]]
        return None, {
            "firing_rate": jnp.stack([jnp.mean(rate) for rate in rates]),
            "silent_fraction": jnp.stack([jnp.mean(rate == 0) for rate in rates]),
            "gradient_norm": jnp.stack([jnp.linalg.norm(kernel) for kernel in kernels]),
        }

    def check(hparams: images.HParams, _: Any) -> None:
        sj.initializers.fan_in_normalized(hparams["gain"], hparams["bias"])
        images.STBP.hidden(hparams)

    measure.check = check  # type: ignore[attr-defined]
    return measure


STUDY = Study(
    name="initialisation",
    claim="The paper's initialisation, taken literally, is dead on MNIST: nothing can be learnt.",
    variants={
        "map": Variant(
            "firing rates and gradients over gain and bias, before any update",
            SETTINGS,
            run,
            {"cpu": Plan(3), "full": Plan(3)},
        )
    },
)
