"""`check_layer` passes a user's layer, and names what is wrong with broken ones."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import stbp_jax as sj
from stbp_jax import core
from stbp_jax.core import Layer
from stbp_jax.testing import check_layer
from tests.testing.neurons import (
    CALLS,
    CURVE,
    OWN,
    changed,
    unrolled,
    vmapped_wrongly,
)

DENSE = sj.dense(3, sj.leaky_integrator(decay=0.5))


def own_layer(neuron=OWN):
    """A layer by hand, with weights of its own and without `is_first`."""

    def init(key, shape):
        kernel, gain = jax.random.split(key)
        return {
            "w": jax.random.normal(kernel, (*shape, 3)),
            "neuron": neuron.init(gain, (3,)),
        }, (3,)

    def initial_state(params, shape, *, key=None):
        return neuron.initial_state((shape[0], 3), params["w"].dtype), (shape[0], 3)

    def step(params, state, x):
        return neuron.step(params["neuron"], state, x @ params["w"])

    def unroll(params, state, xs):
        return neuron.unroll(params["neuron"], state, jnp.einsum("tbi,ij->tbj", xs, params["w"]))

    return Layer(init, initial_state, step, unroll)


def test_a_users_layer_passes():
    check_layer(own_layer(), (4,))
    check_layer(sj.serial(own_layer(), sj.dropout(0.5)), (4,), key=jax.random.key(0))
    check_layer(sj.layers.spiking(sj.layers.identity, sj.lif(decay=0.5)), (4,))  # no parameters


def around(before=lambda xs: xs, after=lambda ys: ys, schedule="unroll", layer=DENSE):
    """The layer with a change before and after one of its schedules."""
    run = getattr(layer, schedule)

    def changed(params, state, xs, is_first=None):
        state, ys = run(params, state, before(xs), *core.given(is_first))
        return state, after(ys)

    return layer._replace(**{schedule: changed})


def both(before=lambda xs: xs, after=lambda ys: ys):
    """The same change in both schedules."""
    return around(before, after, "step", around(before, after))


def only_first(schedule):
    """The layer with a schedule that takes restarts and ignores them."""
    run = getattr(DENSE, schedule)
    return DENSE._replace(
        **{schedule: lambda params, state, xs, is_first=None: run(params, state, xs)}
    )


def with_stats(change):
    layer = sj.dense(3, sj.lif(decay=0.5, threshold=0.25, surrogate=CURVE))

    def unroll_with_stats(*args):
        state, ys, (report,) = layer.unroll_with_stats(*args)
        return change(state, ys, report)

    return layer._replace(unroll_with_stats=unroll_with_stats)


def stats_of_all_steps():
    """A spiking layer whose statistics ignore the mask."""
    layer = sj.dense(3, sj.lif(decay=0.5, threshold=0.25, surrogate=CURVE))

    def unroll_with_stats(params, state, xs, is_first=None, mask=None):
        return layer.unroll_with_stats(params, state, xs, is_first)

    return layer._replace(unroll_with_stats=unroll_with_stats)


def slow(params, state, xs, is_first=None):
    outs = []
    for t in range(xs.shape[0]):
        first = () if is_first is None else (is_first[t],)
        state, y = DENSE.step(params, state, xs[t], *first)
        outs.append(y)
    return state, jnp.stack(outs)


def frozen_unroll(params, state, xs, is_first=None):
    return DENSE.unroll(lax.stop_gradient(params), state, xs, *core.given(is_first))


def shy(x):
    """The identity; its gradient reaches the first example from all others."""
    return x + (x[..., :1, :] - lax.stop_gradient(x[..., :1, :]))


BROKEN_LAYERS = {
    "drawn anew": (
        DENSE._replace(init=lambda key, shape: DENSE.init(jax.random.key(next(CALLS)), shape)),
        "init must give the same parameters for the same key",
    ),
    "another shape announced": (
        DENSE._replace(
            initial_state=lambda *args, **kw: (DENSE.initial_state(*args, **kw)[0], (3, 7))
        ),
        r"announce the output shape \[3, 3\], as init does, got \[3, 7\]",
    ),
    "a state for all examples": (
        DENSE._replace(initial_state=lambda params, shape, key=None: (jnp.zeros(7), (shape[0], 3))),
        "lead with B = 3",
    ),
    "wider outputs": (
        both(after=lambda ys: ys.astype(jnp.float32)),
        r"in bfloat16:\nthe output of step must be bfloat16\[3, 3\], got float32\[3, 3\]",
    ),
    "another unroll": (around(after=lambda ys: ys * 2), "unroll must be the loop of step"),
    "a view of the future": (
        around(after=lambda ys: ys - ys.mean(0, keepdims=True)),
        "outputs must not depend on later inputs",
    ),
    "a gradient from the future": (
        around(before=lambda xs: xs + (xs[-1:] - lax.stop_gradient(xs[-1:]))),
        "outputs at step 0 must not have gradients to later inputs",
    ),
    "a batch that shares its mean": (
        both(before=lambda x: x - x.mean(-2, keepdims=True)),
        "examples must not depend on each other",
    ),
    "a gradient between examples": (
        both(before=shy),
        "examples must not have gradients to each other",
    ),
    "no gradient in the unroll": (
        DENSE._replace(unroll=frozen_unroll),
        "unroll must have the gradient of the loop of step",
    ),
    "no gradient at all": (
        both(after=lax.stop_gradient),
        "no gradient reaches the parameter at synapse/kernel",
    ),
    "a Python loop": (DENSE._replace(unroll=slow), "the program of unroll grows with T"),
    "restarts ignored by unroll": (only_first("unroll"), "unroll must put examples at rest"),
    "restarts ignored by step": (only_first("step"), "step must put examples at rest"),
    "statistics that change the outputs": (
        with_stats(lambda state, ys, report: (state, 1 - ys, (report,))),
        "unroll_with_stats must change nothing",
    ),
    "a rate per second": (
        with_stats(
            lambda s, ys, report: (s, ys, (report._replace(firing_rate=report.firing_rate + 1),))
        ),
        r"firing_rate of the statistics must lie in \[0, 1\]",
    ),
    "a window of each unit": (
        with_stats(lambda s, ys, report: (s, ys, (report._replace(in_window=report.firing_rate),))),
        r"in_window of the statistics must be float32\[\]",
    ),
    "a mask ignored by statistics": (
        stats_of_all_steps(),
        "statistics under a mask must not depend on padded steps",
    ),
    "a type that weakens": (
        own_layer(changed(lambda s, y, *_: (s._replace(silent=jnp.where(y > 0, 0, 1)), y))),
        "traces 2 times for 4 steps",
    ),
    "a vmap of its own": (
        own_layer(unrolled(lambda *args: vmapped_wrongly(*args[:3]))),
        "vmap over params must be a loop",
    ),
}


@pytest.mark.parametrize("name", BROKEN_LAYERS)
def test_a_broken_layer_is_named(name):
    layer, message = BROKEN_LAYERS[name]
    with pytest.raises(AssertionError, match=message):
        check_layer(layer, (4,))


@pytest.mark.heavy
def test_inputs_are_the_users_choice():
    layer = sj.dense(3, sj.lif(decay=0.5, threshold=64.0, surrogate=sj.rectangular(1.0)))
    with pytest.raises(AssertionError, match="no gradient reaches the parameter"):
        check_layer(layer, (4,))
    params, _ = layer.init(jax.random.key(0), (4,))
    loud = jax.tree.map(lambda leaf: 64 * jnp.abs(leaf), params)
    check_layer(sj.dense(3, sj.lif(threshold=64.0, surrogate=sj.gaussian(4e3))), (4,), params=loud)
    with pytest.raises(ValueError, match=r"xs must have shape \[4, 2, 4\], got \[5, 2, 4\]"):
        check_layer(DENSE, (4,), xs=jnp.zeros((5, 2, 4)))
