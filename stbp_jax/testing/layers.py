"""The contract of `Layer`, as checks of a user's own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments, calls
from stbp_jax.core import Array, Layer, Params, Shape, State
from stbp_jax.layers import apply, stepwise
from stbp_jax.readouts import rate
from stbp_jax.testing import forms, trees

_STEPS, _BATCH, _RESTART = 4, 2, 2
_LATER = (
    "outputs must not depend on later inputs; a synapse sees T folded into B, so that a function "
    "over axis 0, such as a mean, mixes examples and steps"
)


class _Case(NamedTuple):
    """A layer, and what its unroll takes."""

    layer: Layer
    tolerance: float
    key: Array | None
    params: Params
    state: State
    xs: Any


def check_layer(
    layer: Layer,
    shape: Shape,
    *,
    key: Array | None = None,
    params: Params | None = None,
    xs: Array | None = None,
    tolerance: float = 1e-5,
) -> None:
    """Hold a layer or a network to the contract of `Layer`.

    - `init` gives the same parameters for the same key; shapes are as `init` and `initial_state`
      announce them; the arrays of a state lead with B, and `step` keeps their shapes and dtypes;
    - `unroll` equals the loop of `step`, in values and in gradients, which reach the inputs and all
      parameters; its program does not grow with T;
    - outputs depend neither on later inputs nor on other examples, so that a mask over padded steps
      hides them; a batch may be empty, in float32 and in bfloat16;
    - with `is_first`, an example enters the step at rest and keeps what was drawn;
    - `unroll_with_stats` changes nothing; its statistics are those of `LayerStats`, and with a mask
      those of the steps where it is set;
    - `vmap` over the parameters is a loop, and a stream traces `step` once.

    Args:
      layer: the layer or network.
      shape: shape of one input, without T and B.
      key: for layers that draw random numbers (dropout); None turns them off.
      params: parameters for the checks; None draws them.
      xs: inputs `[4, 2, *shape]`; None for multiples of 1/4 in [-1, 1]. They must drive the layer.
      tolerance: largest difference, relative to the largest number of an array; 0 for equality bit
        for bit, which needs weights, decays and inputs whose sums are exact.

    Raises:
      AssertionError: a part of the contract does not hold; the message names it.
      TypeError: `layer` is not a `Layer`.
      ValueError: `xs` of another shape.

    >>> from stbp_jax import dense, lif
    >>> check_layer(dense(3, lif(decay=0.5)), (4,))
    """
    arguments.instance("layer", layer, Layer, "a Layer, such as dense(10)")
    shape = arguments.shape("shape", shape)
    forms.check_draw(lambda key: layer.init(key, shape)[0])
    drawn, out_shape = layer.init(jax.random.key(1), shape)
    params = drawn if params is None else params
    if xs is None:
        quarters = np.random.default_rng(4).integers(-4, 5, (_STEPS, _BATCH, *shape)) / 4
        xs = jnp.asarray(quarters, jnp.float32)
    if jnp.shape(xs) != (_STEPS, _BATCH, *shape):
        raise ValueError(
            f"xs must have shape {[_STEPS, _BATCH, *shape]}, got {list(jnp.shape(xs))}"
        )
    _check_forms(layer, shape, tuple(out_shape), params, key)
    state, _ = layer.initial_state(params, xs.shape[1:], key=key)
    case = _Case(layer, tolerance, key, params, state, xs)
    _check_schedules(case)
    _check_vmap(case)
    forms.check_traces_once(layer.step, params, state, xs)


def _check_forms(
    layer: Layer, shape: Shape, out_shape: Shape, params: Params, key: Array | None
) -> None:
    for dtype, batch in ((jnp.float32, 3), (jnp.bfloat16, 3), (jnp.float32, 0)):
        with trees.plainly(f"with B = {batch}, in {jnp.dtype(dtype).name}:"):
            _check_form(layer, shape, out_shape, trees.like(params, dtype), key, batch, dtype)
    state, _ = layer.initial_state(params, (3, *shape), key=key)
    forms.check_program_size(
        layer.unroll, lambda steps: (params, state, jnp.zeros((steps, 3, *shape)))
    )


def _check_form(
    layer: Layer,
    shape: Shape,
    out_shape: Shape,
    params: Params,
    key: Array | None,
    batch: int,
    dtype: Any,
) -> None:
    state, announced = layer.initial_state(params, (batch, *shape), key=key)
    if tuple(announced) != (batch, *out_shape):
        raise AssertionError(
            f"initial_state must announce the output shape {[batch, *out_shape]}, as init "
            f"does, got {list(announced)}"
        )
    forms.check_leads_with_batch(state, batch)
    if not jax.tree.leaves(params):  # the dtype of such a state follows no parameter
        floats = [s.dtype for s in jax.tree.leaves(state) if jnp.issubdtype(s.dtype, jnp.inexact)]
        dtype = jnp.result_type(dtype, *floats)
    x = jax.ShapeDtypeStruct((batch, *shape), dtype)
    xs = jax.ShapeDtypeStruct((_STEPS, batch, *shape), dtype)
    after, y = jax.eval_shape(layer.step, params, state, x)
    forms.check_carried("step", state, after)
    forms.check_array("the output of step", y, (batch, *out_shape), dtype)
    after, ys = jax.eval_shape(layer.unroll, params, state, xs)
    forms.check_carried("unroll", state, after)
    forms.check_array("the output of unroll", ys, (_STEPS, batch, *out_shape), dtype)
    forms.check_gradient_forms(layer.unroll, params, state, xs)


def _check_schedules(c: _Case) -> None:
    layer = c.layer

    @trees.quick_jit
    def unroll(params: Params, state: State, xs: Array) -> Any:
        """Values, gradients, and the gradient of each output [t, b] to all inputs."""
        out, pull = jax.vjp(layer.unroll, params, state, xs)
        weights = trees.random_like(out[1], 2)
        zeros = jax.tree.map(forms.zero_cotangent, out[0])
        basis = jnp.eye(_STEPS * _BATCH, dtype=weights.dtype)
        basis = basis.reshape((-1, _STEPS, _BATCH, *[1] * (weights.ndim - 2))) * weights[None]
        flow = jax.vmap(lambda bar: pull((zeros, bar))[2])(basis)
        return out, forms.floats(pull(trees.random_like(out, 1))), flow

    @trees.quick_jit
    def other_ways(params: Params, state: State, xs: Array, is_first: Array) -> Any:
        """Gradients of the scan of `step`, statistics, the run from rest, and restarts."""
        out, pull = jax.vjp(stepwise(layer).unroll, params, state, xs)
        return (
            forms.floats(pull(trees.random_like(out, 1))),
            forms.floats(forms.of_outputs(pull, out)),
            calls.unroll_with_stats(layer, params, state, xs),
            _masked_and_short(layer, params, state, xs),
            apply(layer, params, xs, key=c.key),
            [
                calls.unroll_layer(one, params, state, xs, is_first)
                for one in (layer, stepwise(layer))
            ],
            layer.unroll(params, state, xs[_RESTART:]),
        )

    out, grads, flow = unroll(c.params, c.state, c.xs)
    _check_future(c, out[1], unroll)
    _check_flow(flow)
    step = trees.quick_jit(layer.step)
    state, outs = c.state, []
    for x in trees.host(c.xs):
        state, y = step(c.params, state, x)
        outs.append(y)
    _compare(c, out, (state, jnp.stack(outs)), "unroll must be the loop of step")

    is_first = jnp.zeros((_STEPS, _BATCH), bool).at[_RESTART, 0].set(True)
    found = other_ways(c.params, c.state, c.xs, is_first)
    wanted_grads, of_outputs, stats, (masked, short), from_rest, restarted, late = found
    with trees.plainly("unroll must have the gradient of the loop of step, (params, state, xs)"):
        trees.assert_near(grads, wanted_grads, max(c.tolerance, 1e-5))
    forms.check_gradient_reaches(of_outputs, c.params)
    _compare(c, from_rest, out, "apply must run the layer from rest")
    _check_stats(c, stats, out)
    _compare(c, masked, short, "statistics under a mask must not depend on padded steps")
    _check_restarts(c, out, late, restarted)


def _masked_and_short(layer: Layer, params: Params, state: State, xs: Any) -> tuple[Any, Any]:
    """The statistics under a mask of the first steps, and those of a run that ends there."""
    mask = jnp.broadcast_to(jnp.arange(_STEPS)[:, None] < _RESTART, (_STEPS, _BATCH))
    masked = calls.unroll_with_stats(layer, params, state, xs, None, mask)
    return masked[2], calls.unroll_with_stats(layer, params, state, xs[:_RESTART])[2]


def _check_stats(c: _Case, found: Any, out: Any) -> None:
    state, outs, reports = found
    _compare(c, (state, outs), out, "unroll_with_stats must change nothing")
    for report in reports:
        for name in ("in_window", "operations"):
            forms.check_array(f"{name} of the statistics", getattr(report, name), (), jnp.float32)
        for name in ("in_window", "firing_rate"):
            share = np.asarray(getattr(report, name))
            if ((share < 0) | (share > 1)).any():  # an unknown number is NaN
                raise AssertionError(f"{name} of the statistics must lie in [0, 1], got {share}")


def _check_restarts(c: _Case, out: Any, late: Any, restarted: Any) -> None:
    """Example 0 restarts at one step: it equals the plain run before it, and a run from rest."""
    (plain_last, plain), (late_last, after) = trees.host((out, late))
    wanted = plain.copy()
    wanted[_RESTART:, 0] = after[:, 0]
    last = jax.tree.map(
        lambda plain, late: np.concatenate([late[:1], plain[1:]]), plain_last, late_last
    )
    for schedule, found in zip(("unroll", "step"), restarted, strict=True):
        message = f"{schedule} must put examples at rest where is_first is set, and no others"
        _compare(c, found, (last, wanted), message)


def _check_flow(flow: Any) -> None:
    size = _STEPS, _BATCH, _STEPS, _BATCH, -1
    flow = np.abs(np.asarray(flow, np.float64)).reshape(size).max(-1)  # [t, b, t', b']
    for t, b in np.ndindex(_STEPS, _BATCH):
        if flow[t, b, t + 1 :].any():
            raise AssertionError(f"outputs at step {t} must not have gradients to later inputs")
        if np.delete(flow[t, b], b, axis=1).any():
            raise AssertionError("examples must not have gradients to each other")


def _check_future(c: _Case, outs: Any, unroll: Any) -> None:
    """Values too: a surrogate could hide a leak from the gradients."""
    xs, wanted = trees.host((c.xs, outs))
    later = np.concatenate([xs[:_RESTART], -xs[_RESTART:]])
    (_, found), _, _ = unroll(c.params, c.state, later)
    _compare(c, found[:_RESTART], wanted[:_RESTART], _LATER)
    mask = np.arange(_STEPS)[:, None] < np.full(_BATCH, _RESTART)
    padded, plain = (rate(jnp.asarray(one), mask=jnp.asarray(mask)) for one in (found, wanted))
    _compare(c, padded, plain, "scores under a mask must not depend on padded steps")
    others = -xs
    others[:, 0] = xs[:, 0]
    (_, found), _, _ = unroll(c.params, c.state, others)
    _compare(c, found[:, 0], wanted[:, 0], "examples must not depend on each other")


def _check_vmap(c: _Case) -> None:
    if not jax.tree.leaves(c.params):
        return
    many = trees.halved(c.params)
    alone = trees.quick_jit(c.layer.unroll)
    found = trees.quick_jit(jax.vmap(c.layer.unroll, (0, None, None)))(many, c.state, c.xs)
    for k in range(2):
        wanted = alone(trees.pick(many, k), c.state, c.xs)
        _compare(c, trees.pick(found, k), wanted, "vmap over params must be a loop")


def _compare(c: _Case, got: Any, wanted: Any, message: str) -> None:
    trees.assert_equal(got, wanted, c.tolerance, message)
