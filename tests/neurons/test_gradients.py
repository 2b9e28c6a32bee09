"""`jax.grad` of the library is the recursion of PAPER.md, and the recursion is a true derivative.

Two steps, both in float64. The NumPy recursion (`reference`) equals finite differences of a smooth
network, in which a spike is the curve's integral and detached quantities are constants. The
library, spiking, equals the NumPy recursion.
"""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax.layers import LayerParams
from stbp_jax.neurons import RecurrentParams
from tests import reference as ref
from tests.contracts import CUTS, RESETS, quick_jit

UNROLLS = {"lif_unroll": sj.neurons.lif_unroll, "lif_scan": sj.neurons.lif_scan}
# Different from 1 and from each other, so that a parameter read as another one shows.
CURVES = {
    "h1": (sj.rectangular, 0.8),
    "h2": (sj.polynomial, 3.0),
    "h3": (sj.sigmoid, 0.3),
    "h4": (sj.gaussian, 0.2),
}
STEPS, BATCH, CLASSES = 4, 2, 4
# At these every layer fires, every gradient is alive, and no membrane sits at a corner of a curve.
SEEDS = {"dense": 3, "conv": 9, "recurrent": 9}


def network(
    kind: str, curve: str, gate: str, detach: str, *, per_unit: bool = False
) -> tuple[list[ref.Layer], np.ndarray, np.ndarray]:
    """Two layers that fire, inputs and targets; `per_unit` constants for the first."""
    rng = np.random.default_rng(SEEDS[kind])
    shape = (5, 4, 2) if kind == "conv" else (5,)
    units = (3, 3, 3) if kind == "conv" else (6,)
    kernel_shape = (3, 2, 2, 3) if kind == "conv" else (5, 6)
    fan_in = np.prod(kernel_shape[:-1])
    features = units[-1]

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, shape)

    tau = uniform(0.45, 0.75, *units) if per_unit else 0.6
    vth = uniform(0.4, 0.6, *units) if per_unit else 0.5
    shared = {"curve": curve, "width": CURVES[curve][1], "gate": gate, "detach": detach}
    first = ref.Layer(
        uniform(-1.5, 2.0, *kernel_shape) / np.sqrt(fan_in),
        uniform(-0.1, 0.2, features),
        tau=tau,
        vth=vth,
        recurrent_kernel=uniform(-0.6, 0.6, 6, 6) if kind == "recurrent" else None,
        recurrent_bias=uniform(-0.1, 0.1, 6) if kind == "recurrent" else None,
        **shared,
    )
    inputs = int(np.prod(units))
    last = ref.Layer(
        uniform(-1.0, 1.2, inputs, CLASSES) / np.sqrt(inputs),
        uniform(-0.1, 0.2, CLASSES),
        tau=0.6,
        vth=0.5,
        **shared,
    )
    x = uniform(0, 1, STEPS, BATCH, *shape)
    y = np.eye(CLASSES)[rng.integers(0, CLASSES, BATCH)]
    return [first, last], x, y


def assert_close(got: Any, wanted: np.ndarray, what: str, tolerance: float = 1e-10) -> None:
    """Largest error against the largest wanted value, which must not be 0."""
    scale = np.abs(wanted).max()
    assert scale > 1e-6, f"{what}: nothing to compare"
    assert np.shape(got) == np.shape(wanted), what
    error = np.abs(np.asarray(got) - wanted).max() / scale
    assert error < tolerance, f"{what}: off by {error:.1e}"


# The library against the recursion ----------------------------------------------------------------


def library_of(kind: str, layers: list[ref.Layer], unroll: str, constants: Any) -> sj.Layer:
    """The same network from the library; `constants` holds (decay, threshold) of each layer."""

    def neuron(layer: ref.Layer, decay: Any, threshold: Any) -> sj.Neuron:
        return sj.lif(
            decay=decay,
            threshold=threshold,
            surrogate=CURVES[layer.curve][0](layer.width),
            reset=CUTS[layer.detach](RESETS[layer.gate]),
            unroll=UNROLLS[unroll],
        )

    first, last = (neuron(layer, *c) for layer, c in zip(layers, constants, strict=True))
    if kind == "conv":
        return sj.serial(sj.conv(3, (3, 2), first), sj.flatten(), sj.dense(CLASSES, last))
    return sj.serial(
        sj.dense(6, sj.recurrent(first) if kind == "recurrent" else first), sj.dense(CLASSES, last)
    )


def params_of(kind: str, layers: list[ref.Layer]) -> tuple[LayerParams, ...]:
    first, last = (
        sj.initializers.Weights(jnp.asarray(w.kernel), jnp.asarray(w.bias)) for w in layers
    )
    if kind == "conv":
        return LayerParams(first, ()), LayerParams((), ()), LayerParams(last, ())
    inner: Any = ()
    if kind == "recurrent":
        back = layers[0].recurrent_kernel, layers[0].recurrent_bias
        inner = RecurrentParams(sj.initializers.Weights(*map(jnp.asarray, back)), ())
    return LayerParams(first, inner), LayerParams(last, ())


def check_against_the_recursion(
    kind: str, curve: str, gate: str, detach: str, unroll: str, *, per_unit: bool = False
) -> None:
    """Spikes, membranes, loss, and its gradients to all that has one."""
    layers, x, y = network(kind, curve, gate, detach, per_unit=per_unit)
    path = ref.forward(layers, x)
    outs = path[-1].o[1:]
    x_bar, wanted = ref.backward(layers, x, path, ref.loss_backward(y, outs))
    for layer, p in zip(layers, path, strict=True):
        assert 0.1 < p.o[1:].mean() < 0.9
        assert np.abs(p.u[1:] - layer.vth).min() > 1e-9  # no spike hangs on rounding

    def loss(params: Any, xs: Any, constants: Any) -> tuple[Any, Any]:
        state, outs = sj.apply(library_of(kind, layers, unroll, constants), params, xs)
        return sj.half_squared_error(sj.rate(outs), jnp.asarray(y)).mean(), (state, outs)

    constants = [(jnp.asarray(layer.tau), jnp.asarray(layer.vth)) for layer in layers]
    # Step by step, for speed: all these programs would compile slowly. `contracts` compiles.
    with jax.disable_jit():
        run = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)
        (value, (state, got_outs)), (grads, got_x_bar, constant_bars) = run(
            params_of(kind, layers), jnp.asarray(x), constants
        )

    np.testing.assert_array_equal(got_outs, outs)
    assert abs(float(value) - ref.loss(y, outs)) < 1e-14
    states = [state[0].neuron if kind == "recurrent" else state[0], state[-1]]
    for got, p in zip(states, path, strict=True):
        np.testing.assert_array_equal(got.spikes, p.o[-1])
        np.testing.assert_allclose(got.membrane, p.u[-1], rtol=0, atol=1e-14)
    assert_close(got_x_bar, x_bar, "x")
    both = (grads[0], grads[-1])
    for got, (tau_bar, vth_bar), want in zip(both, constant_bars, wanted, strict=True):
        assert_close(got.synapse.kernel, want.kernel, "kernel")
        assert_close(got.synapse.bias, want.bias, "bias")
        assert_close(tau_bar, want.tau, "decay")
        assert_close(vth_bar, want.vth, "threshold")
    if kind == "recurrent":
        weights = grads[0].neuron.weights
        assert_close(weights.kernel, wanted[0].recurrent_kernel, "recurrent kernel")
        assert_close(weights.bias, wanted[0].recurrent_bias, "recurrent bias")


# All networks, gates, cuts and unrolls; the curves in turn, so that each meets each of those. All
# curves at all gates and cuts are in `contracts`, for one layer. Every seventh case is light:
# these six hold each network, gate, cut, unroll and curve.
CASES = [
    pytest.param(kind, curve, gate, detach, unroll, marks=pytest.mark.heavy if n % 7 else [])
    for n, ((kind, gate, detach, unroll), curve) in enumerate(
        zip(
            itertools.product(SEEDS, ["linear", "exponential"], ref.DETACH, UNROLLS),
            itertools.cycle([*CURVES, "h1"]),  # five, which divides no count of the others
        )
    )
]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("kind", "curve", "gate", "detach", "unroll"), CASES)
def test_jax_grad_is_the_recursion(
    kind: str, curve: str, gate: str, detach: str, unroll: str
) -> None:
    check_against_the_recursion(kind, curve, gate, detach, unroll)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("unroll", UNROLLS)
@pytest.mark.parametrize("kind", SEEDS)
def test_each_unit_may_have_its_own_constants(kind: str, unroll: str) -> None:
    check_against_the_recursion(kind, "h3", "subtractive", "kept", unroll, per_unit=True)


@pytest.mark.parametrize("gate", ref.GATES)
@pytest.mark.parametrize("kind", SEEDS)
def test_the_detached_gradients_differ(kind: str, gate: str) -> None:
    """Without this test a detach that does nothing would pass above."""
    kernels = []
    for detach in ref.DETACH:
        layers, x, y = network(kind, "h4", gate, detach)
        path = ref.forward(layers, x)
        _, grads = ref.backward(layers, x, path, ref.loss_backward(y, path[-1].o[1:]))
        kernels.append(grads[0].kernel)
    for one, other in itertools.combinations(kernels, 2):
        assert np.abs(one - other).max() > 1e-2 * np.abs(one).max()


# The recursion against finite differences ---------------------------------------------------------


def difference(function: Any, x: np.ndarray, direction: np.ndarray, h: float = 2e-6) -> float:
    """Fourth-order central difference of `function` at `x` along `direction`."""
    f = [function(x + k * h * direction) for k in (-2, -1, 1, 2)]
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)


@pytest.mark.parametrize("detach", ref.DETACH)
@pytest.mark.parametrize("gate", ref.GATES)
@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("kind", SEEDS)
def test_the_recursion_is_the_derivative_of_the_smooth_network(
    kind: str, curve: str, gate: str, detach: str
) -> None:
    layers, x, y = network(kind, curve, gate, detach, per_unit=True)
    rng = np.random.default_rng(8)
    shapes = [p.u[0].shape for p in ref.forward(layers, x)]
    rest = [(rng.uniform(0, 0.4, s), rng.uniform(0, 1, s)) for s in shapes]
    last_bar = [(rng.normal(size=s), rng.normal(size=s)) for s in shapes]
    base = ref.forward(layers, x, rest, smooth=True)
    for layer, p in zip(layers, base, strict=True):
        for corner in ref.CURVES[curve].corners(layer.width):
            assert np.abs(p.u[1:] - layer.vth - corner).min() > 3e-5  # differences stay on one side

    def objective(layers: list[ref.Layer], x: np.ndarray, rest: Any) -> float:
        path = ref.forward(layers, x, rest, smooth=True, held=base)
        last = sum(
            (u_bar * p.u[-1]).sum() + (o_bar * p.o[-1]).sum()
            for p, (u_bar, o_bar) in zip(path, last_bar, strict=True)
        )
        return ref.loss(y, path[-1].o[1:]) + float(last)

    x_bar, grads = ref.backward(layers, x, base, ref.loss_backward(y, base[-1].o[1:]), last_bar)

    def check(function: Any, at: np.ndarray, gradient: np.ndarray, what: str) -> None:
        direction = rng.normal(size=np.shape(at))
        direction /= np.sqrt((direction**2).sum())
        wanted = difference(function, np.asarray(at), direction)
        scale = max(1.0, np.abs(gradient).max())
        assert abs((gradient * direction).sum() - wanted) < 1e-8 * scale, what

    check(lambda v: objective(layers, v, rest), x, x_bar, "x")
    for n, (layer, grad) in enumerate(zip(layers, grads, strict=True)):

        def with_field(name: str, value: np.ndarray, n: int = n) -> float:
            changed = list(layers)
            changed[n] = dataclasses.replace(layers[n], **{name: value})
            return objective(changed, x, rest)

        for name in ("kernel", "bias", "recurrent_kernel", "recurrent_bias", "tau", "vth"):
            at = getattr(layer, name)
            if at is not None:
                check(lambda v, name=name: with_field(name, v), at, getattr(grad, name), name)
        for i, name in enumerate(("u0", "o0")):

            def with_rest(value: np.ndarray, n: int = n, i: int = i) -> float:
                pair = (value, rest[n][1]) if i == 0 else (rest[n][0], value)
                return objective(layers, x, [*rest[:n], pair, *rest[n + 1 :]])

            check(with_rest, rest[n][i], getattr(grad, name), name)


# The library on the smooth network ----------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Smooth:
    """A surrogate whose forward is the curve's integral: its gradient is an ordinary derivative."""

    curve: sj.Surrogate

    def __call__(self, v: jax.Array) -> jax.Array:
        return self.curve.antiderivative(v)

    def derivative(self, v: jax.Array) -> jax.Array:
        return self.curve.derivative(v)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("gate", RESETS)
@pytest.mark.parametrize("unroll", UNROLLS)
def test_unrolls_differentiate_the_smooth_network(unroll: str, gate: str) -> None:
    """Gradients to currents, both parts of the first state, decay and threshold."""
    rng = np.random.default_rng(5)
    at = {
        "currents": rng.uniform(-0.2, 1.0, (STEPS, BATCH, 5)),
        "membrane": rng.uniform(-0.5, 0.8, (BATCH, 5)),
        "spikes": rng.uniform(0, 1, (BATCH, 5)),
        "decay": rng.uniform(0.4, 0.8, (1, 5)),
        "threshold": rng.uniform(0.4, 0.6, (1, 5)),
    }
    out_bar = rng.normal(size=(STEPS, BATCH, 5))
    last_bar = sj.neurons.LIFState(rng.normal(size=(BATCH, 5)), rng.normal(size=(BATCH, 5)))

    def value(a: dict[str, Any]) -> Any:
        smooth = Smooth(sj.gaussian(0.2))
        last, outs = UNROLLS[unroll](
            RESETS[gate],
            sj.neurons.LIFConstants(a["decay"], a["threshold"], smooth),
            sj.neurons.LIFState(a["membrane"], a["spikes"]),
            a["currents"],
        )
        return sum(
            jnp.sum(x * bar)
            for x, bar in (
                (outs, out_bar),
                (last.membrane, last_bar[0]),
                (last.spikes, last_bar[1]),
            )
        )

    objective, grads = quick_jit(value), quick_jit(jax.grad(value))(at)
    for name, x in at.items():
        direction = rng.normal(size=x.shape)
        got = float((np.asarray(grads[name]) * direction).sum())
        wanted = difference(
            lambda v, name=name: float(objective({**at, name: v})), x, direction, h=1e-5
        )
        assert abs(wanted) > 1e-3, name
        assert abs(got - wanted) < 1e-8 * max(1.0, abs(wanted)), name
