"""Training without complex skills (section 3 of the paper).

Claim:   Error normalization, weight and threshold regularization and a special reset are not
         needed.
Command: python -m experiments reproduce skills --budget long
Result:  +0.05 by detached reset, target none; here: 0.2 or less, difference +0.05 [-0.09, +0.20]:
         reproduced, short run.
Time:    1.3 min for 5 runs in one program, budget long, NVIDIA H200.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import stbp_jax as sj
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.models import STBP, HParams, Units, lif_units
from experiments.engine.runs import variant
from experiments.engine.studies import Plan, Variant
from stbp_jax.neurons import learnable_decay, per_layer

FULL = Config(Data(num_steps=30), Model("400-10"), Train(epochs=200))
L2 = 1e-4


@jax.custom_vjp
def _normalized(spikes: jax.Array) -> jax.Array:
    """The spikes `[T, B, units]`; backward, the error of each example gets the norm 1/B."""
    return spikes


def _backward(_: None, errors: jax.Array) -> tuple[jax.Array]:
    squares = jnp.sum(errors**2, axis=(0, 2), keepdims=True)
    norms = jnp.sqrt(jnp.maximum(squares, jnp.finfo(errors.dtype).tiny))
    return (errors / norms / errors.shape[1],)


_normalized.defvjp(lambda spikes: (spikes, None), _backward)


def _with_normalized_errors(hparams: HParams) -> sj.Neuron:
    neuron = STBP.hidden(hparams)

    def unroll(params: Any, state: Any, currents: jax.Array, *is_first: jax.Array) -> Any:
        state, spikes = neuron.unroll(params, state, currents, *is_first)
        return state, _normalized(spikes)

    return neuron._replace(unroll=unroll)


def _with_learned_threshold(hparams: HParams) -> sj.Neuron:
    # `learnable_decay` learns any number between 0 and 1; here it is the threshold.
    def population(threshold: Any) -> sj.Neuron:
        return STBP.hidden(hparams | {"threshold": threshold})

    return learnable_decay(population, per_layer(FULL.model.threshold))


def _with_decayed_weights(rates: optax.Schedule) -> optax.GradientTransformation:
    return optax.chain(optax.add_decayed_weights(L2), optax.adam(rates))


def _variant(about: str, units: Units = STBP, **recipe: Any) -> Variant:
    return variant(
        about,
        quick=Plan(3, FULL.but(num_steps=8, epochs=4, num_train=10_000)),
        long=Plan(5, FULL.but(num_steps=8, epochs=25)),
        full=Plan(5, FULL),
        units=units,
        **recipe,
    )


VARIANTS = {
    "plain": _variant("none, as in the paper"),
    "error_normalization": _variant(
        "the error that a hidden layer receives has the same norm for each example",
        Units(_with_normalized_errors, STBP.output),
    ),
    "weight_regularization": _variant(
        "the squares of weights and biases, times 5e-5, are added to the loss",
        optimizer=_with_decayed_weights,
    ),
    "learned_threshold": _variant(
        "each layer learns its threshold", Units(_with_learned_threshold, _with_learned_threshold)
    ),
    "soft_reset": _variant("a spike subtracts the threshold", lif_units(sj.neurons.soft_reset)),
    "detached_reset": _variant(
        "no gradient through the reset", lif_units(sj.neurons.detach_reset(sj.hard_reset))
    ),
}
