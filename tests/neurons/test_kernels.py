"""Kernels: the unroll contract in interpret mode, and the lowering for CUDA without a GPU."""

import contextlib
import functools
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax.neurons.kernels import bodies, launch, lif_pallas, lif_pallas_interpreted
from tests.contracts import (
    CURVES,
    CUTS,
    GRID,
    RESETS,
    NeuronContract,
    UnrollContract,
    _compiled,
    assert_near,
    assert_same,
    population,
    quick_jit,
)

CHUNK = bodies.CHUNK
KNOWN = jax.__version_info__[:2] < launch.TOO_NEW
known = pytest.mark.skipif(
    not KNOWN, reason=f"KERNELS NOT TESTED: made for jax up to 0.12, this is {jax.__version__}"
)


@known
@pytest.mark.heavy
class TestLifPallas(UnrollContract):
    unroll = staticmethod(lif_pallas_interpreted)

    def once(self, reset: Any, args: Any) -> Any:
        """An interpreted kernel is compiled even step by step, so all is."""
        return _compiled(self.unroll, reset)(*args)

    @pytest.fixture(autouse=True)
    def short_chunks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that the contract's short runs cross from chunk to chunk, and compile sooner."""
        monkeypatch.setattr(bodies, "CHUNK", 2)

    @pytest.mark.usefixtures("x64")
    @pytest.mark.parametrize(("curve", "name", "cut"), GRID)
    def test_is_the_recursion_of_the_paper(self, curve: str, name: str, cut: str) -> None:
        super().test_is_the_recursion_of_the_paper(curve, name, cut)

    @pytest.mark.usefixtures("x64")
    @pytest.mark.parametrize(
        ("name", "steps"),
        [("linear", CHUNK), ("exponential", CHUNK + 1), ("subtractive", 2 * CHUNK + 3)],
    )
    def test_chunks_as_they_are(
        self, name: str, steps: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bodies, "CHUNK", CHUNK)
        p = population(steps=steps, per_unit=True)
        args = p.args(self.surrogate("h3"), jnp.float64)
        got = _compiled(self.unroll, RESETS[name])(*args)
        assert_near(got, _compiled(sj.neurons.lif_unroll, RESETS[name])(*args), 1e-12)

    @pytest.mark.usefixtures("x64")  # a sum over many neurons cancels
    @pytest.mark.parametrize("units", [(128,), (70, 2)], ids=["whole blocks", "a part of one"])
    @pytest.mark.parametrize("per_unit", [False, True])
    def test_more_neurons_than_a_block(self, units: tuple[int, ...], per_unit: bool) -> None:
        p = population(steps=2, batch=4, units=units, per_unit=per_unit)
        assert p.membrane.size > launch.BLOCK
        assert (p.membrane.size % launch.BLOCK == 0) == (units == (128,))
        args = p.args(self.surrogate("h2"), jnp.float64)
        reset = self.reset("subtractive")
        out, grads = _compiled(self.unroll, reset)(*args)
        wanted, wanted_grads = _compiled(sj.neurons.lif_unroll, reset)(*args)
        assert_same(out, wanted)
        assert_near(grads, wanted_grads, 1e-12)

    def test_constants_for_each_example(self) -> None:
        """Not only scalars and one for each unit: whatever broadcasts."""
        p = population(steps=2)
        p.decay = np.array([0.25, 0.5, 0.125])[:, None]
        p.threshold = np.broadcast_to([0.375, 0.5, 0.5, 0.625, 0.75], (3, 5))
        args, reset = p.args(self.surrogate()), self.reset("linear")
        out, grads = _compiled(self.unroll, reset)(*args)
        wanted, wanted_grads = _compiled(sj.neurons.lif_unroll, reset)(*args)
        assert_same(out, wanted)
        assert_near(grads, wanted_grads, 1e-5)

    def test_a_bfloat16_state_is_all_that_is_carried(self) -> None:
        """Nothing wider than the state survives a step, or two halves would differ."""
        rng = np.random.default_rng(7)
        p = population(steps=6)
        p.decay = np.asarray(1.0)  # else a difference decays below the last bit
        p.currents = rng.uniform(-0.3, 0.4, p.currents.shape)
        constants, state, currents, _ = p.args(self.surrogate(), jnp.bfloat16)
        forward = quick_jit(functools.partial(self.unroll, self.reset("linear")))
        out = forward(constants, state, currents)
        halves = []
        for half in (slice(3), slice(3, None)):
            state, spikes = forward(constants, state, currents[half])
            halves.append(spikes)
        assert_same((state, jnp.concatenate(halves)), out)
        assert 0.1 < float(out[1].mean()) < 0.9


@known
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("curve", "name", "cut", "chunk"),
    [
        ("h1", "linear", "kept", 1),  # three chunks
        ("h4", "subtractive", "reset detached", 2),  # two, one of them shorter
        ("h3", "exponential", "time detached", 8),  # a part of one
    ],
)
def test_is_the_recursion_of_the_paper(
    curve: str, name: str, cut: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few cases of the heavy class, for every run."""
    monkeypatch.setattr(bodies, "CHUNK", chunk)
    TestLifPallas().test_is_the_recursion_of_the_paper(curve, name, cut)


@known
@pytest.mark.usefixtures("x64")
def test_more_neurons_than_a_block() -> None:
    TestLifPallas().test_more_neurons_than_a_block((70, 2), True)


@known
@pytest.mark.heavy
class TestLifWithPallas(NeuronContract):
    units = (5, 2)
    make = staticmethod(
        lambda: sj.lif(
            decay=0.5,
            threshold=jnp.arange(3.0, 13.0).reshape(5, 2) / 16,
            surrogate=sj.gaussian(0.3),
            unroll=lif_pallas_interpreted,
        )
    )


# Lowering for CUDA --------------------------------------------------------------------------------


def lowered(function: Any, *args: Any) -> str:
    """The program for CUDA; from JAX 0.11 on the lowering wants to know which GPU."""
    gpu: Any = contextlib.nullcontext()
    if jax.__version_info__ >= (0, 11):
        from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

        device = AbstractDevice(device_kind="NVIDIA H100", num_cores=132, platform="gpu")
        gpu = use_abstract_mesh(AbstractMesh((), (), abstract_device=device))
    with gpu:
        return jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


def run(reset: Any, constants: Any, state: Any, currents: Any, bars: Any) -> Any:
    out, pull = jax.vjp(functools.partial(lif_pallas, reset), constants, state, currents)
    return out, pull(bars)


@known
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")
class TestLoweringForCuda:
    @pytest.mark.parametrize(
        ("name", "cut", "curve", "dtype"),
        [
            ("exponential", "kept", "h1", jnp.float32),
            ("subtractive", "kept", "h4", jnp.float16),
            *(
                pytest.param("exponential", "kept", curve, jnp.float32, marks=pytest.mark.heavy)
                for curve in CURVES
                if curve != "h1"
            ),
            *(
                pytest.param("linear", cut, "h1", jnp.bfloat16, marks=pytest.mark.heavy)
                for cut in CUTS
            ),
        ],
    )
    def test_forward_and_backward(self, name: str, cut: str, curve: str, dtype: Any) -> None:
        contract = TestLifPallas()
        p = population(steps=CHUNK + 1, per_unit=curve != "h4")
        args = p.args(contract.surrogate(curve), dtype)
        text = lowered(functools.partial(run, contract.reset(name, cut)), *args)
        assert text.count("__gpu$xla.gpu.triton") == 2

    def test_whole_blocks(self) -> None:
        p = population(units=(launch.BLOCK,), steps=1)
        text = lowered(functools.partial(run, sj.hard_reset), *p.args(sj.rectangular()))
        assert text.count("__gpu$xla.gpu.triton") == 2
        assert text.count("grid_x = 3") == 2

    def test_two_vmaps(self) -> None:
        """Whole runs have two: points and seeds."""
        p = population(steps=2)
        constants, *rest = p.args(sj.rectangular())

        def point(decay: Any, currents: Any) -> Any:
            return run(sj.hard_reset, constants._replace(decay=decay), rest[0], currents, rest[2])

        sweep = jax.vmap(jax.vmap(point, (None, 0)), (0, None))
        text = lowered(sweep, jnp.array([0.25, 0.5]), jnp.stack([rest[1]] * 3))
        assert text.count("__gpu$xla.gpu.triton") == 2

    def test_the_constants_cost_nothing_unless_asked(self) -> None:
        """Their gradient runs the membrane once more, in a loop of XLA's."""
        constants, state, currents, bars = population(steps=2).args(sj.rectangular())

        def gradient(currents: Any) -> Any:
            return run(sj.hard_reset, constants, state, currents, bars)[1][2]

        assert "stablehlo.while" not in lowered(gradient, currents)

    def test_without_a_gradient_one_kernel(self) -> None:
        args = population().args(sj.rectangular())[:3]
        text = lowered(functools.partial(lif_pallas, sj.hard_reset), *args)
        assert text.count("__gpu$xla.gpu.triton") == 1

    @pytest.mark.parametrize("platform", ["cpu", "tpu", "rocm"])
    def test_refuses_other_platforms(self, platform: str) -> None:
        args = population().args(sj.rectangular())[:3]
        traced = jax.jit(functools.partial(lif_pallas, sj.hard_reset)).trace(*args)
        with pytest.raises(NotImplementedError, match=f"not found for platform {platform}"):
            traced.lower(lowering_platforms=(platform,))


# Errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.13.0", "1.0.0.dev1"])
def test_refuses_unknown_releases(version: str) -> None:
    with pytest.raises(NotImplementedError, match=rf"must be 0.12 or earlier.*{version}"):
        launch.check_version(version)


@pytest.mark.parametrize("version", ["0.10.0", "0.10.2", "0.11.2", "0.12.0.1"])
def test_takes_known_releases(version: str) -> None:
    launch.check_version(version)


def test_the_gate_stands_before_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "TOO_NEW", (0, 10))
    args = population().args(sj.rectangular())[:3]
    for unroll in (lif_pallas, lif_pallas_interpreted):
        with pytest.raises(NotImplementedError, match="jax must be"):
            unroll(sj.hard_reset, *args)


def test_refuses_dtypes() -> None:
    constants, state, currents, _ = population().args(sj.rectangular())
    with pytest.raises(NotImplementedError, match=r"one float dtype.*'bfloat16', 'float32'"):
        lif_pallas(sj.hard_reset, constants, state, currents.astype(jnp.bfloat16))
    ints = jax.tree.map(lambda x: x.astype(jnp.int32), (state, currents))
    with pytest.raises(NotImplementedError, match=r"one float dtype.*int32"):
        lif_pallas(sj.hard_reset, constants, *ints)


def test_refuses_shapes() -> None:
    constants, state, currents, _ = population().args(sj.rectangular())
    with pytest.raises(ValueError, match=r"one shape.*\(3, 5\).*\(3, 4\)"):
        lif_pallas(sj.hard_reset, constants, state, currents[..., :4])
    with pytest.raises(NotImplementedError, match="at least one step"):
        lif_pallas(sj.hard_reset, constants, state, currents[:0])


def test_refuses_arrays_in_closures() -> None:
    constants, state, currents, _ = population().args(sj.rectangular())
    leak = jnp.linspace(0, 1, 5)

    def reset(constants: sj.neurons.LIFConstants, state: sj.neurons.LIFState) -> Any:
        return leak[None] * state.membrane

    with pytest.raises(NotImplementedError, match="closes over arrays"):
        lif_pallas(reset, constants, state, currents)
    family = sj.rectangular().family._replace(derivative=lambda v, a: v * leak[None])
    curve = sj.rectangular().replace(family=family)
    with pytest.raises(NotImplementedError, match="closes over arrays"):
        lif_pallas(sj.hard_reset, constants._replace(surrogate=curve), state, currents)


def test_importing_the_room_imports_no_pallas() -> None:
    code = "import sys, stbp_jax\nassert 'stbp_jax.neurons.kernels' not in sys.modules\n"
    code += "import stbp_jax.neurons.kernels\nprint('jax.experimental.pallas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
