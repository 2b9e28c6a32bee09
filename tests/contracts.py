"""Shared test bodies: what every unroll, every neuron and every layer must satisfy.

A subclass of a few lines names an implementation. Inputs are dyadic (k/256) and decays are powers
of two, so float32 sums are exact in any order: schedules are compared bit for bit, and a membrane
may sit exactly on its threshold. Each class compiles its programs once. Everything else runs step
by step under `jax.disable_jit`, which costs less than one more compilation.
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


def dyadic(rng: np.random.Generator, low: float, high: float, shape: Any) -> np.ndarray:
    """Multiples of 1/256 in [low, high], float64."""
    return rng.integers(round(256 * low), round(256 * high) + 1, shape) / 256


def like(tree: Any, dtype: Any) -> Any:
    """The tree with its arrays in `dtype`."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)


def host(tree: Any) -> Any:
    """The tree in NumPy, where indexing compiles nothing."""
    return jax.tree.map(np.asarray, tree)


def assert_same(got: Any, wanted: Any) -> None:
    """Equal bit for bit, shapes and dtypes included."""
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_array_equal(np.asarray(g, np.float64), np.asarray(w, np.float64))


def assert_near(got: Any, wanted: Any, tolerance: float) -> None:
    """Equal up to `tolerance` times the largest wanted value of each leaf."""
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        g, w = np.asarray(g, np.float64), np.asarray(w, np.float64)
        assert g.shape == w.shape
        np.testing.assert_allclose(g, w, rtol=0, atol=tolerance * np.abs(w).max(initial=1e-30))


def quick_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """A `jit` that compiles in a third of the time; dyadic inputs give the same numbers."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(function, compiler_options=options)


def loop(step: Callable[..., Any], params: Any, state: Any, xs: Any) -> tuple[Any, Any]:
    """The Python loop of `step`, one operation after another."""
    with jax.disable_jit():
        outs = []
        for x in xs:
            state, out = step(params, state, x)
            outs.append(out)
        return state, jnp.stack(outs)


def pulled(function: Callable[..., Any], *args: Any, seed: int = 1) -> Any:
    """Gradients of a random linear function of all that `function` returns."""
    out, pull = jax.vjp(function, *args)
    return pull(random_like(out, seed))


def random_like(tree: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), tree)


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


@functools.cache
def _neuron_setting(cls: "type[NeuronContract]") -> SimpleNamespace:
    """Values that all tests of a class share, the compiled unroll among them."""
    neuron = cls.make()
    rng = np.random.default_rng(4)
    params = rounded(neuron.init(jax.random.key(1), cls.units))
    state = neuron.initial_state((BATCH, *cls.units), jnp.float32)
    # A state in the middle of a run: rest would hide what is carried.
    state = jax.tree.map(lambda x: jnp.asarray(rng.integers(0, 2, x.shape), x.dtype), state)
    currents = like(dyadic(rng, -0.25, 0.75, (4, BATCH, *cls.units)), jnp.float32)

    @quick_jit
    def run(params: Any, state: Any, currents: Any) -> Any:
        """Values and gradients of `unroll`, then of the scan of `step`."""
        both = []
        for unroll in (neuron.unroll, core.scan(neuron.step)):
            out, pull = jax.vjp(unroll, params, state, currents)
            both.append((out, pull(random_like(out, 1))))
        return both

    (out, grads), (_, scan_grads) = run(params, state, currents)
    return SimpleNamespace(
        neuron=neuron,
        params=params,
        state=state,
        currents=currents,
        out=out,
        grads=grads,
        scan_grads=scan_grads,
    )


def rounded(params: Any) -> Any:
    """Parameters as multiples of 1/256, in NumPy."""
    return jax.tree.map(lambda x: np.round(np.asarray(x) * 256) / 256, params)


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

    @property
    def s(self) -> SimpleNamespace:
        return _neuron_setting(type(self))

    def same(self, got: Any, wanted: Any) -> None:
        if self.exact:
            assert_same(got, wanted)
        else:
            assert_near(got, wanted, 1e-5)

    def test_init(self) -> None:
        params = self.s.neuron.init(jax.random.key(0), self.units)
        assert bool(jax.tree.leaves(params)) == self.learns
        if not self.learns:
            assert params == ()
            return
        again = self.s.neuron.init(jax.random.key(0), self.units)
        other = self.s.neuron.init(jax.random.key(1), self.units)
        assert_same(params, again)
        for one, two in zip(jax.tree.leaves(params), jax.tree.leaves(other), strict=True):
            assert one.dtype == jnp.float32
            assert (one != two).any() == self.drawn

    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
    def test_rests_at_zero(self, dtype: Any) -> None:
        state = self.s.neuron.initial_state((2, *self.units), dtype)
        for leaf in jax.tree.leaves(state):
            assert leaf.shape == (2, *self.units)
            assert leaf.dtype == dtype
            assert not leaf.any()

    def test_unroll_is_the_scan_of_step(self) -> None:
        s = self.s
        state, outs = loop(s.neuron.step, s.params, s.state, s.currents)
        self.same(s.out, (state, outs))
        assert outs.shape == s.currents.shape
        if self.spikes:
            assert set(np.unique(outs)) == {0, 1}

    def test_gradients_are_those_of_the_scan_of_step(self) -> None:
        got, wanted = self.s.grads, self.s.scan_grads
        assert_near(got, wanted, 1e-5)
        assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(wanted[0]))
        assert np.abs(wanted[2]).max() > 0

    def test_keeps_shapes_and_dtypes(self) -> None:
        s = self.s
        for dtype in (jnp.float32, jnp.bfloat16):
            params, state, currents = like((s.params, s.state, s.currents), dtype)
            got = jax.eval_shape(s.neuron.unroll, params, state, currents)
            grads = jax.eval_shape(
                functools.partial(pulled, s.neuron.unroll), params, state, currents
            )
            wanted = (state, currents)
            for a, b in ((got, wanted), (grads, (params, *wanted))):
                assert jax.tree.structure(a) == jax.tree.structure(b)
                for g, w in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
                    assert (g.shape, g.dtype) == (w.shape, w.dtype)

    def test_examples_are_independent(self) -> None:
        s = self.s
        (last, wanted), rest, currents = host((s.out, s.state, s.currents))
        for i in range(BATCH):
            alone = jax.tree.map(lambda x, i=i: jnp.asarray(x[i : i + 1]), rest)
            with jax.disable_jit():
                state, outs = s.neuron.unroll(s.params, alone, jnp.asarray(currents[:, i : i + 1]))
            self.same(outs, wanted[:, i : i + 1])
            self.same(state, jax.tree.map(lambda x, i=i: x[i : i + 1], last))

    def test_empty_batch(self) -> None:
        s = self.s
        state = s.neuron.initial_state((0, *self.units), jnp.float32)
        with jax.disable_jit():
            after, outs = s.neuron.unroll(s.params, state, s.currents[:, :0])
        assert outs.shape == (4, 0, *self.units)
        assert [x.shape for x in jax.tree.leaves(after)] == [
            x.shape for x in jax.tree.leaves(state)
        ]

    def test_window(self) -> None:
        s = self.s
        assert (s.neuron.probe is not None) == self.spikes
        if s.neuron.probe is not None:
            inside = s.neuron.probe(s.params, s.state).in_window
            assert inside.shape == (BATCH, *self.units)
            assert inside.dtype == bool


# Layers -------------------------------------------------------------------------------------------


@functools.cache
def _layer_setting(cls: "type[LayerContract]") -> SimpleNamespace:
    """Values that all tests of a class share, its three programs among them."""
    layer = cls.make()
    rng = np.random.default_rng(4)
    keys = jnp.stack([jax.random.key(1), jax.random.key(2)])
    out_shape: tuple[int, ...] = ()

    @quick_jit
    @jax.vmap
    def init(key: Any) -> Any:
        nonlocal out_shape  # static, so no output of the program
        params, out_shape = layer.init(key, cls.shape)
        return params

    draws = host(init(keys))
    params = rounded(jax.tree.map(lambda x: x[0], draws))
    xs = jnp.asarray(rng.integers(-4, 5, (cls.steps, cls.batch, *cls.shape)) / 4, jnp.float32)
    state, state_shape = layer.initial_state(params, xs.shape[1:], key=cls.key())

    @quick_jit
    def unroll(params: Any, state: Any, xs: Any) -> Any:
        """The layer's values, gradients of a random function of them, all outputs' Jacobian."""
        out, pull = jax.vjp(layer.unroll, params, state, xs)
        basis = jnp.eye(out[1].size).reshape((-1, *out[1].shape))
        zeros = jax.tree.map(jnp.zeros_like, out[0])
        jacobian = jax.vmap(lambda bar: pull((zeros, bar))[2])(basis)
        return out, pull(random_like(out, 1)), jacobian

    @quick_jit
    def stepwise(params: Any, state: Any, xs: Any) -> Any:
        """The same by scans of `step`, the report, and the run from rest."""
        out, pull = jax.vjp(sj.stepwise(layer).unroll, params, state, xs)
        told = core.unroll_with_stats(layer, params, state, xs)
        return out, pull(random_like(out, 1)), told, sj.apply(layer, params, xs, key=cls.key())

    result = unroll(params, state, xs)
    return SimpleNamespace(
        layer=layer,
        draws=draws,
        params=params,
        out_shape=out_shape,
        state=state,
        state_shape=state_shape,
        xs=xs,
        unroll=unroll,
        result=result,
        out=result[0],
        stepwise=functools.cache(lambda: stepwise(params, state, xs)),
    )


class LayerContract:
    """A `Layer`; a network is one too.

    Attributes:
      make: makes the layer, a staticmethod.
      shape: the shape of its inputs, without T and B.
      key: makes a key for layers that draw, a staticmethod.
      remembers: whether later outputs depend on earlier inputs.
      reports: the number of its spiking layers, each of which reports statistics.
      spikes: whether its outputs are spikes.
    """

    make: ClassVar[Callable[[], core.Layer]]
    shape: ClassVar[tuple[int, ...]]
    key: ClassVar[Callable[[], Any]] = staticmethod(lambda: None)
    remembers: ClassVar[bool] = True
    reports: ClassVar[int] = 1
    spikes: ClassVar[bool] = True
    steps: ClassVar[int] = 4
    batch: ClassVar[int] = 2

    @property
    def s(self) -> SimpleNamespace:
        return _layer_setting(type(self))

    def test_shapes_are_as_announced(self) -> None:
        s = self.s
        assert s.out[1].shape == (self.steps, self.batch, *s.out_shape)
        assert s.state_shape == (self.batch, *s.out_shape)
        assert s.out[1].dtype == jnp.float32
        for leaf in jax.tree.leaves(s.state):
            assert leaf.shape[0] == self.batch
        if self.spikes:
            assert set(np.unique(s.out[1])) == {0, 1}

    def test_unroll_is_the_loop_of_step(self) -> None:
        s, step = self.s, quick_jit(self.s.layer.step)
        state, outs = s.state, []
        for x in host(s.xs):
            state, out = step(s.params, state, x)
            outs.append(out)
        assert_same(s.out, (state, np.stack(outs)))

    def test_unroll_is_stepwise(self) -> None:
        """Values bit for bit, and gradients to parameters, state and inputs."""
        s = self.s
        _, grads, _ = s.result
        wanted, wanted_grads, *_ = s.stepwise()
        assert_same(s.out, wanted)
        assert_near(grads, wanted_grads, 1e-5)
        for leaf in jax.tree.leaves((wanted_grads[0], wanted_grads[2])):
            assert np.abs(leaf).max() > 0

    def test_observe_tells_and_changes_nothing(self) -> None:
        s = self.s
        state, outs, reports = s.stepwise()[2]
        assert_same((state, outs), s.out)
        assert len(reports) == self.reports
        for report in reports:
            assert report.in_window.shape == report.operations.shape == ()
            assert 0 <= float(report.in_window) <= 1
            rate = np.asarray(report.firing_rate)
            assert ((rate >= 0) & (rate <= 1)).all()
        if self.spikes:
            rates = np.asarray(outs).mean((0, 1))
            np.testing.assert_allclose(reports[-1].firing_rate, rates, rtol=1e-6)

    def test_apply_runs_it_from_rest(self) -> None:
        assert_same(self.s.stepwise()[3], self.s.out)

    def test_time_and_examples_flow_one_way(self) -> None:
        """D out[t, b] / d in[t', b'] is exactly 0 for t' > t and for b' != b; else it is not."""
        s = self.s
        size = self.steps, self.batch, int(np.prod(s.out_shape)), self.steps, self.batch, -1
        flow = np.abs(np.asarray(s.result[2]).reshape(size)).max((2, 5))  # [t, b, t', b']
        for t in range(self.steps):
            for b in range(self.batch):
                assert flow[t, b, t, b] > 0
                assert not flow[t, b, t + 1 :].any()
                assert not np.delete(flow[t, b], b, axis=1).any()
                if self.remembers:
                    assert (flow[t, b, :t, b] > 0).all()
                else:
                    assert not flow[t, b, :t, b].any()

    def test_outputs_do_not_see_the_future(self) -> None:
        """Values, not gradients: a surrogate could hide a leak."""
        s = self.s
        xs, wanted = host((s.xs, s.out[1]))
        for t in (1, 2):
            (_, outs), _, _ = host(s.unroll(s.params, s.state, np.concatenate([xs[:t], -xs[t:]])))
            assert_same(outs[:t], wanted[:t])
            assert (outs[t:] != wanted[t:]).any()

    def test_examples_are_independent(self) -> None:
        s = self.s
        xs, (last, wanted) = host((s.xs, s.out))
        for i in range(self.batch):
            changed = -xs
            changed[:, i] = xs[:, i]
            (state, outs), _, _ = host(s.unroll(s.params, s.state, changed))
            assert_same(outs[:, i], wanted[:, i])
            assert_same(
                jax.tree.map(lambda x, i=i: x[i], state), jax.tree.map(lambda x, i=i: x[i], last)
            )
            assert (outs != wanted).any()

    def test_vmap_over_params(self) -> None:
        """A stack of parameters, drawn from a stack of keys, is a stack of networks."""
        s = self.s
        if not jax.tree.leaves(s.draws):
            return
        for leaf in jax.tree.leaves(s.draws):
            assert leaf.ndim < 3 or (leaf[0] != leaf[1]).all()  # kernels; biases may all be 0
        stack = rounded(s.draws)
        out = host(quick_jit(jax.vmap(s.layer.unroll, (0, None, None)))(stack, s.state, s.xs))
        for k in range(2):
            lone = s.unroll(jax.tree.map(lambda x, k=k: x[k], stack), s.state, s.xs)[0]
            assert_same(jax.tree.map(lambda x, k=k: x[k], out), lone)
        assert (out[1][0] != out[1][1]).any()

    @pytest.mark.parametrize("batch", [0, 3])
    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
    def test_other_batches_and_dtypes(self, dtype: Any, batch: int) -> None:
        s = self.s

        def run(params: Any, xs: Any) -> Any:
            return sj.apply(s.layer, params, xs, key=self.key())

        xs = jax.ShapeDtypeStruct((5, batch, *self.shape), dtype)
        _, outs = jax.eval_shape(run, like(s.params, dtype), xs)
        assert (outs.shape, outs.dtype) == ((5, batch, *s.out_shape), dtype)
