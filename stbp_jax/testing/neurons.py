"""The contract of `Neuron`, as checks of a user's own."""

import contextlib
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments
from stbp_jax.core import Neuron, Params, Shape, State, Unroll, scan
from stbp_jax.testing import forms, trees

_STEPS, _BATCH = 4, 3


class _Case(NamedTuple):
    """A neuron, and what its unroll takes: the state is one in the middle of a run."""

    neuron: Neuron
    units: Shape
    tolerance: float
    params: Params
    state: State
    currents: Any
    is_first: Any


def check_neuron(
    neuron: Neuron,
    *,
    units: Shape = (5,),
    params: Params | None = None,
    currents: tuple[float, float] = (-0.25, 0.75),
    tolerance: float = 1e-5,
) -> None:
    """Hold a neuron to the contract of `Neuron`.

    - `init` gives the same parameters for the same key;
    - the arrays of a state lead with B, and `step` keeps their shapes and dtypes, in float32 and
      bfloat16;
    - `unroll` equals the loop of `step`, in values and in gradients, which reach the currents and
      all parameters; its program does not grow with T;
    - with `is_first`, an example enters the step at rest; an `unroll` may refuse it by a
      NotImplementedError;
    - examples are independent, a batch may be empty, `vmap` is a loop;
    - a stream traces `step` once;
    - spikes are 0 or 1, and `probe` has the shape of the units.

    Args:
      neuron: the neuron.
      units: shape of its population, without B.
      params: parameters for the checks; None draws them.
      currents: lowest and highest current, multiples of 1/256. A spiking neuron must fire.
      tolerance: largest difference, relative to the largest number of an array; 0 for equality bit
        for bit, which needs decays that are powers of two.

    Raises:
      AssertionError: a part of the contract does not hold; the message names it.
      TypeError: `neuron` is not a `Neuron`, or its `step`, of `make_neuron`, does not return
        `(state, out)`.

    >>> from stbp_jax import lif
    >>> check_neuron(lif(decay=0.5))
    """
    arguments.instance("neuron", neuron, Neuron, "a Neuron, such as lif()")
    units = arguments.shape("units", units)
    forms.check_draw(lambda key: neuron.init(key, units))
    if params is None:
        params = neuron.init(jax.random.key(1), units)
    _check_forms(neuron, units, params)
    case = _case(neuron, units, params, currents, tolerance)
    _check_schedules(case)
    _check_examples(case)
    _check_vmap(case)
    _check_probe(case)
    rest = neuron.initial_state((_BATCH, *units), jnp.float32)
    forms.check_traces_once(neuron.step, params, rest, case.currents)


def _check_forms(neuron: Neuron, units: Shape, params: Params) -> None:
    for dtype in (jnp.float32, jnp.bfloat16):
        shape = (_BATCH, *units)
        typed = trees.like(params, dtype)
        state = neuron.initial_state(shape, dtype)
        forms.check_leads_with_batch(state, _BATCH)

        def slices(*leading: int, shape: Shape = shape, dtype: Any = dtype) -> Any:
            return jax.ShapeDtypeStruct((*leading, *shape), dtype)

        after, out = forms.check_pair("step", jax.eval_shape(neuron.step, typed, state, slices()))
        forms.check_carried("step", state, after)
        forms.check_array("the output of step", out, shape, dtype)
        after, outs = forms.check_pair(
            "unroll", jax.eval_shape(neuron.unroll, typed, state, slices(_STEPS))
        )
        forms.check_carried("unroll", state, after)
        forms.check_array("the output of unroll", outs, (_STEPS, *shape), dtype)
        forms.check_gradient_forms(neuron.unroll, typed, state, slices(_STEPS))
    rest = neuron.initial_state(shape, jnp.float32)
    forms.check_program_size(
        neuron.unroll,
        lambda steps: (params, rest, jnp.zeros((steps, *shape))),
    )
    with trees.plainly("a batch may be empty"):
        empty = neuron.initial_state((0, *units), jnp.float32)
        after, outs = jax.eval_shape(neuron.unroll, params, empty, jnp.zeros((_STEPS, 0, *units)))
        forms.check_carried("unroll", empty, after)
        forms.check_array("the output of unroll", outs, (_STEPS, 0, *units), jnp.float32)


def _case(
    neuron: Neuron, units: Shape, params: Params, between: tuple[float, float], tolerance: float
) -> _Case:
    rng = np.random.default_rng(4)
    drawn = trees.dyadic(rng, *between, (_STEPS + 2, _BATCH, *units))
    before, currents = jnp.split(trees.like(drawn, jnp.float32), [2])
    rest = neuron.initial_state((_BATCH, *units), jnp.float32)
    state, _ = trees.loop(neuron.step, params, rest, before)
    is_first = jnp.arange(_STEPS * _BATCH).reshape((_STEPS, _BATCH)) % 5 == 1
    return _Case(neuron, units, tolerance, params, state, currents, is_first)


def _check_schedules(c: _Case) -> None:
    def run(params: Params, state: State, currents: Any, *is_first: Any) -> Any:
        """Values and gradients of `unroll`, then of the scan of `step`, then of its outputs."""
        found = []
        for unroll in (c.neuron.unroll, scan(c.neuron.step, c.neuron.initial_state)):
            with_restarts = functools.partial(_with_restarts, unroll, is_first)
            out, pull = jax.vjp(with_restarts, params, state, currents)
            found += [out, forms.floats(pull(trees.random_like(out, 1)))]
        return *found, None if is_first else forms.floats(forms.of_outputs(pull, out))

    compiled = trees.quick_jit(run)
    out, grads, _, wanted_grads, of_outputs = compiled(c.params, c.state, c.currents)
    wanted = trees.loop(c.neuron.step, c.params, c.state, c.currents)
    _compare(c, out, wanted, "unroll must be the loop of step")
    if c.neuron.spiking:
        _check_spikes(wanted[1])
    _compare_grads(c, grads, wanted_grads, "unroll must have the gradient of the loop of step")
    forms.check_gradient_reaches(of_outputs, c.params)

    with contextlib.suppress(NotImplementedError):
        out, grads, wanted, wanted_grads, _ = compiled(c.params, c.state, c.currents, c.is_first)
        _compare(c, out, wanted, "unroll must put examples at rest where is_first is set")
        message = "the gradient of unroll must not cross a restart, and must cross all else"
        _compare_grads(c, grads, wanted_grads, message)


def _with_restarts(unroll: Unroll, is_first: Any, *args: Any) -> Any:
    return unroll(*args, *is_first)


def _compare_grads(c: _Case, got: Any, wanted: Any, message: str) -> None:
    with trees.plainly(f"{message}, (params, state, currents)"):
        trees.assert_near(got, wanted, max(c.tolerance, 1e-5))


def _check_spikes(outs: Any) -> None:
    values = np.unique(np.asarray(outs, np.float64))
    if not np.isin(values, (0, 1)).all():
        raise AssertionError(
            f"a spiking neuron must give 0 or 1, got {values[~np.isin(values, (0, 1))][0]:g}; "
            "set spiking=False for other outputs"
        )
    if 1 not in values:
        raise AssertionError("the neuron never fires: pass currents=(low, high) that make it fire")


def _check_examples(c: _Case) -> None:
    with jax.disable_jit():
        last, outs = c.neuron.unroll(c.params, c.state, c.currents)
        for i in range(_BATCH):
            one = trees.pick(c.state, slice(i, i + 1))
            got = c.neuron.unroll(c.params, one, c.currents[:, i : i + 1])
            wanted = trees.pick(last, slice(i, i + 1)), outs[:, i : i + 1]
            _compare(c, got, wanted, "examples must not depend on each other")


def _check_vmap(c: _Case) -> None:
    many, currents = trees.halved(c.params), jnp.stack([c.currents, c.currents[::-1]])
    with jax.disable_jit():
        got = jax.vmap(c.neuron.unroll, (0, None, 0))(many, c.state, currents)
        for k in range(2):
            wanted = c.neuron.unroll(trees.pick(many, k), c.state, currents[k])
            _compare(c, trees.pick(got, k), wanted, "vmap over params and currents must be a loop")


def _check_probe(c: _Case) -> None:
    if c.neuron.probe is None:
        return
    probe = c.neuron.probe(c.params, c.state)
    shape = (_BATCH, *c.units)
    for name, dtype in (("distance", jnp.float32), ("slope", jnp.float32), ("in_window", bool)):
        forms.check_array(f"probe's {name}", getattr(probe, name), shape, dtype)


def _compare(c: _Case, got: Any, wanted: Any, message: str) -> None:
    trees.assert_equal(got, wanted, c.tolerance, message)
