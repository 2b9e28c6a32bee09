"""The gradient that the paper prints, equations (11) to (22), as a layer for dense networks.

The exact recursion passes the whole error of step t + 1 on to step t, and the whole error of a
layer down to the layer below. The printed equations keep one term of each. With δᵗ the printed
∂L/∂oᵗ and h the surrogate derivative:

    δᵗ = direct + δᵗ⁺¹ h(uᵗ⁺¹) uᵗ f'(oᵗ)          (11), (15), (18)
    ∂L/∂uᵗ = δᵗ h(uᵗ) + δᵗ⁺¹ h(uᵗ⁺¹) f(oᵗ)         (20), for the weights of a hidden layer
    ∂L/∂uᵗ = δᵗ⁺¹ h(uᵗ⁺¹) f(oᵗ) for t < T          (16), for the weights of the output layer

where `direct` of the output layer is (11) at every step, and that of a hidden layer is Σ w δᵗ h(uᵗ)
over the layer above (13). Indices that are misprinted are corrected.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

import stbp_jax as sj
from experiments.engine.models import HParams
from stbp_jax.initializers import Initializer, plus_bias

Array = jax.Array
Own = Callable[[Array, Array, Array], Array]
"""`(direct, carried, is_last) -> ∂L/∂uᵗ`: the error that reaches the weights of a layer."""


def equation_20(direct: Array, carried: Array, is_last: Array) -> Array:
    """Both terms, for a hidden layer."""
    return direct + carried


def equation_16(direct: Array, carried: Array, is_last: Array) -> Array:
    """The carried term alone before the last step, for the output layer."""
    return jnp.where(is_last, direct, carried)


def network(sizes: list[int], hparams: HParams, init: Initializer) -> sj.Layer:
    """Return a perceptron of LIF neurons whose gradient is the printed one.

    Args:
      sizes: units of each layer.
      hparams: decay, threshold and width of the rectangular surrogate.
      init: of the weights.
    """
    *hidden, last = sizes
    made = [_printed(n, equation_20, hparams, init) for n in hidden]
    return sj.serial(sj.flatten(), *made, _printed(last, equation_16, hparams, init))


def _printed(units: int, own: Own, hparams: HParams, init: Initializer) -> sj.Layer:
    decay, threshold = hparams["decay"], hparams["threshold"]
    surrogate = sj.rectangular(hparams["width"])
    neuron = sj.lif(decay=decay, threshold=threshold, surrogate=surrogate)
    layer = sj.dense(units, neuron, init=init)

    def unroll(params, state, xs, is_first=None):  # type: ignore[no-untyped-def]
        kernel = params.synapse.kernel
        # Equal currents, one for the gradient of the weights and one for that of the inputs.
        currents = plus_bias(lax.stop_gradient(xs) @ kernel, params.synapse)
        through = lax.stop_gradient(currents) + (xs - lax.stop_gradient(xs)) @ lax.stop_gradient(
            kernel
        )
        return state, _spikes(own, currents, through, decay, threshold, surrogate)

    return layer._replace(unroll=unroll)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _spikes(own, currents, through, decay, threshold, surrogate):  # type: ignore[no-untyped-def]
    return _forward(own, currents, through, decay, threshold, surrogate)[0]


def _forward(own, currents, through, decay, threshold, surrogate):  # type: ignore[no-untyped-def]
    def step(before, current):  # type: ignore[no-untyped-def]
        u, o = before
        u = decay * u * (1 - o) + current
        o = surrogate(u - threshold)
        return (u, o), (u, o)

    zeros = jnp.zeros_like(currents[0])
    _, (us, spikes) = lax.scan(step, (zeros, zeros), currents)
    return spikes, (us, spikes, decay, threshold, surrogate)


def _backward(own, residuals, direct):  # type: ignore[no-untyped-def]
    us, spikes, decay, threshold, surrogate = residuals
    slopes = surrogate.derivative(us - threshold)

    def step(later, now):  # type: ignore[no-untyped-def]
        # `later` is δᵗ⁺¹ h(uᵗ⁺¹), 0 after the last step.
        later, is_last = later
        direct, u, o, slope = now
        error = (direct - later * decay * u) * slope
        weights = own(error, later * decay * (1 - o), is_last)
        return (error, jnp.zeros((), bool)), (weights, error)

    start = jnp.zeros_like(us[0]), jnp.ones((), bool)
    _, (weights, errors) = lax.scan(step, start, (direct, us, spikes, slopes), reverse=True)
    nothing = jax.tree.map(jnp.zeros_like, (decay, threshold, surrogate))
    return weights, errors, *nothing


_spikes.defvjp(_forward, _backward)
