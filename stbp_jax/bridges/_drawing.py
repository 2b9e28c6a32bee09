"""Whether a network draws random numbers, so that a module needs a stream of keys for it."""

from typing import Any

import jax

from stbp_jax.core import Layer, Params, Shape


def draws(net: Layer, params: Params, shape: Shape) -> bool:
    """Whether the state at rest depends on the key, for time slices of shape `[B, *in]`.

    Nothing is computed: the program of `initial_state` is read from its results to its inputs.
    """

    def start(key: Any) -> Any:
        return net.initial_state(params, shape, key=key)[0]

    program = jax.make_jaxpr(start)(jax.random.key(0)).jaxpr
    # A literal has an identity too, and is the result of no equation.
    needed = {id(x) for x in program.outvars}
    for equation in reversed(program.eqns):
        if any(id(x) in needed for x in equation.outvars):
            needed |= {id(x) for x in equation.invars}
    return id(program.invars[0]) in needed
