"""Forward mode and higher orders: every mode against Taylor series in NumPy, and its errors."""

import dataclasses
import functools
import math
import traceback

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax import neurons
from stbp_jax.surrogates import forward_mode
from tests.contracts import CURVES, RESETS, assert_near, assert_same, quick_jit

STEPS, BATCH, SIZES = 4, 2, (5, 4, 3)
DECAY, THRESHOLD, VARIANCE = 0.5, 0.4, 0.5
RNG = np.random.default_rng(3)
WEIGHTS = [RNG.normal(size=(2, *pair)) for pair in zip(SIZES[:-1], SIZES[1:], strict=True)]
XS = RNG.normal(size=(STEPS, BATCH, SIZES[0]))
GAINS = RNG.normal(size=(STEPS, BATCH, SIZES[-1]))
ORDERS = 5  # of a series: its value and four derivatives


# Truncated Taylor series in s, `[..., ORDERS]`, of the network with the kernels W + s V ----------


def product(a, b):
    total = np.zeros(np.broadcast_shapes(a.shape, b.shape))
    for i in range(ORDERS):
        total[..., i:] += a[..., i, None] * b[..., : ORDERS - i]
    return total


def spike_series(v):
    """H, h and the derivatives of h, with h the normal density: Faà di Bruno by powers."""
    x, rest = v[..., 0], v.copy()
    rest[..., 0] = 0
    density = np.exp(-(x**2) / (2 * VARIANCE)) / np.sqrt(2 * np.pi * VARIANCE)
    z = x / np.sqrt(VARIANCE)
    hermite = [np.ones_like(z), -z, z**2 - 1, -(z**3) + 3 * z]
    out, power = np.zeros_like(v), np.ones_like(v) * (np.arange(ORDERS) == 0)
    out[..., 0] = x >= 0
    for k in range(1, ORDERS):
        power = product(power, rest)
        slope = density * hermite[k - 1] / np.sqrt(VARIANCE) ** (k - 1)
        out += slope[..., None] / math.factorial(k) * power
    return out


@functools.cache
def wanted_derivatives():
    """The loss and its first four derivatives in s."""
    outs = np.zeros((*XS.shape, ORDERS))
    outs[..., 0] = XS
    for weights in WEIGHTS:
        kernel = np.zeros((*weights.shape[1:], ORDERS))
        kernel[..., 0], kernel[..., 1] = weights
        membrane = spikes = np.zeros((BATCH, weights.shape[2], ORDERS))
        made = []
        for x in outs:
            current = product(x[:, :, None], kernel).sum(1)
            membrane = DECAY * product(membrane, (np.arange(ORDERS) == 0) - spikes) + current
            spikes = spike_series(membrane - THRESHOLD * (np.arange(ORDERS) == 0))
            made.append(spikes)
        outs = np.stack(made)
    assert 0.1 < outs[..., 0].mean() < 0.9
    score = (GAINS[..., None] * outs).sum((0, 1, 2))
    return product(score, score) * [math.factorial(k) for k in range(ORDERS)]


def loss_of(surrogate, *, unroll=neurons.lif_scan, wrap=lambda net: net):
    """The same loss of s by the library."""
    neuron = sj.lif(decay=DECAY, threshold=THRESHOLD, surrogate=surrogate, unroll=unroll)
    net = wrap(sj.serial(*[sj.dense(n, neuron) for n in SIZES[1:]]))

    def loss(s):
        kernels = [jnp.asarray(w) + s * jnp.asarray(v) for w, v in WEIGHTS]
        params = tuple(sj.layers.LayerParams(sj.initializers.Weights(k), ()) for k in kernels)
        return jnp.sum(GAINS * sj.apply(net, params, jnp.asarray(XS))[1]) ** 2

    return loss


MODES = {"f": jax.jacfwd, "r": jax.grad}


def derivative(loss, modes):
    """The derivative by the modes, from the innermost outwards."""
    for mode in modes:
        loss = MODES[mode](loss)
    return quick_jit(loss)(0.0)


CURVE = sj.gaussian(VARIANCE)


HEAVY = pytest.mark.heavy


def heavy(*cases):
    return [pytest.param(case, marks=HEAVY) for case in cases]


@pytest.mark.parametrize(
    "modes", ["f", "ff", "fr", "rf", "rr", *heavy("r", "fff", "rfr", "ffff", "rrf")]
)
def test_every_mode_and_order_through_lif_scan(modes, x64):
    got = derivative(loss_of(forward_mode(CURVE)), modes)
    np.testing.assert_allclose(got, wanted_derivatives()[len(modes)], rtol=1e-11)


@pytest.mark.parametrize("modes", ["rr", *heavy("r", "rrr")])
@pytest.mark.parametrize("unroll", [neurons.lif_unroll, neurons.lif_scan])
def test_higher_orders_of_reverse_mode_need_no_forward_mode(unroll, modes, x64):
    """A second derivative crosses the spikes of the first gradient, and their curve's slope."""
    got = derivative(loss_of(CURVE, unroll=unroll), modes)
    np.testing.assert_allclose(got, wanted_derivatives()[len(modes)], rtol=1e-11)


@pytest.mark.parametrize("modes", ["rf", *heavy("rr")])
def test_forward_over_reverse_through_the_fast_unroll(modes, x64):
    got = derivative(loss_of(forward_mode(CURVE), unroll=neurons.lif_unroll), modes)
    np.testing.assert_allclose(got, wanted_derivatives()[2], rtol=1e-11)


@pytest.mark.parametrize("modes", ["f", *heavy("ff", "rf")])
def test_forward_mode_through_step(modes, x64):
    got = derivative(loss_of(forward_mode(CURVE), wrap=sj.stepwise), modes)
    np.testing.assert_allclose(got, wanted_derivatives()[len(modes)], rtol=1e-11)


NEURONS = {
    **{f"lif, {name}": functools.partial(sj.lif, reset=reset) for name, reset in RESETS.items()},
    "alif": sj.alif,
    "current_based": lambda **kwargs: sj.current_based(sj.lif(**kwargs), decay=0.5),
    "recurrent": lambda **kwargs: sj.recurrent(sj.lif(**kwargs)),
    "learnable_decay": lambda **kwargs: sj.learnable_decay(
        lambda decay: sj.lif(decay=decay, **kwargs), neurons.per_neuron(0.2, 0.9)
    ),
}


@pytest.mark.parametrize(
    "name", ["lif, linear", "alif", *heavy(*sorted(NEURONS.keys() - {"lif, linear", "alif"}))]
)
def test_second_order_of_every_fast_unroll_is_that_of_the_scan(name, x64):
    """To parameters and inputs, along one direction; and in forward mode by `step`."""
    curve = sj.sigmoid(0.3)
    fast = sj.dense(4, NEURONS[name](surrogate=curve))
    scanned = sj.stepwise(sj.dense(4, NEURONS[name](surrogate=forward_mode(curve))))
    args = fast.init(jax.random.key(1), (5,))[0], jnp.asarray(XS)
    ways = jax.tree.map(lambda x: jnp.asarray(RNG.normal(size=x.shape)), args)
    gains = jnp.asarray(RNG.normal(size=(STEPS, BATCH, 4)))

    def loss(net, *args):
        return jnp.sum(gains * sj.apply(net, *args)[1]) ** 2

    def along(net, *args):
        slopes = jax.grad(functools.partial(loss, net), argnums=(0, 1))(*args)
        return sum(map(jnp.vdot, jax.tree.leaves(slopes), jax.tree.leaves(ways)))

    def run(*args):
        twice = [jax.grad(functools.partial(along, net), (0, 1))(*args) for net in (fast, scanned)]
        gradient = jax.grad(functools.partial(loss, scanned), argnums=(0, 1))
        return *twice, jax.jvp(gradient, args, ways)[1]

    by_rule, by_scan, forward = quick_jit(run)(*args)
    assert max(np.abs(x).max() for x in jax.tree.leaves(by_scan)) > 1e-2
    assert_near(by_rule, by_scan, 1e-12)
    assert_near(forward, by_scan, 1e-12)


# The spike ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", CURVES)
def test_spikes_are_those_of_the_surrogate_bit_for_bit(name, dtype):
    """And the slopes but for rounding, at the edges of the rectangle too."""
    make, width = CURVES[name]
    curve, edge = make(width), 0.25
    tiny = float(jnp.finfo(dtype).smallest_normal)
    v = jnp.asarray(
        [-np.inf, -1e4, -edge, -0.2, -tiny, -0.0, 0, tiny, 0.1, edge, 1e4, np.inf], dtype
    )
    v = jnp.concatenate([v, jnp.nextafter(v[2:10], 0), jnp.nextafter(v[2:10], jnp.inf)])

    def run(v):
        return jax.jvp(forward_mode(curve), (v,), (jnp.ones_like(v),))

    spikes, slopes = jax.jit(run)(v)
    assert_same(spikes, curve(v))
    assert slopes.dtype == dtype
    wanted = curve.derivative(v.astype(jnp.float32))
    np.testing.assert_allclose(slopes, wanted, rtol=2 * float(jnp.finfo(dtype).eps), atol=1e-7)
    assert (name != "h1") or set(np.unique(slopes)) == {0, 2}
    assert jnp.isnan(jax.jit(forward_mode(curve))(jnp.asarray([jnp.nan], dtype))).all()


@pytest.mark.parametrize("name", ["h1", "h3", *heavy("h2", "h4", "arctan", "superspike")])
def test_the_width_has_no_gradient(name):
    """Of first order, as the default spike; of second order, the slope's own."""
    make, width = CURVES[name]
    v = jnp.linspace(-1.0, 1.0, 9) + 0.01

    def slope(wrap, width, v):
        return jax.grad(lambda v: jnp.sum(wrap(make(width))(v)))(v)

    forward, default = (functools.partial(slope, wrap) for wrap in (forward_mode, lambda s: s))
    for of in (jax.grad, jax.jacfwd):
        first = of(lambda width: jnp.sum(forward_mode(make(width))(v)))(width)
        np.testing.assert_array_equal(first, 0)
    mixed = jax.jacrev(forward)(width, v)
    np.testing.assert_allclose(mixed, jax.jacrev(default)(width, v), rtol=1e-6, atol=1e-6)
    assert np.abs(mixed).max() > 0


@dataclasses.dataclass(frozen=True)
class Damped(sj.Surrogate):
    """A curve times a number of its own."""

    gamma: float = 0.25

    def derivative(self, v):
        return self.gamma * super().derivative(v)


def test_an_overridden_curve_counts():
    damped = forward_mode(Damped(1.0, sj.sigmoid().family))
    assert isinstance(damped, Damped)
    v = jnp.linspace(-1.0, 1.0, 5)
    slope = jax.jvp(damped, (v,), (jnp.ones(5),))[1]
    np.testing.assert_allclose(slope, sj.sigmoid(1.0).derivative(v) / 4, rtol=1e-6)


def test_a_traced_width_does_not_retrace_and_stacks():
    traces = []

    @jax.jit
    def slope(surrogate):
        traces.append(1)
        return jax.jvp(surrogate, (jnp.float32(0.25),), (jnp.float32(1.0),))[1]

    widths = jnp.array([0.5, 1.0])
    alone = [slope(forward_mode(sj.arctan(w))) for w in widths]
    assert len(traces) == 1
    np.testing.assert_allclose(
        jax.vmap(lambda w: slope(forward_mode(sj.arctan(w))))(widths), alone, rtol=1e-6
    )


def test_the_text_and_the_argument():
    assert repr(forward_mode(sj.rectangular(0.5))) == "forward_mode(rectangular(0.5))"
    with pytest.raises(TypeError, match="surrogate must be a Surrogate"):
        forward_mode(sj.rectangular)


# Errors ------------------------------------------------------------------------------------------


def network(unroll):
    net = sj.dense(3, sj.lif(unroll=unroll))
    params, _ = net.init(jax.random.key(0), (5,))
    return net, params, jnp.asarray(XS, jnp.float32)


def of_apply(net, xs):
    return lambda params: jnp.sum(sj.apply(net, params, xs)[1] ** 2)


def of_record(net, xs):
    return lambda params: jnp.sum(sj.record(net, params, xs)[1])


def of_stats(net, xs):
    return lambda params: sj.apply_with_stats(net, params, xs)[2][0].firing_rate.sum()


def of_step(net, xs):
    def run(params):
        state, _ = net.initial_state(params, xs.shape[1:])
        return jnp.sum(net.step(params, state, xs[0])[1])

    return run


FORWARD = {
    "jvp": lambda f, p: jax.jvp(f, (p,), (p,)),
    "jacfwd": lambda f, p: jax.jacfwd(f)(p),
    "jvp of jit": lambda f, p: jax.jvp(jax.jit(f), (p,), (p,)),
    "jit of jvp": lambda f, p: jax.jit(lambda p: jax.jvp(f, (p,), (p,)))(p),
    "linearize": lambda f, p: jax.linearize(f, p)[1](p),
}


CASES = [
    pytest.param(unroll, run, how, marks=[] if run is of_apply or how == "jvp" else HEAVY)
    for unroll in (neurons.lif_unroll, neurons.lif_scan)
    for run in (of_apply, of_record, of_stats, of_step)
    for how in FORWARD
]


@pytest.mark.parametrize(("unroll", "run", "how"), CASES)
def test_forward_mode_of_the_default_names_the_way_out(unroll, run, how):
    net, params, xs = network(unroll)
    with pytest.raises(TypeError, match="forward-mode|forward mode") as caught:
        FORWARD[how](run(net, xs), params)
    if how in ("jvp", "jacfwd"):
        assert "surrogates.forward_mode" in str(caught.value)
        assert "stepwise(network)" in str(caught.value)
    # A program that JAX has traced before: the traceback ends in a line that names it.
    assert "surrogates.forward_mode" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("unroll", [neurons.lif_unroll, neurons.lif_scan])
def test_a_hessian_product_of_the_default_names_the_way_out(unroll):
    net, params, xs = network(unroll)
    with pytest.raises(TypeError, match=r"surrogates\.forward_mode"):
        jax.jvp(jax.grad(of_apply(net, xs)), (params,), (params,))


def test_other_errors_pass():
    net, _, xs = network(neurons.lif_unroll)
    with pytest.raises(TypeError, match="takes one array .* got a pytree"):
        sj.apply(net, net.init(jax.random.key(0), (5,))[0], [xs])
