"""Shared test bodies: what every unroll, every neuron and every layer must satisfy.

A subclass of a few lines names an implementation. Inputs are dyadic (k/256) and decays are powers
of two, so float32 sums are exact in any order: schedules are compared bit for bit, and a membrane
may sit exactly on its threshold. Each class compiles its programs once. Everything else runs step
by step under `jax.disable_jit`, which costs less than one more compilation. Neurons and layers are
held to the public checks of `stbp_jax.testing`.
"""

import functools
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax import core
from stbp_jax.neurons import LIFUnroll
from stbp_jax.testing import check_layer, check_neuron
from stbp_jax.testing.trees import (
    assert_near,
    assert_same,
    dyadic,
    like,
    loop,
    quick_jit,
    random_like,
    rounded,
)
from tests import reference as ref

RESETS = {
    "linear": sj.hard_reset,
    "exponential": sj.exponential_reset,
    "subtractive": sj.soft_reset,
}
CUTS = {"kept": lambda c: c, "reset detached": sj.detach_reset, "time detached": sj.detach_time}
# Dyadic where it sets an edge: at width 1/2 some membranes sit on the border of the window.
CURVES = {
    "h1": (sj.rectangular, 0.5),
    "h2": (sj.polynomial, 3.0),
    "h3": (sj.sigmoid, 0.3),
    "h4": (sj.gaussian, 0.2),
    "arctan": (sj.arctan, 1.5),
    "superspike": (sj.superspike, 4.0),
}
STEPS, BATCH = 6, 3
# Curves are differentiated apart from resets: each curve once, and each reset with each cut. The
# other combinations are heavy.
GRID = [(curve, "linear", "kept") for curve in CURVES if curve != "h4"]
GRID += [("h4", name, cut) for name in RESETS for cut in CUTS]
COMBINATIONS = [
    pytest.param(*case, marks=[] if case in GRID else pytest.mark.heavy)
    for case in itertools.product(CURVES, RESETS, CUTS)
]


# Unrolls ------------------------------------------------------------------------------------------


class Population(SimpleNamespace):
    """What an unroll takes, in float64 NumPy: decay, threshold, membrane, spikes, currents."""

    def constants(self, surrogate: Any, dtype: Any) -> sj.neurons.LIFConstants:
        # A width as an array: Python numbers would be constants of the compiled program.
        surrogate = surrogate.replace(width=jnp.asarray(surrogate.width, dtype))
        return sj.neurons.LIFConstants(
            like(self.decay, dtype), like(self.threshold, dtype), surrogate
        )

    def state(self, dtype: Any) -> sj.neurons.LIFState:
        return like(sj.neurons.LIFState(self.membrane, self.spikes), dtype)

    def args(self, surrogate: Any, dtype: Any = jnp.float32) -> tuple[Any, Any, Any, Any]:
        """Constants, state, currents, and cotangents of (last state, spikes)."""
        state, currents = self.state(dtype), like(self.currents, dtype)
        return self.constants(surrogate, dtype), state, currents, random_like((state, currents), 3)


def population(
    *, steps: int = STEPS, batch: int = BATCH, units: tuple[int, ...] = (5,), per_unit: bool = False
) -> Population:
    """Neurons that fire sometimes, from a state whose spikes do not follow from its membrane."""
    rng = np.random.default_rng(12)
    shape = (batch, *units)
    decay, threshold = np.asarray(0.5), np.asarray(0.5)
    if per_unit:
        decay = rng.choice([0.25, 0.5], (1, *units))
        threshold = dyadic(rng, 0.375, 0.625, (1, *units))
    return Population(
        decay=decay,
        threshold=threshold,
        membrane=dyadic(rng, -0.5, 1, shape),
        spikes=rng.integers(0, 2, shape).astype(float),
        currents=dyadic(rng, -0.25, 0.75, (steps, *shape)),
    )


def _run(
    unroll: LIFUnroll, reset: Any, constants: Any, state: Any, currents: Any, bars: Any
) -> tuple[Any, tuple[Any, Any, Any]]:
    """What the unroll returns, and its gradients to (constants, state, currents)."""
    out, pull = jax.vjp(functools.partial(unroll, reset), constants, state, currents)
    return out, pull(bars)


@functools.cache
def _compiled(unroll: LIFUnroll, reset: Any) -> Callable[..., Any]:
    return quick_jit(functools.partial(_run, unroll, reset))


class UnrollContract:
    """`unroll(reset, constants, state, currents) -> (last state, spikes)`, as `lif_unroll`.

    Attributes:
      unroll: the implementation, a staticmethod.
      precise: whether it runs in float64, with a tolerance of 1e-10; else 1e-5 in float32.
      refused: names of resets, cuts and curves for which it raises NotImplementedError.
    """

    unroll: ClassVar[LIFUnroll]
    precise: ClassVar[bool] = True
    refused: ClassVar[frozenset[str]] = frozenset()

    def reset(self, name: str, cut: str = "kept") -> Any:
        if {name, cut} & self.refused:
            pytest.skip("refused, see test_refuses_with_a_reason")
        return CUTS[cut](RESETS[name])

    def surrogate(self, name: str = "h4") -> Any:
        if name in self.refused:
            pytest.skip("refused, see test_refuses_with_a_reason")
        curve, width = CURVES[name]
        return curve(width)

    def run(self, reset: Any, p: Population, surrogate: Any, dtype: Any = jnp.float32) -> Any:
        return _compiled(self.unroll, reset)(*p.args(surrogate, dtype))

    def once(self, reset: Any, args: Any) -> Any:
        """The same for what is run only once: step by step."""
        with jax.disable_jit():
            return _run(self.unroll, reset, *args)

    # Values -----------------------------------------------------------------

    @pytest.mark.parametrize("name", RESETS)
    def test_equals_the_loop_of_lif_step(self, name: str) -> None:
        reset, p = self.reset(name), population(per_unit=True)
        (last, spikes), _ = self.run(reset, p, self.surrogate())
        constants, state, currents, _ = p.args(self.surrogate())
        step = functools.partial(sj.neurons.lif_step, reset)
        wanted_last, wanted = loop(step, constants, state, currents)
        assert_same((last.spikes, spikes), (wanted_last.spikes, wanted))
        assert 0.1 < float(spikes.mean()) < 0.9
        if name == "exponential":  # exp() is not dyadic, and may be fused with the sum
            assert_near(last.membrane, wanted_last.membrane, 1e-6)
        else:
            assert_same(last.membrane, wanted_last.membrane)

    def test_jit_changes_nothing(self) -> None:
        reset, p = self.reset("linear"), population(per_unit=True)
        out, grads = self.run(reset, p, self.surrogate())
        plain, plain_grads = _run(self.unroll, reset, *p.args(self.surrogate()))
        assert_same(out, plain)
        assert_near(grads, plain_grads, 1e-5)

    def test_bfloat16(self) -> None:
        # Multiples of 1/8 over three steps: exact in its eight bits too.
        p = population(steps=3)
        p.membrane, p.currents = np.round(8 * p.membrane) / 8, np.round(8 * p.currents) / 8
        out, grads = self.run(self.reset("linear"), p, self.surrogate("h1"), jnp.bfloat16)
        wanted, wanted_grads = self.run(self.reset("linear"), p, self.surrogate("h1"))
        assert_same(out, like(wanted, jnp.bfloat16))
        assert_near(grads[1:], wanted_grads[1:], 0.05)
        assert 0.1 < float(out[1].mean()) < 0.9

    def test_two_halves_are_the_whole(self) -> None:
        """Values, and gradients through the state handed over."""
        reset, p = self.reset("linear"), population(per_unit=True)
        constants, state, currents, (last_bar, spikes_bar) = p.args(self.surrogate())
        out, grads = self.run(reset, p, self.surrogate())
        run, half = _compiled(self.unroll, reset), STEPS // 2

        (middle, spikes), _ = run(constants, state, currents[:half], (last_bar, spikes_bar[:half]))
        (last, later), late = run(constants, middle, currents[half:], (last_bar, spikes_bar[half:]))
        assert_same((last, jnp.concatenate([spikes, later])), out)
        _, early = run(constants, state, currents[:half], (late[1], spikes_bar[:half]))
        assert_near(jnp.concatenate([early[2], late[2]]), grads[2], 1e-5)
        assert_near(early[1], grads[1], 1e-5)
        assert_near(jax.tree.map(jnp.add, early[0], late[0]), grads[0], 1e-5)

    def test_one_step(self) -> None:
        p = population(steps=1)
        layer = _layer_of(p, "h4", "linear", "kept")
        path = ref.forward([layer], p.currents, [(p.membrane, p.spikes)])
        (last, spikes), _ = self.run(self.reset("linear"), p, self.surrogate())
        np.testing.assert_array_equal(spikes, path[0].o[1:])
        np.testing.assert_array_equal(last.spikes, path[0].o[-1])
        np.testing.assert_array_equal(last.membrane, path[0].u[-1])

    def test_fires_at_the_threshold_itself(self) -> None:
        p = population(steps=1)
        p.membrane = np.zeros_like(p.membrane)
        p.currents = np.broadcast_to([0.5 - 2**-20, 0.5, 0.5 + 2**-20, 0, 1], p.currents.shape)
        (_, spikes), _ = self.run(self.reset("linear"), p, self.surrogate())
        np.testing.assert_array_equal(spikes[0, 0], [0, 1, 1, 0, 1])

    def test_units_of_any_rank(self) -> None:
        flat, image = population(per_unit=True), population(per_unit=True)
        for name, x in vars(image).items():
            setattr(image, name, np.stack([x, x], -1)[..., None, :])
        reset, surrogate = self.reset("linear"), self.surrogate()
        out, grads = self.run(reset, image, surrogate)
        wanted, _ = self.run(reset, flat, surrogate)
        for k in range(2):
            assert_same(jax.tree.map(lambda x, k=k: x[..., 0, k], out), wanted)
        assert grads[2].shape == image.currents.shape
        assert grads[0].threshold.shape == image.threshold.shape

    def test_empty_batch(self) -> None:
        p = population(batch=0, per_unit=True)
        out, (constants_bar, state_bar, currents_bar) = self.run(
            self.reset("linear"), p, self.surrogate()
        )
        assert out[1].shape == currents_bar.shape == (STEPS, 0, 5)
        assert out[0].membrane.shape == state_bar.membrane.shape == (0, 5)
        np.testing.assert_array_equal(constants_bar.decay, np.zeros((1, 5)))
        np.testing.assert_array_equal(constants_bar.threshold, np.zeros((1, 5)))

    # Gradients --------------------------------------------------------------

    @pytest.mark.usefixtures("x64")
    @pytest.mark.parametrize(("curve", "name", "cut"), COMBINATIONS)
    def test_is_the_recursion_of_the_paper(self, curve: str, name: str, cut: str) -> None:
        """Every curve, reset and cut: values, and gradients to all that an unroll takes."""
        reset, surrogate = self.reset(name, cut), self.surrogate(curve)
        dtype, tolerance = (jnp.float64, 1e-10) if self.precise else (jnp.float32, 1e-5)
        p = population(steps=3, per_unit=curve != "h4")  # scalars for one curve
        args = p.args(surrogate, dtype)
        (last, spikes), (constants_bar, state_bar, currents_bar) = self.once(reset, args)
        layer = _layer_of(p, curve, name, cut)
        path = ref.forward([layer], p.currents, [(p.membrane, p.spikes)])
        np.testing.assert_array_equal(spikes, path[0].o[1:])
        np.testing.assert_array_equal(last.spikes, path[0].o[-1])
        assert_near(last.membrane, path[0].u[-1], tolerance)

        last_bar, spikes_bar = jax.tree.map(np.asarray, args[3])
        x_bar, (grad,) = ref.backward([layer], p.currents, path, spikes_bar, [last_bar])
        assert np.abs(x_bar).max() > 0.1
        assert_near(currents_bar, x_bar, tolerance)
        assert_near(state_bar.membrane, grad.u0, tolerance)
        assert_near(state_bar.spikes, grad.o0, tolerance)
        assert_near(constants_bar.decay.reshape(grad.tau.shape), grad.tau, tolerance)
        assert_near(constants_bar.threshold.reshape(grad.vth.shape), grad.vth, tolerance)
        assert np.abs(grad.tau).max() > 1e-4
        assert np.abs(grad.vth).max() > 1e-4
        assert float(constants_bar.surrogate.width) == 0  # the forward does not depend on it

    @pytest.mark.usefixtures("x64")
    def test_gradients_equal_those_of_lif_scan(self) -> None:
        dtype, tolerance = (jnp.float64, 1e-12) if self.precise else (jnp.float32, 1e-5)
        reset, p, surrogate = self.reset("subtractive"), population(), self.surrogate("h3")
        out, grads = self.run(reset, p, surrogate, dtype)
        wanted_out, wanted = _compiled(sj.neurons.lif_scan, reset)(*p.args(surrogate, dtype))
        assert_near(out, wanted_out, tolerance)
        assert_near(grads, wanted, tolerance)

    @pytest.mark.parametrize(
        ("name", "steps", "decay"), [("linear", 1, 0.5), ("linear", 3, 0), ("exponential", 3, 0)]
    )
    def test_sdbp_is_stbp_where_nothing_is_carried(
        self, name: str, steps: int, decay: float
    ) -> None:
        """At T = 1 and at decay 0: the gradients to the currents and to the threshold."""
        p = population(steps=steps)
        p.decay = np.asarray(decay)
        args = p.args(self.surrogate())
        (_, spikes), stbp = self.once(self.reset(name), args)
        _, sdbp = self.once(self.reset(name, "time detached"), args)
        assert_near((sdbp[0].threshold, sdbp[2]), (stbp[0].threshold, stbp[2]), 1e-6)
        if decay == 0:
            np.testing.assert_array_equal(spikes, p.currents >= 0.5)
            for leaf in jax.tree.leaves((sdbp[1], stbp[1])):
                assert not leaf.any()

    @pytest.mark.parametrize("name", RESETS)
    def test_gradient_to_a_decay_of_zero_is_finite(self, name: str) -> None:
        """Decay 0 is allowed, and a learned or swept decay may reach it."""
        p = population(steps=3)
        p.decay = np.asarray(0.0)
        _, grads = self.once(self.reset(name), p.args(self.surrogate()))
        for leaf in jax.tree.leaves(grads):
            assert np.isfinite(leaf).all()

    # Transformations and dtypes ---------------------------------------------

    @pytest.mark.parametrize("over", ["examples", "width", "decay and threshold"])
    def test_vmap_is_a_loop(self, over: str) -> None:
        p, reset = population(), self.reset("linear")
        constants, state, currents, bars = p.args(self.surrogate())
        fixed = sj.neurons.LIFConstants(None, None, None)
        axes: Any = (fixed, None, None, None)
        if over == "examples":
            state = jax.tree.map(lambda x: jnp.stack([x, x[::-1], x]), state)
            currents = jnp.stack([currents, currents, currents[::-1]])
            axes = (fixed, 0, 0, None)
        elif over == "width":
            stack = jax.vmap(CURVES["h4"][0])(jnp.array([0.1, 0.2, 0.7]))
            constants = constants._replace(surrogate=stack)
            axes = (fixed._replace(surrogate=0), None, None, None)
        else:
            constants = constants._replace(
                decay=jnp.array([0.25, 0.5, 0.125]), threshold=jnp.array([0.375, 0.5, 0.75])
            )
            axes = (fixed._replace(decay=0, threshold=0), None, None, None)

        one = _compiled(self.unroll, reset)
        many = quick_jit(jax.vmap(functools.partial(_run, self.unroll, reset), axes))
        out, grads = many(constants, state, currents, bars)

        def pick(tree: Any, axis: Any, k: int) -> Any:
            return tree if axis is None else jax.tree.map(lambda x: x[k], tree)

        for k in range(3):
            lone, lone_grads = one(
                sj.neurons.LIFConstants(
                    *(pick(*leaf, k) for leaf in zip(constants, axes[0], strict=True))
                ),
                *(pick(*arg, k) for arg in zip((state, currents, bars), axes[1:], strict=True)),
            )
            assert_same(pick(out, 0, k), lone)
            assert_near(pick(grads, 0, k), lone_grads, 1e-5)
        assert np.abs(grads[2][0] - grads[2][1]).max() > 1e-2  # they are not all the same

    @pytest.mark.parametrize("x64_on", [False, True], ids=["x32", "x64"])
    @pytest.mark.parametrize("given_as", ["numbers", "float32 arrays"])
    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
    @pytest.mark.parametrize("name", RESETS)
    def test_no_dtype_leaks(self, name: str, dtype: Any, given_as: str, x64_on: bool) -> None:
        """Everything comes out in the dtype of the membrane, whatever the constants are."""
        reset, p = self.reset(name), population()
        with jax.enable_x64(x64_on):
            surrogate = self.surrogate()
            constants = sj.neurons.LIFConstants(0.5, 0.5, surrogate)
            if given_as != "numbers":
                constants = p.constants(surrogate, jnp.float32)

            def run(state: Any, currents: Any) -> Any:
                function = functools.partial(self.unroll, reset, constants)
                out, pull = jax.vjp(function, state, currents)
                return out, pull(out)

            out, grads = jax.eval_shape(run, p.state(dtype), like(p.currents, dtype))
        for leaf in jax.tree.leaves((out, grads)):
            assert leaf.dtype == dtype

    @pytest.mark.parametrize("name", [*RESETS, *CUTS, *CURVES])
    def test_refuses_with_a_reason(self, name: str) -> None:
        """An implementation raises on unsupported input; it never falls back in silence."""
        if name not in self.refused:
            return
        reset = CUTS[name if name in CUTS else "kept"](RESETS.get(name, sj.hard_reset))
        curve, width = CURVES[name if name in CURVES else "h1"]
        with pytest.raises(NotImplementedError, match=r"\w+"):
            self.unroll(reset, *population().args(curve(width))[:3])


def _layer_of(p: Population, curve: str, gate: str, cut: str) -> ref.Layer:
    """The population in the reference: no synapse, x is the current."""
    return ref.Layer(
        None,
        None,
        curve=curve,
        width=CURVES[curve][1],
        gate=gate,
        tau=p.decay[0] if p.decay.ndim else p.decay,
        vth=p.threshold[0] if p.threshold.ndim else p.threshold,
        detach=cut,
    )


# Neurons ------------------------------------------------------------------------------------------


class NeuronContract:
    """A `Neuron`.

    Attributes:
      make: makes the neuron, a staticmethod.
      units: the shape of its units.
      learns: whether it has parameters.
      drawn: whether the parameters depend on the key.
      spikes: whether its outputs are 0 or 1 and it has a surrogate window.
      exact: whether dyadic inputs make exact float32 sums.
    """

    make: ClassVar[Callable[[], core.Neuron]]
    units: ClassVar[tuple[int, ...]] = (5,)
    learns: ClassVar[bool] = False
    drawn: ClassVar[bool] = True
    spikes: ClassVar[bool] = True
    exact: ClassVar[bool] = True

    def test_contract(self) -> None:
        neuron = self.make()
        params = rounded(neuron.init(jax.random.key(1), self.units))
        tolerance = 0.0 if self.exact else 1e-5
        check_neuron(neuron, units=self.units, params=params, tolerance=tolerance)

    def test_init(self) -> None:
        one, other = (self.make().init(jax.random.key(seed), self.units) for seed in (0, 1))
        assert bool(jax.tree.leaves(one)) == self.learns
        assert self.learns or one == ()
        for leaf, another in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            assert leaf.dtype == jnp.float32
            assert (leaf != another).any() == self.drawn

    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
    def test_rests_at_zero(self, dtype: Any) -> None:
        state = self.make().initial_state((2, *self.units), dtype)
        for leaf in jax.tree.leaves(state):
            assert leaf.shape == (2, *self.units)
            assert leaf.dtype == dtype
            assert not leaf.any()

    def test_spikes_have_a_probe(self) -> None:
        neuron = self.make()
        assert (neuron.probe is not None) == neuron.spiking == self.spikes


# Layers -------------------------------------------------------------------------------------------


class LayerContract:
    """A `Layer`; a network is one too.

    Attributes:
      make: makes the layer, a staticmethod.
      shape: the shape of its inputs, without T and B.
      key: makes a key for layers that draw, a staticmethod.
      remembers: whether later outputs depend on earlier inputs.
      reports: the number of its spiking layers, each of which reports statistics.
      spikes: whether its outputs are spikes.
      outputs: the reports of the layers whose spikes are the outputs, side by side.
    """

    make: ClassVar[Callable[[], core.Layer]]
    shape: ClassVar[tuple[int, ...]]
    key: ClassVar[Callable[[], Any]] = staticmethod(lambda: None)
    remembers: ClassVar[bool] = True
    reports: ClassVar[int] = 1
    spikes: ClassVar[bool] = True
    outputs: ClassVar[slice] = slice(-1, None)
    steps: ClassVar[int] = 4
    batch: ClassVar[int] = 2

    def inputs(self) -> tuple[core.Layer, Any, Any]:
        """The layer, its parameters and its inputs, all dyadic."""
        layer, rng = self.make(), np.random.default_rng(4)
        params = rounded(layer.init(jax.random.key(1), self.shape)[0])
        xs = rng.integers(-4, 5, (self.steps, self.batch, *self.shape)) / 4
        return layer, params, jnp.asarray(xs, jnp.float32)

    def test_contract(self) -> None:
        layer, params, _ = self.inputs()
        check_layer(layer, self.shape, key=self.key(), params=params, tolerance=0.0)

    def test_kind(self) -> None:
        """What it outputs, what it reports, and whether it remembers."""
        layer, params, xs = self.inputs()
        run = quick_jit(lambda xs: sj.apply_with_stats(layer, params, xs, key=self.key()))
        _, outs, reports = run(xs)
        assert outs.dtype == jnp.float32
        assert len(reports) == self.reports
        if self.spikes:
            assert set(np.unique(outs)) == {0, 1}
            rates = np.concatenate([report.firing_rate for report in reports[self.outputs]])
            np.testing.assert_allclose(rates, np.asarray(outs).mean((0, 1)), rtol=1e-6)
        _, other, _ = run(xs.at[0].multiply(-16))
        assert (other[0] != outs[0]).any()
        assert (other[1:] != outs[1:]).any() == self.remembers

    def test_draws(self) -> None:
        """Other keys give other kernels."""
        init = self.make().init
        one, other = (init(jax.random.key(seed), self.shape)[0] for seed in (1, 2))
        for leaf, another in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            assert leaf.ndim < 2 or (leaf != another).all()  # biases may all be 0
