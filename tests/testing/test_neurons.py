"""`check_neuron` passes a user's neuron, and names what is wrong with broken ones."""

import jax.numpy as jnp
import pytest
from jax import lax

import stbp_jax as sj
from stbp_jax import core
from stbp_jax.core import Probe
from stbp_jax.testing import check_neuron
from tests.testing.neurons import (
    CALLS,
    OWN,
    Gained,
    OwnState,
    changed,
    leaking_restarts,
    no_gradient_of_params,
    own_init,
    own_step,
    python_loop,
    unrolled,
    vmapped_wrongly,
    with_step,
)


def test_a_users_neuron_passes():
    check_neuron(OWN, units=(3, 2))


BROKEN_NEURONS = {
    "drawn anew": (
        OWN._replace(init=lambda key, shape: Gained(jnp.full(shape, float(next(CALLS))))),
        "init must give the same parameters for the same key",
    ),
    "parameters that are no arrays": (
        OWN._replace(init=lambda key, shape: Gained(1.0)),
        "init must give arrays, got 1.0 at gain",
    ),
    "a count for all examples": (
        OWN._replace(initial_state=lambda shape, dtype: OwnState(jnp.zeros(shape, dtype), 0)),
        "lead with B = 3",
    ),
    "another structure": (
        OWN._replace(step=lambda *args: (tuple(own_step(*args)[0]), own_step(*args)[1])),
        "step must keep the structure of the state",
    ),
    "a step of one result": (
        OWN._replace(step=lambda *args: own_step(*args)[0].membrane),
        r"step must return \(state, out\), got",
    ),
    "an unroll of three": (
        unrolled(lambda p, state, xs, first: (*OWN.unroll(p, state, xs), xs)),
        r"unroll must return \(state, out\), got",
    ),
    "a wider state": (
        changed(lambda s, out, *_: (s._replace(membrane=s.membrane.astype(jnp.float32)), out)),
        "step must keep the shapes and dtypes of the state",
    ),
    "outputs of another shape": (
        changed(lambda state, out, *_: (state, out.sum(-1))),
        r"the output of step must be float32\[3, 5\], got float32\[3\]",
    ),
    "wider outputs": (
        changed(lambda state, out, *_: (state, out.astype(jnp.float32))),
        r"the output of step must be bfloat16\[3, 5\], got float32\[3, 5\]",
    ),
    "a Python loop": (unrolled(python_loop), "the program of unroll grows with T"),
    "another unroll": (
        unrolled(lambda p, state, xs, first: OWN.unroll(p, state, xs * 2, *core.given(first))),
        "unroll must be the loop of step",
    ),
    "no gradient in the unroll": (
        unrolled(no_gradient_of_params),
        "unroll must have the gradient of the loop of step",
    ),
    "no surrogate": (
        changed(lambda state, out, *_: (state, lax.stop_gradient(out))),
        "no gradient reaches the parameter at gain",
    ),
    "a parameter without a use": (
        OWN._replace(
            init=lambda key, shape: {"gain": own_init(key, shape), "idle": jnp.ones(())},
            step=lambda params, *args: own_step(params["gain"], *args),
            unroll=lambda params, *args: OWN.unroll(params["gain"], *args),
        ),
        "no gradient reaches the parameter at idle",
    ),
    "a gradient of NaN": (
        changed(lambda s, out, old, x: (s, out + 0 * jnp.sqrt(lax.stop_gradient(x) * 0 + x - x))),
        "is not finite",
    ),
    "spikes of 2": (
        changed(lambda state, out, *_: (state, 2 * out)),
        "must give 0 or 1, got 2; set spiking=False",
    ),
    "silence": (
        OWN._replace(init=lambda key, shape: Gained(own_init(key, shape).gain / 64)),
        "the neuron never fires",
    ),
    "no restarts": (
        unrolled(lambda params, state, xs, first: OWN.unroll(params, state, xs)),
        "unroll must put examples at rest where is_first is set",
    ),
    "gradients that cross restarts": (
        unrolled(leaking_restarts),
        "the gradient of unroll must not cross a restart",
    ),
    "a batch that shares its mean": (
        with_step(lambda params, state, x: own_step(params, state, x - x.mean(0, keepdims=True))),
        "examples must not depend on each other",
    ),
    "a vmap of its own": (
        unrolled(
            lambda *args: vmapped_wrongly(*args[:3]) if args[3] is None else OWN.unroll(*args)
        ),
        "vmap over params and currents must be a loop",
    ),
    "a type that weakens": (
        changed(lambda s, out, *_: (s._replace(silent=jnp.where(out > 0, 0, 1)), out)),
        "traces 2 times for 4 steps",
    ),
    "a probe of one number": (
        OWN._replace(probe=lambda params, s: Probe(s.membrane.mean(), s.membrane, s.silent > 0)),
        r"probe's distance must be float32\[3, 5\], got float32\[\]",
    ),
    "a window of floats": (
        OWN._replace(probe=lambda params, s: Probe(s.membrane, s.membrane, s.membrane)),
        "probe's in_window must be bool",
    ),
}


@pytest.mark.parametrize("name", BROKEN_NEURONS)
def test_a_broken_neuron_is_named(name):
    neuron, message = BROKEN_NEURONS[name]
    with pytest.raises(AssertionError, match=message):
        check_neuron(neuron)


def test_an_error_of_the_neuron_itself_says_where():
    neuron = with_step(
        lambda params, state, x: own_step(params, state, x - 0 * x.max(0, keepdims=True))
    )
    with pytest.raises(ValueError, match="zero-size") as caught:
        check_neuron(neuron)
    assert "a batch may be empty" in caught.value.__notes__


def test_a_neuron_may_refuse_restarts():
    def unroll(params, state, currents, is_first):
        if is_first is not None:
            raise NotImplementedError("restarts")
        return OWN.unroll(params, state, currents)

    check_neuron(unrolled(unroll))


@pytest.mark.heavy
def test_currents_are_the_users_choice():
    neuron = sj.lif(decay=0.5, threshold=8.0, surrogate=sj.rectangular(8.0))
    with pytest.raises(AssertionError, match="never fires"):
        check_neuron(neuron)
    check_neuron(neuron, currents=(-4.0, 12.0))
