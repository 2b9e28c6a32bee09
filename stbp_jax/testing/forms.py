"""Checks that neurons and layers share: the forms of states, of steps and of programs."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax.testing import trees

_SHORT, _LONG = 12, 48  # steps


def check_draw(init: Callable[[Any], Any]) -> None:
    """Raise unless `init` draws arrays, the same ones for the same key."""
    params, again = (init(jax.random.key(0)) for _ in range(2))
    for name, leaf in trees.leaves(params):
        if not isinstance(leaf, np.ndarray | np.generic | jax.Array):
            raise AssertionError(f"init must give arrays, got {leaf!r}{name}")
    with trees.plainly("init must give the same parameters for the same key"):
        trees.assert_same(again, params)


def check_leads_with_batch(state: Any, batch: int) -> None:
    """Raise unless every array of a state leads with B."""
    with trees.plainly(
        f"initial_state must give arrays that lead with B = {batch}, so that examples can restart"
    ):
        chex.assert_tree_shape_prefix(jax.tree.map(jnp.asarray, state), (batch,))


def check_carried(function: str, before: Any, after: Any) -> None:
    """Raise unless a state keeps its structure, shapes and dtypes.

    Args:
      function: the name of the function that carries the state.
      before: the state that enters.
      after: the state that leaves.
    """
    with trees.plainly(f"{function} must keep the structure of the state, which lax.scan carries"):
        chex.assert_trees_all_equal_structs(after, before)
    with trees.plainly(f"{function} must keep the shapes and dtypes of the state"):
        chex.assert_trees_all_equal_shapes_and_dtypes(after, before)


def check_pair(function: str, found: Any) -> tuple[Any, Any]:
    """Return `(state, out)`; raise unless a function gives such a pair."""
    if not (isinstance(found, tuple | list) and len(found) == 2):
        raise AssertionError(f"{function} must return (state, out), got {found}")
    return found[0], found[1]


def check_array(what: str, array: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise unless an array has a shape and a dtype."""
    if (tuple(array.shape), array.dtype) != (tuple(shape), jnp.dtype(dtype)):
        raise AssertionError(
            f"{what} must be {jnp.dtype(dtype)}{list(shape)}, got {array.dtype}{list(array.shape)}"
        )


def check_gradient_forms(unroll: Callable[..., Any], *args: Any) -> None:
    """Raise unless the gradients to (params, state, xs) have the forms of these."""
    grads = jax.eval_shape(lambda *given: trees.pulled(unroll, *given), *args)
    for kind, grad, of in zip(("params", "state", "inputs"), grads, args, strict=True):
        for (name, got), wanted in zip(trees.leaves(grad), jax.tree.leaves(of), strict=True):
            if jnp.issubdtype(wanted.dtype, jnp.inexact):
                check_array(f"the gradient to {kind}{name}", got, wanted.shape, wanted.dtype)


def of_outputs(pull: Callable[..., Any], out: Any) -> Any:
    """Return the gradients of a random function of the outputs, without the last state.

    Args:
      pull: the gradient of an unroll, from `jax.vjp`.
      out: `(last state, outputs)`.
    """
    return pull((jax.tree.map(zero_cotangent, out[0]), trees.random_like(out[1], 2)))


def zero_cotangent(x: Any) -> Any:
    """Return the cotangent 0 of an array, in the dtype that JAX expects."""
    inexact = jnp.issubdtype(x.dtype, jnp.inexact)
    return jnp.zeros_like(x) if inexact else np.zeros(x.shape, jax.dtypes.float0)


def check_gradient_reaches(grads: Any, params: Any) -> None:
    """Raise if a parameter, or all inputs, have no gradient, or one that is not finite.

    Args:
      grads: gradients of the outputs to (params, state, inputs).
      params: the parameters.
    """
    of_params, _, of_inputs = grads
    floats = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(params)]
    found = [pair for pair, f in zip(trees.leaves(of_params), floats, strict=True) if f]
    named = [(f"the parameter{name}", leaf) for name, leaf in found]
    for what, leaf in [*named, ("the inputs", of_inputs)]:
        with trees.plainly(f"the gradient to {what} is not finite"):
            chex.assert_tree_all_finite(leaf)
        if leaf.size and not np.any(np.asarray(leaf)):
            raise AssertionError(
                f"no gradient reaches {what}: is the output a step function without a surrogate, "
                "or do the inputs keep all units away from the threshold?"
            )


def floats(grads: Any) -> Any:
    """Return the gradients to floats; those to integers are empty."""

    def without(leaf: Any) -> Any:
        return np.zeros(()) if leaf.dtype == jax.dtypes.float0 else leaf

    return jax.tree.map(without, grads)


def check_traces_once(step: Callable[..., Any], params: Any, state: Any, xs: Any) -> None:
    """Raise if a stream, which carries the state from call to call, compiles `step` again."""
    traces = 0

    def counted(params: Any, state: Any, x: Any) -> Any:
        nonlocal traces
        traces += 1
        return step(params, state, x)

    once = trees.quick_jit(counted)
    for x in trees.host(xs):
        state, _ = once(params, state, x)
    if traces > 1:
        raise AssertionError(
            f"jit of step traces {traces} times for {len(xs)} steps: the state that it returns "
            "must have the dtypes, and no weaker types, of the state at rest"
        )


def check_program_size(unroll: Callable[..., Any], args: Callable[[int], Any]) -> None:
    """Raise if the program of `unroll` grows with T, as that of a Python loop does.

    Args:
      unroll: `(params, state, xs) -> (state, outs)`.
      args: function from T to the arguments.
    """
    short, long = (_count(jax.make_jaxpr(unroll)(*args(steps)).jaxpr) for steps in (_SHORT, _LONG))
    if long > 3 * short:
        raise AssertionError(
            f"the program of unroll grows with T, from {short} operations for {_SHORT} steps to "
            f"{long} for {_LONG}: use lax.scan in place of a Python loop"
        )


def _count(jaxpr: Any) -> int:
    """The number of operations of a program, those of its inner programs included."""
    inner = [
        getattr(part, "jaxpr", part)
        for equation in jaxpr.eqns
        for value in equation.params.values()
        for part in (value if isinstance(value, list | tuple) else [value])
    ]
    return len(jaxpr.eqns) + sum(_count(part) for part in inner if hasattr(part, "eqns"))
