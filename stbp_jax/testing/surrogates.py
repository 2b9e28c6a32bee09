"""The contract of `Surrogate`, as checks of a user's own."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments
from stbp_jax.surrogates import Surrogate
from stbp_jax.testing import forms, trees


def check_surrogate(
    surrogate: Surrogate,
    *,
    make: Callable[[Any], Surrogate] | None = None,
    tolerance: float = 1e-2,
) -> None:
    """Hold a surrogate to the contract of `Surrogate`.

    - the spike is H(v), 1 from v = 0 on and NaN for NaN, in the dtype of v: float32, bfloat16 and
      float16; its gradient to v is the curve, and its gradient to the width is 0;
    - the curve is finite, at least 0, and highest at v = 0, where `peak` says so;
    - `antiderivative` is its integral, from 0 at -∞ on;
    - `fwhm` is the full width at half of the peak, and `from_fwhm` of the family is its inverse;
    - the width is a leaf, and `vmap` over widths is a loop;
    - with `make`, another width does not trace a program again.

    Args:
      surrogate: the surrogate, of one width for all units.
      make: function from a width to a surrogate, such as `gaussian`; None if there is none.
      tolerance: largest difference between the curve and the slope of `antiderivative`, as a
        fraction of the peak.

    Raises:
      AssertionError: a part of the contract does not hold; the message names it.
      TypeError: `surrogate` is not a `Surrogate`.

    >>> from stbp_jax import gaussian
    >>> check_surrogate(gaussian(0.3), make=gaussian)
    """
    arguments.instance("surrogate", surrogate, Surrogate, "a Surrogate, such as arctan()")
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        _check_spike(surrogate, dtype)
    _check_curve(surrogate, tolerance)
    _check_width(surrogate)
    _check_stack(surrogate)
    if make is not None:
        _check_make(make, surrogate.width)


def _spike(surrogate: Surrogate, v: Any, g: Any) -> Any:
    """The spikes, the curve, and the gradients to the surrogate and to v."""
    spikes, pull = jax.vjp(lambda s, v: s(v), surrogate, v)
    return spikes, surrogate.derivative(v), *pull(g)


_alone, _stacked = trees.quick_jit(_spike), trees.quick_jit(jax.vmap(_spike, (0, None, None)))


@trees.quick_jit
def _curve(surrogate: Surrogate, v: Any) -> Any:
    return surrogate.derivative(v), surrogate.antiderivative(v)


def _check_spike(surrogate: Surrogate, dtype: Any) -> None:
    tiny, kind = float(jnp.finfo(dtype).smallest_normal), jnp.dtype(dtype).name
    v = np.array([-np.inf, -1e4, -0.25, -tiny, 0, tiny, 0.25, 1e4, np.inf, np.nan], dtype)
    g = np.array([1, -2, 4, 0.5, -0.25, 1, 2, -1, 0.5, 1], dtype)  # exact products
    spikes, curve, of_width, of_v = _alone(surrogate, v, g)
    forms.check_array(f"the spikes of {kind} membranes", spikes, v.shape, dtype)
    forms.check_array(f"the curve at {kind} membranes", curve, v.shape, dtype)
    with trees.plainly(f"the spike must be H(v) in {kind}: 0 below 0, 1 from 0 on, NaN for NaN"):
        np.testing.assert_array_equal(_float64(spikes), [0, 0, 0, 0, 1, 1, 1, 1, 1, np.nan])
    with trees.plainly(f"in {kind}, the gradient of a spike to v must be the curve, derivative(v)"):
        np.testing.assert_array_equal(_float64(of_v)[1:-2], (_float64(g) * _float64(curve))[1:-2])
    with trees.plainly("the gradient to the width must be 0: spikes do not depend on it"):
        trees.assert_near(of_width, jax.tree.map(np.zeros_like, of_width), 0)
    with trees.plainly(f"the curve must be finite in {kind}, from -1e4 to 1e4"):
        chex.assert_tree_all_finite(_float64(curve)[1:-2])


def _check_curve(surrogate: Surrogate, tolerance: float) -> None:
    span, peak = 4 * float(surrogate.fwhm), float(surrogate.peak)
    v = np.linspace(-span, span, 4001)
    v[0] = -1e12
    with jax.enable_x64(True):
        curve, integral = trees.host(_curve(trees.like(surrogate, jnp.float64), v))
    if (curve < 0).any():
        raise AssertionError(f"the curve must be at least 0, got {curve.min():g}")
    if not peak > 0:
        raise AssertionError(f"the curve must be above 0 at v = 0, at the threshold, got {peak:g}")
    if curve.max() > peak * (1 + 1e-5):
        raise AssertionError(
            f"the curve must be highest at v = 0, got {curve.max():g} at v = "
            f"{v[curve.argmax()]:g} and {peak:g} at 0"
        )
    if not abs(integral[0]) < 1e-6 * max(1.0, integral[-1]):
        raise AssertionError(f"antiderivative must be 0 at -∞, got {integral[0]:g}")
    slope, middle = (np.diff(integral) / np.diff(v))[1:], (curve[2:] + curve[1:-1]) / 2
    off = np.abs(slope - middle) > tolerance * peak
    if off.sum() > 4:  # a curve may jump
        at = int(np.argmax(off))
        raise AssertionError(
            f"antiderivative must have the curve as its slope, {middle[at]:g} at v = "
            f"{v[at + 1]:g}, got {slope[at]:g}"
        )


def _check_width(surrogate: Surrogate) -> None:
    fwhm, peak = float(surrogate.fwhm), float(surrogate.peak)
    at = np.array([0.499, 0.501], np.float32) * np.float32(fwhm)
    inside, outside = trees.host(_curve(surrogate, at)[0])
    if not inside > peak / 2 * 0.999 or not outside < peak / 2 * 1.001:
        raise AssertionError(
            f"fwhm must be the full width at half of the peak: at v = fwhm / 2 = {fwhm / 2:g} the "
            f"curve must cross {peak / 2:g}, it goes from {inside:g} to {outside:g}"
        )
    window = surrogate.in_window(jnp.asarray(np.concatenate([-at, at])))
    with trees.plainly("in_window must be |v| < fwhm / 2"):
        np.testing.assert_array_equal(window, [True, False, True, False])
    family = surrogate.family
    with trees.plainly("from_fwhm of the family must be the inverse of fwhm"):
        again = family.fwhm(family.from_fwhm(family.fwhm(surrogate.width)))
        np.testing.assert_allclose(_float64(again), fwhm, rtol=1e-5)


def _check_stack(surrogate: Surrogate) -> None:
    if not jax.tree.leaves(surrogate):
        raise AssertionError("the width must be a leaf of the surrogate, so that it can be swept")
    v = jnp.linspace(-1, 1, 8)
    stack = trees.halved(trees.like(surrogate, jnp.float32))
    ones = jnp.ones_like(v)
    found = _stacked(stack, v, ones)
    for k in range(2):
        alone = _alone(trees.pick(stack, k), v, ones)
        with trees.plainly("vmap over widths must be a loop, (spikes, curve, gradients)"):
            trees.assert_near(trees.pick(found, k), alone, 1e-5)


def _check_make(make: Callable[[Any], Surrogate], width: Any) -> None:
    stack = trees.halved(width)
    forms: list[Any] = [jax.tree.structure(make(trees.pick(stack, k))) for k in range(2)]
    if forms[0] != forms[1]:
        raise AssertionError(
            "another width must not trace a program again: make must give surrogates of one "
            "family, so define the Family once, outside of it"
        )
    with trees.plainly("vmap(make)(widths) must be a stack of surrogates"):
        trees.assert_same(trees.pick(jax.vmap(make)(stack), 0), make(trees.pick(stack, 0)))


def _float64(x: Any) -> np.ndarray:
    return np.asarray(x, np.float64)
