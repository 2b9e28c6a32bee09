"""Surrogate curves: the table of PAPER.md, extreme values, and widths as leaves."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax.surrogates import Family
from stbp_jax.testing import check_surrogate
from tests import reference as ref
from tests.contracts import quick_jit

# name: factory, its argument's name, that of the reference
FAMILIES = {
    "rectangular": (sj.rectangular, "width", "h1"),
    "polynomial": (sj.polynomial, "width", "h2"),
    "sigmoid": (sj.sigmoid, "width", "h3"),
    "gaussian": (sj.gaussian, "width", "h4"),
    "arctan": (sj.arctan, "alpha", "arctan"),
    "superspike": (sj.superspike, "alpha", "superspike"),
}
# PAPER.md, "Curves, numbers to test against"; half_support None is infinite. Arctan (Fang et al.
# 2021) and superspike (Zenke & Ganguli 2018) by hand from their formulas.
TABLE: dict[str, dict[str, Callable[[float], float | None]]] = {
    "rectangular": {
        "integral": lambda a: 1,
        "peak": lambda a: 1 / a,
        "half_support": lambda a: a / 2,
        "fwhm": lambda a: a,
    },
    "polynomial": {
        "integral": lambda a: 1,
        "peak": lambda a: np.sqrt(a) / 2,
        "half_support": lambda a: 2 / np.sqrt(a),
        "fwhm": lambda a: 2 / np.sqrt(a),
    },
    "sigmoid": {
        "integral": lambda a: 1,
        "peak": lambda a: 1 / (4 * a),
        "half_support": lambda a: None,
        "fwhm": lambda a: 3.5255 * a,
    },
    "gaussian": {
        "integral": lambda a: 1,
        "peak": lambda a: 1 / np.sqrt(2 * np.pi * a),
        "half_support": lambda a: None,
        "fwhm": lambda a: 2.3548 * np.sqrt(a),
    },
    "arctan": {
        "integral": lambda a: 1,
        "peak": lambda a: a / 2,
        "half_support": lambda a: None,
        "fwhm": lambda a: 4 / (np.pi * a),
    },
    "superspike": {
        "integral": lambda a: 2 / a,
        "peak": lambda a: 1,
        "half_support": lambda a: None,
        "fwhm": lambda a: 2 * (np.sqrt(2) - 1) / a,
    },
}
WIDTHS = (0.3, 1.0, 2.5)
DTYPES = (jnp.float16, jnp.bfloat16, jnp.float32)
each_family = pytest.mark.parametrize("name", FAMILIES)
each_width = pytest.mark.parametrize("width", WIDTHS)


def make(name: str, width: Any) -> sj.Surrogate:
    return FAMILIES[name][0](width)


POINTS = 2**16


@functools.cache
def _curve(name: str) -> Callable[..., Any]:
    """h and its antiderivative at POINTS values, for any width."""
    return quick_jit(lambda a, v: (make(name, a).derivative(v), make(name, a).antiderivative(v)))


def curve(name: str, width: float, v: Any) -> tuple[np.ndarray, np.ndarray]:
    """H and its antiderivative in float64, of as many values as there are."""
    v = np.asarray(v, np.float64)
    with jax.enable_x64(True):
        h, integral = _curve(name)(width, np.pad(v.ravel(), (0, POINTS - v.size)))
    return tuple(np.asarray(x)[: v.size].reshape(v.shape) for x in (h, integral))


# The table ----------------------------------------------------------------------------------------


@each_width
@each_family
def test_the_curve_is_its_formula(name: str, width: float) -> None:
    v = np.linspace(-4, 4, 801) + 1e-4  # no point on a corner
    h, integral = curve(name, width, v)
    wanted = ref.CURVES[FAMILIES[name][2]]
    np.testing.assert_allclose(h, wanted.h(v, width), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(integral, wanted.integral(v, width), rtol=1e-10, atol=1e-14)


@each_width
@each_family
def test_integral(name: str, width: float) -> None:
    wanted = TABLE[name]["integral"](width)
    # v = s / (1 - s^2) maps the line to (-1, 1): superspike and arctan have heavy tails.
    s = 2 * (np.arange(POINTS) + 0.5) / POINTS - 1
    h, _ = curve(name, width, s / (1 - s**2))
    total = (h * (1 + s**2) / (1 - s**2) ** 2).sum() * 2 / POINTS
    assert abs(total - wanted) < 5e-4 * wanted
    ends = curve(name, width, [-1e12, 1e12])[1]
    np.testing.assert_allclose(ends, [0, wanted], atol=1e-9)


@each_width
@each_family
def test_peak_support_and_fwhm(name: str, width: float) -> None:
    row, surrogate = TABLE[name], make(name, width)
    v = np.arange(-1000, 1001) / 200  # exactly even
    h = curve(name, width, v)[0]
    np.testing.assert_allclose(h.max(), row["peak"](width), rtol=1e-12)
    np.testing.assert_allclose(h[1000], row["peak"](width), rtol=1e-12)
    np.testing.assert_allclose(surrogate.peak, row["peak"](width), rtol=1e-6)
    np.testing.assert_allclose(h, h[::-1], rtol=1e-10)  # even

    edge = row["half_support"](width)
    if edge is None:
        assert (h > 0).all()
    else:
        inside, *outside = curve(name, width, edge * np.array([1 - 1e-6, 1, -1, 1 + 1e-6]))[0]
        assert inside > 0
        assert outside == [0, 0, 0]  # the window is open

    low, high = 0.0, 50.0
    for _ in range(3):  # narrows in on the last point above half the peak
        grid = np.linspace(low, high, POINTS)
        last = np.flatnonzero(curve(name, width, grid)[0] > row["peak"](width) / 2)[-1]
        low, high = grid[last], grid[last + 1]
    np.testing.assert_allclose(2 * low, row["fwhm"](width), rtol=2e-5)  # the table's digits
    np.testing.assert_allclose(surrogate.fwhm, 2 * low, rtol=1e-9)
    inside = surrogate.in_window(jnp.array([0.999, -0.999, 1.001, -1.001]) * low)
    np.testing.assert_array_equal(inside, [True, True, False, False])


@each_width
@each_family
def test_the_antiderivative_is_one(name: str, width: float) -> None:
    step = 1e-6
    v = np.linspace(-3, 3, 301) + 1e-3
    corners = np.array(ref.CURVES[FAMILIES[name][2]].corners(width))
    v = v[(np.abs(v[:, None] - corners[None]) > 2 * step).all(1)]
    above, below = (curve(name, width, v + d)[1] for d in (step, -step))
    h = curve(name, width, v)[0]
    np.testing.assert_allclose((above - below) / (2 * step), h, rtol=0, atol=2e-8)


def test_equal_widths_of_the_paper() -> None:
    """PAPER.md: equal FWHM to h1 at a1 = 1 needs a2 = 4, a3 = .284, a4 = .180."""
    widths = [sj.matched(FAMILIES[n][0], 1.0).width for n in list(FAMILIES)[:4]]
    np.testing.assert_allclose(widths, [1, 4, 0.284, 0.180], atol=5e-4)


@each_family
def test_matched_has_the_fwhm_asked_for(name: str) -> None:
    for fwhm in (0.2, 1.0, 3.0):
        np.testing.assert_allclose(sj.matched(FAMILIES[name][0], fwhm).fwhm, fwhm, rtol=1e-12)
    stack = jax.vmap(functools.partial(sj.matched, FAMILIES[name][0]))(jnp.array([0.2, 3.0]))
    np.testing.assert_allclose(stack.fwhm, [0.2, 3.0], rtol=1e-6)


# The spike ----------------------------------------------------------------------------------------


@functools.cache
def everything(name: str, dtype: Any) -> Callable[..., Any]:
    """Spikes, curve, and gradients to v and to the width, for any width."""

    @quick_jit
    def run(width: Any, v: Any, g: Any) -> Any:
        spikes, pull = jax.vjp(lambda v, width: make(name, width)(v), v, width)
        return spikes, make(name, width).derivative(v), *pull(g)

    return lambda width, v, g: run(width, jnp.asarray(v, dtype), jnp.asarray(g, dtype))


def float64(x: Any) -> np.ndarray:
    return np.asarray(x, np.float64)


@each_family
def test_contract(name: str) -> None:
    check_surrogate(make(name, 0.8), make=FAMILIES[name][0])


@pytest.mark.parametrize("dtype", DTYPES)
@each_family
def test_extremes_are_finite(name: str, dtype: Any) -> None:
    for width in (0.05, 1.0, 25.0):
        *values, width_bar = everything(name, dtype)(width, [-1e4, -1, 0, 1, 1e4], np.ones(5))
        assert float(width_bar) == 0
        for value in values:
            assert value.dtype == dtype
            assert np.isfinite(float64(value)).all()
        _, h, gradient = map(float64, values)
        np.testing.assert_array_equal(h, gradient)
        assert (h >= 0).all()
        assert (h[[0, -1]] < 1e-5).all()


@pytest.mark.parametrize("dtype", DTYPES)
@each_family
def test_the_antiderivative_ends_at_the_integral(name: str, dtype: Any) -> None:
    run = quick_jit(lambda width, v: make(name, width).antiderivative(v))
    for width in (0.05, 1.0, 25.0):
        got = run(width, jnp.array([-1e4, 0.0, 1e4], dtype))
        total = TABLE[name]["integral"](width)
        assert got.dtype == dtype
        np.testing.assert_allclose(float64(got), [0, total / 2, total], atol=0.01 * total)


# Widths are leaves --------------------------------------------------------------------------------


def test_classes_of_equal_fields_are_different_trees() -> None:
    """Trees of registered dataclasses are not on jax 0.10: a program of another class might run."""

    def made(height: float) -> type[sj.Surrogate]:
        @dataclasses.dataclass(frozen=True)
        class Constant(sj.Surrogate):
            def derivative(self, v):
                return jnp.full_like(v, height)

        return Constant

    surrogates = [made(float(height))(1.0, sj.gaussian().family) for height in range(8)]
    trees = [jax.tree.structure(surrogate) for surrogate in surrogates]
    assert all(one != other for one, other in itertools.combinations(trees, 2))
    slope = jax.jit(lambda surrogate, v: surrogate.derivative(v))
    assert [float(slope(surrogate, 0.5)) for surrogate in surrogates] == list(range(8))
    (path,) = (path for path, _ in jax.tree.leaves_with_path(surrogates[0]))
    assert jax.tree_util.keystr(path) == ".width"


def test_the_family_is_static_and_the_width_is_not() -> None:
    one, other, family = sj.gaussian(0.1), sj.gaussian(0.2), sj.sigmoid(0.1)
    assert jax.tree.leaves(one) == [0.1]
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert jax.tree.structure(one) != jax.tree.structure(family)


def test_a_sweep_of_widths_compiles_once() -> None:
    """Training steps in a scan, vmapped over widths; a new family compiles again."""
    xs = jnp.asarray(np.random.default_rng(0).random((5, 4, 6)), jnp.float32)
    targets = jnp.eye(3)[jnp.array([0, 1, 2, 0])]
    start = sj.dense(3, sj.lif()).init(jax.random.key(0), (6,))[0]

    chex.clear_trace_counter()

    @quick_jit
    @chex.assert_max_traces(n=2)
    def train(surrogates: sj.Surrogate) -> Any:
        def run(surrogate: sj.Surrogate) -> Any:
            net = sj.dense(3, sj.lif(decay=0.5, threshold=0.5, surrogate=surrogate))

            def loss(params: Any) -> Any:
                return sj.half_squared_error(sj.rate(sj.apply(net, params, xs)[1]), targets).mean()

            def step(params: Any, _: None) -> tuple[Any, Any]:
                value, grads = jax.value_and_grad(loss)(params)
                return jax.tree.map(lambda p, g: p - 0.5 * g, params, grads), value

            return jax.lax.scan(step, start, None, length=3)

        return jax.vmap(run)(surrogates)

    stack = jax.vmap(sj.gaussian)
    params, losses = train(stack(jnp.array([0.1, 0.5])))  # first trace
    train(stack(jnp.array([0.2, 3.0])))
    assert losses.shape == (2, 3)
    kernel = params.synapse.kernel
    assert (kernel[0] != kernel[1]).any()
    lone, _ = train(stack(jnp.array([0.5, 0.1])))  # each point by its own width
    np.testing.assert_allclose(lone.synapse.kernel[0], kernel[1], rtol=1e-6)
    train(jax.vmap(sj.sigmoid)(jnp.array([0.1, 0.5])))  # second trace
    with pytest.raises(AssertionError, match="retraced|traced"):
        train(jax.vmap(sj.arctan)(jnp.array([1.0, 2.0])))


def test_a_width_under_jit_does_not_retrace() -> None:
    v = jnp.linspace(-1, 1, 5)
    chex.clear_trace_counter()

    @quick_jit
    @chex.assert_max_traces(n=1)
    def derivative(width: Any) -> Any:
        return jax.grad(lambda v: sj.polynomial(width)(v).sum())(v)

    for width in (1.0, 4.0, 0.5):
        np.testing.assert_allclose(derivative(width), sj.polynomial(width).derivative(v), rtol=1e-6)


# Arguments ----------------------------------------------------------------------------------------

BAD_VALUES = (0, 0.0, -1, -0.5, float("nan"), float("inf"), np.array([1.0, 0.0]))
BAD_TYPES = ("a", None, True, np.array([1, 2]), np.int32(1), 1j, [1.0])


@pytest.mark.parametrize("bad", BAD_VALUES, ids=repr)
@each_family
def test_widths_out_of_range(name: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=FAMILIES[name][1]):
        make(name, bad)
    with pytest.raises(ValueError, match="fwhm"):
        sj.matched(FAMILIES[name][0], bad)


@pytest.mark.parametrize("bad", BAD_TYPES, ids=repr)
@each_family
def test_widths_that_are_not_floats(name: str, bad: Any) -> None:
    with pytest.raises(TypeError, match=FAMILIES[name][1]):
        make(name, bad)
    with pytest.raises(TypeError, match="fwhm"):
        sj.matched(FAMILIES[name][0], bad)


@each_family
def test_traced_widths_are_not_checked(name: str) -> None:
    for bad in (0.0, -1.0):
        surrogate = jax.jit(FAMILIES[name][0])(bad)
        assert float(surrogate.width) == bad


def test_an_integer_is_read_as_a_float() -> None:
    assert sj.rectangular(2).width == 2.0
    assert isinstance(sj.rectangular(2).width, float)


# Curves that a user writes ------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Damped(sj.Surrogate):
    """A curve times a number of its own."""

    gamma: Any = 0.25

    def derivative(self, v):
        return self.gamma * super().derivative(v)


TRIANGLE = Family(
    "triangle",
    lambda v, a: a["height"] * jnp.maximum(0, 1 - jnp.abs(v) / a["base"]),
    None,
    lambda a: a["base"],
    None,
)


def closing_over(gain):
    """A family whose curve closes over a number."""
    return TRIANGLE._replace(derivative=lambda v, a: gain * TRIANGLE.derivative(v, a))


@functools.cache
def kernel_and_inputs():
    params = sj.dense(8).init(jax.random.key(1), (6,))[0]._replace(neuron=())
    return params, jnp.round(256 * jax.random.normal(jax.random.key(0), (5, 4, 6))) / 256


def kernel_gradient(surrogate, wrap, make=sj.lif, compiled=quick_jit):
    net = wrap(sj.dense(8, make(surrogate=surrogate)))
    params, xs = kernel_and_inputs()
    gradient = compiled(jax.grad(lambda p: sj.apply(net, p, xs)[1].sum()))
    return gradient(params).synapse.kernel


SCHEDULES = {
    "unroll": lambda net: net,
    "step": sj.stepwise,
    "chunks": lambda net: sj.chunked(net, 2),
    "truncated": lambda net: sj.truncated(net, 5),
}


@pytest.mark.parametrize("make", [sj.lif, sj.alif])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_overridden_derivative_is_used_in_every_schedule(schedule, make):
    """At half the height of every spike's slope no gradient stays as it was."""
    damped = kernel_gradient(Damped(1.0, sj.sigmoid().family), SCHEDULES[schedule], make)
    plain = sj.sigmoid().family._replace(
        derivative=lambda v, a: 0.25 * sj.sigmoid().family.derivative(v, a)
    )
    wanted = kernel_gradient(sj.Surrogate(1.0, plain), lambda net: net, make)
    np.testing.assert_allclose(damped, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_curve_of_two_parameters(schedule):
    width = {"base": jnp.full(8, 0.75), "height": 2.0}
    surrogate = sj.Surrogate(width, TRIANGLE)
    np.testing.assert_array_equal(surrogate.peak, np.full(8, 2.0))
    flat = sj.Surrogate({"base": 0.75, "height": 2.0}, TRIANGLE)
    got = kernel_gradient(surrogate, SCHEDULES[schedule])
    np.testing.assert_allclose(got, kernel_gradient(flat, lambda net: net), rtol=1e-5, atol=1e-6)
    assert np.abs(got).max() > 0


@pytest.mark.parametrize("transform", ["vmap", "jit"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_curve_may_close_over_traced_numbers(schedule, transform):
    def of(gain):
        surrogate = sj.Surrogate({"base": 0.75, "height": 1.0}, closing_over(gain))
        return kernel_gradient(surrogate, SCHEDULES[schedule], compiled=lambda gradient: gradient)

    gains = jnp.array([0.5, 2.0])
    if transform == "vmap":
        got = quick_jit(jax.vmap(of))(gains)
    else:
        got = np.stack([*map(quick_jit(of), gains)])
    np.testing.assert_allclose(got, gradients_of_known_gains(), rtol=1e-5, atol=1e-6)


@functools.cache
def gradients_of_known_gains():
    width = {"base": 0.75, "height": 1.0}
    gains = [sj.Surrogate(width, closing_over(gain)) for gain in (0.5, 2.0)]
    return np.stack([kernel_gradient(s, SCHEDULES["unroll"]) for s in gains])


@pytest.mark.parametrize("make", [sj.lif, sj.alif])
def test_widths_of_another_shape_than_the_units(make):
    for width in (jnp.ones(7), jnp.ones((1, 8)), {"base": jnp.ones(7), "height": 1.0}):
        family = TRIANGLE if isinstance(width, dict) else sj.rectangular().family
        layer = sj.dense(8, make(surrogate=sj.Surrogate(width, family)))
        with pytest.raises(ValueError, match="surrogate.s width must be a scalar or have"):
            layer.init(jax.random.key(0), (6,))


def _scanned(run, x):
    """One spike per step of a scan, in a loss that is not linear in the spikes."""

    def body(total, x):
        return total + run(x) ** 2 * x, None

    return jax.lax.scan(body, 0.0, x)[0]


@pytest.mark.parametrize("loop", [lambda run, x: jnp.sum(run(x) ** 2 * x), _scanned])
@pytest.mark.parametrize("jit", [lambda f: f, jax.jit])
def test_second_order_crosses_the_spikes_of_the_first(loop, jit):
    spike = sj.sigmoid(0.5)
    x = jnp.array([-0.7, -0.1, 0.2, 0.9])
    got = jit(jax.grad(lambda x: jnp.sum(jax.grad(lambda x: loop(spike, x))(x))))(x)
    o, h = spike(x), spike.derivative(x)
    slope = jax.vmap(jax.grad(spike.derivative))(x)
    # d/dx (2 o h x + o²), where do/dx = h.
    np.testing.assert_allclose(got, 2 * h * h * x + 2 * o * slope * x + 4 * o * h, rtol=1e-5)
