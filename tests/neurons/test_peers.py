"""Networks of other libraries: the neurons of the pages `docs/howto/from_*` give their spikes.

`tests/golden/make_peers.py` made the files: networks 20 -> 30 -> 10 at the defaults of snnTorch,
Norse, SpikingJelly and Spyx, but for the settings in a case's name.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax.initializers import Weights
from stbp_jax.layers import LayerParams
from tests.contracts import quick_jit

FILES = {
    name: np.load(Path(__file__).parents[1] / "golden" / f"{name}.npz", allow_pickle=False)
    for name in ("snntorch", "norse", "spikingjelly_defaults", "spyx")
}


def subtract(constants: Any, state: Any) -> Any:
    """Decay the membrane, and subtract the whole threshold."""
    return constants.decay * state.membrane - constants.threshold * state.spikes


def no_reset(constants: Any, state: Any) -> Any:
    return constants.decay * state.membrane


def late(neuron: sj.Neuron) -> sj.Neuron:
    """A neuron whose output is that of the step before."""

    def step(params: Any, state: Any, current: Any) -> Any:
        inner, last = state
        inner, out = neuron.step(params, inner, current)
        return (inner, out), last

    def initial_state(shape: Any, dtype: Any) -> Any:
        return neuron.initial_state(shape, dtype), jnp.zeros(shape, dtype)

    return sj.make_neuron(step, initial_state, init=neuron.init)


def leaky(reset: Any) -> sj.Neuron:
    return sj.lif(decay=0.9, threshold=1.0, surrogate=sj.arctan(2.0), reset=reset)


# The neurons of `docs/howto/from_snntorch.md` that need a step of their own.


def drops_current(beta: float = 0.9, threshold: float = 1.0) -> sj.Neuron:
    fire = sj.arctan(2.0)

    def step(params: Any, membrane: Any, current: Any) -> Any:
        reset = jax.lax.stop_gradient(fire(membrane - threshold))
        membrane = (1 - reset) * (beta * membrane + current)
        return membrane, fire(membrane - threshold)

    return sj.make_neuron(step, jnp.zeros)


def resets_at_once(beta: float = 0.9, threshold: float = 1.0) -> sj.Neuron:
    fire = sj.arctan(2.0)

    def step(params: Any, membrane: Any, current: Any) -> Any:
        above = jax.lax.stop_gradient(fire(membrane - threshold))
        membrane = beta * membrane + current
        spikes = fire(membrane - threshold - above * threshold)
        return membrane - spikes * threshold, spikes

    return sj.make_neuron(step, jnp.zeros)


def node(reset: Any) -> sj.Neuron:
    return sj.lif(decay=0.5, threshold=1.0, surrogate=sj.sigmoid(0.25), reset=reset)


def parametric(decay: Any) -> sj.Neuron:
    return sj.lif(decay=decay, threshold=1.0, surrogate=sj.sigmoid(0.25))


NORSE = sj.lif(decay=0.9, threshold=1.0, surrogate=sj.superspike(1.0))
SPYX = {"threshold": 1.0, "surrogate": sj.superspike(25.0)}

# The library and case; the factor of the weights; the neuron.
NETWORKS = {
    ("snntorch", "subtract"): (1.0, leaky(sj.detach_reset(subtract))),
    ("snntorch", "zero"): (1.0, leaky(sj.detach_reset(sj.hard_reset))),
    ("snntorch", "none"): (1.0, leaky(no_reset)),
    ("snntorch", "no_delay"): (1.0, leaky(sj.soft_reset)),
    ("snntorch", "no_delay_zero"): (1.0, leaky(sj.hard_reset)),
    ("snntorch", "no_delay_above_two"): (1.0, resets_at_once()),
    ("snntorch", "synaptic"): (1.0, sj.current_based(leaky(sj.detach_reset(subtract)), decay=0.8)),
    ("snntorch", "synaptic_zero"): (1.0, sj.current_based(drops_current(), decay=0.8)),
    ("snntorch", "rleaky"): (1.0, sj.recurrent(leaky(sj.detach_reset(subtract)))),
    ("snntorch", "rleaky_zero"): (1.0, sj.recurrent(drops_current())),
    ("norse", "lif"): (0.1, sj.current_based(NORSE, decay=0.8)),
    ("norse", "box"): (0.1, NORSE),
    ("spikingjelly_defaults", "hard"): (1 / 2, node(sj.hard_reset)),
    ("spikingjelly_defaults", "soft"): (1 / 2, node(sj.soft_reset)),
    ("spikingjelly_defaults", "parametric"): (
        1 / 4,
        sj.learnable_decay(parametric, sj.neurons.per_layer(0.75)),
    ),
    ("spyx", "lif"): (1.0, late(sj.lif(decay=0.9, reset=subtract, **SPYX))),
    ("spyx", "cuba"): (
        1.0,
        late(sj.current_based(sj.lif(decay=0.9, reset=sj.soft_reset, **SPYX), decay=0.8)),
    ),
}


def load(file: str, case: str) -> dict[str, np.ndarray]:
    names = [name for name in FILES[file].files if name.startswith(f"{case}/")]
    return {name.removeprefix(f"{case}/"): FILES[file][name] for name in names}


@pytest.mark.parametrize(("file", "case"), NETWORKS, ids=map("-".join, NETWORKS))
def test_network_of_another_library(file: str, case: str) -> None:
    factor, neuron = NETWORKS[file, case]
    wanted = load(file, case)
    layers = [sj.dense(30, neuron), sj.dense(10, neuron)]
    xs = jnp.asarray(wanted["x"], jnp.float32)

    def loss(weights: Any) -> Any:
        o1, outs = xs, []
        for layer, w in zip(layers, weights, strict=True):
            units = w["b"].shape
            scaled = Weights(factor * w["w"].T, factor * w["b"])
            own = neuron.init(jax.random.key(0), units)
            if "r" in w:
                own = own._replace(weights=Weights(w["r"].T, jnp.zeros(units)))
            params = LayerParams(scaled, own)
            o1 = sj.apply(layer, params, o1)[1]
            outs.append(o1)
        return sj.half_squared_error(sj.rate(outs[1]), wanted["y"]).mean(), outs

    names = "wbr" if "r1" in wanted else "wb"
    weights = [{name: wanted[f"{name}{n}"] for name in names} for n in "12"]
    grads, outs = quick_jit(jax.grad(loss, has_aux=True))(weights)
    for n, grad, o in zip("12", grads, outs, strict=True):
        np.testing.assert_array_equal(o, wanted[f"o{n}"])
        for name in names:
            largest = abs(wanted[f"grad_{name}{n}"]).max()
            np.testing.assert_allclose(
                grad[name], wanted[f"grad_{name}{n}"], rtol=0, atol=1e-4 * largest
            )
