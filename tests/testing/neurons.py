"""A neuron as a user writes it, and ways to break it."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

import stbp_jax as sj
from stbp_jax import core
from stbp_jax.core import make_neuron, restart_where

CURVE = sj.gaussian(0.5)
CALLS = itertools.count(1)  # a hidden state, as no part may have one


class Gained(NamedTuple):
    gain: Any


class OwnState(NamedTuple):
    membrane: Any
    silent: Any


def own_step(params, state, current):
    """A neuron with a gain of its own, which counts the steps since its last spike."""
    decay = 0.5 * (state.silent > 0).astype(current.dtype)
    membrane = decay * state.membrane + params.gain[None] * current
    spikes = CURVE(membrane - jnp.asarray(0.25, current.dtype))
    silent = jnp.where(spikes > 0, jnp.zeros_like(state.silent), state.silent + 1)
    return OwnState(membrane, silent), spikes


def own_rest(shape, dtype):
    return OwnState(jnp.zeros(shape, dtype), jnp.zeros(shape, jnp.int32))


def own_init(key, shape):
    return Gained(jax.random.uniform(key, shape, minval=1, maxval=2))


OWN = make_neuron(own_step, own_rest, init=own_init)


def with_step(step, **kwargs):
    return make_neuron(step, own_rest, init=own_init, **kwargs)


def changed(change):
    """The neuron with `change(state, out, old state, current)` after its step."""

    def step(params, state, current):
        return change(*own_step(params, state, current), state, current)

    return with_step(step)


def unrolled(unroll):
    """The neuron with an unroll `(params, state, currents, is_first) -> (state, outs)`."""
    return OWN._replace(
        unroll=lambda params, state, currents, is_first=None: unroll(
            params, state, currents, is_first
        )
    )


def python_loop(params, state, currents, is_first):
    outs = []
    for t in range(currents.shape[0]):
        if is_first is not None:
            state = restart_where(is_first[t], state, own_rest(currents.shape[1:], currents.dtype))
        state, out = own_step(params, state, currents[t])
        outs.append(out)
    return state, jnp.stack(outs)


def no_gradient_of_params(params, state, currents, is_first):
    return OWN.unroll(lax.stop_gradient(params), state, currents, *core.given(is_first))


def leaking_restarts(params, state, currents, is_first):
    """Right values, but the gradient crosses a restart."""
    last, outs = OWN.unroll(params, state, currents, *core.given(is_first))
    if is_first is not None:
        outs = outs + (currents[:1] - lax.stop_gradient(currents[:1]))
    return last, outs


@jax.custom_batching.custom_vmap
def batched_wrongly(params, state, currents):
    return OWN.unroll(params, state, currents)


@batched_wrongly.def_vmap
def _(size, batched, params, state, currents):
    out = OWN.unroll(
        *(
            jax.tree.map(lambda x, b: x[0] if b else x, tree, axes)
            for tree, axes in zip((params, state, currents), batched, strict=True)
        )
    )
    stack = jax.tree.map(lambda x: jnp.stack([x] * size), out)
    return stack, jax.tree.map(lambda x: True, out)


@jax.custom_vjp
def vmapped_wrongly(params, state, currents):
    return batched_wrongly(params, state, currents)


vmapped_wrongly.defvjp(lambda *args: jax.vjp(OWN.unroll, *args), lambda pull, bars: pull(bars))
