"""The loop by blocks of steps, which a GPU runs, in the place of the other one on a CPU.

The contracts compare it with scans of the step and with the recursion of the paper.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax.neurons import blocks
from tests.contracts import NeuronContract, UnrollContract, assert_near, assert_same, quick_jit

SHAPE = (7, 2, 5)
RNG = np.random.default_rng(0)
CURRENTS = jnp.asarray(RNG.integers(-96, 192, SHAPE) / 256, jnp.float32)
BARS = jnp.asarray(RNG.normal(size=SHAPE), jnp.float32)
FIRST = jnp.asarray(RNG.random(SHAPE[:2]) < 0.3)


@contextlib.contextmanager
def everywhere() -> Iterator[None]:
    """Blocks on every platform."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "by_platform", lambda loop, by_blocks, steps, args: by_blocks(*args))
        jax.clear_caches()  # programs of equal functions hold the other loop
        yield
    jax.clear_caches()


@pytest.fixture(scope="class")
def by_blocks() -> Iterator[None]:
    with everywhere():
        yield


def lif(block: int | None, **kwargs: Any) -> sj.Neuron:
    unroll = functools.partial(sj.neurons.lif_unroll, block=block)
    return sj.lif(decay=0.5, unroll=unroll, **kwargs)


def values(neuron: sj.Neuron, currents: Any, *first: Any) -> Any:
    return neuron.unroll((), neuron.initial_state(SHAPE[1:], currents.dtype), currents, *first)


def gradient(make: Any, decay: Any, *first: Any) -> Any:
    """Values, and gradients to a decay and to the currents."""
    run = lambda decay, currents: values(make(decay), currents, *first)  # noqa: E731
    (state, outs), pull = jax.vjp(run, decay, CURRENTS)
    return (state, outs), pull((jax.tree.map(jnp.ones_like, state), BARS))


def neurons(block: int | None) -> dict[str, Any]:
    """Neurons as functions of their decay, which is a traced number."""
    curve = sj.gaussian(0.3)
    unroll = functools.partial(sj.neurons.lif_unroll, block=block)
    alif = functools.partial(sj.alif, block=block, surrogate=curve)

    def closing(decay: Any) -> sj.Neuron:  # over the decay, as a reset and a curve may
        def reset(constants: Any, state: Any) -> Any:
            return decay * (state.membrane - state.spikes)

        return sj.lif(decay=0.5, reset=reset, surrogate=sj.gaussian(decay), unroll=unroll)

    def filtered(decay: Any) -> sj.Neuron:
        return sj.current_based(lif(block, surrogate=curve), decay=decay)

    return {
        "lif": lambda decay: sj.lif(decay=decay, surrogate=curve, unroll=unroll),
        "alif": lambda decay: alif(decay=decay, adaptation_decay=decay),
        "closing": closing,
        "filtered": filtered,
    }


@pytest.mark.usefixtures("by_blocks")
@pytest.mark.heavy
class TestBlocks(UnrollContract):
    unroll = staticmethod(functools.partial(sj.neurons.lif_unroll, block=2))


@pytest.mark.usefixtures("by_blocks")
@pytest.mark.heavy
class TestAlifByBlocks(NeuronContract):
    make = staticmethod(
        lambda: sj.alif(
            decay=0.5,
            adaptation_decay=0.5,
            adaptation_strength=0.25,
            surrogate=sj.gaussian(0.3),
            block=3,
        )
    )


@pytest.mark.usefixtures("by_blocks")
@pytest.mark.heavy
class TestCurrentBasedByBlocks(NeuronContract):
    make = staticmethod(lambda: sj.current_based(lif(3, surrogate=sj.gaussian(0.3)), decay=0.5))


@pytest.mark.parametrize("restarts", [False, True], ids=["once", "restarts"])
@pytest.mark.parametrize("name", neurons(None))
def test_equal_the_loop(name: str, restarts: bool) -> None:
    """Equal bits forward; gradients to the order of the sum of the constants."""
    first = (FIRST,) if restarts else ()
    wanted, wanted_grads = quick_jit(functools.partial(gradient, neurons(None)[name]))(0.5, *first)
    with everywhere():  # two blocks and a remainder, or one block
        for block in (3,) if restarts else (3, None):
            run = quick_jit(functools.partial(gradient, neurons(block)[name]))
            found, grads = run(0.5, *first)
            assert_same(found, wanted)
            assert_near(grads, wanted_grads, 1e-5)


def test_second_order_equals_the_loop() -> None:
    def size(decay: Any) -> Any:
        return sum(jnp.sum(g**2) for g in gradient(neurons(3)["lif"], decay)[1])

    wanted = quick_jit(jax.grad(size))(0.5)
    with everywhere():
        assert_near(quick_jit(jax.grad(size))(0.5), wanted, 1e-5)


def test_chunks_keep_membranes() -> None:
    """Under `jax.checkpoint` with the policy that stores the membranes."""
    net = sj.chunked(sj.dense(4, lif(2)), 4, policy=sj.neurons.keep_membranes)
    params, _ = net.init(jax.random.key(0), SHAPE[2:])

    def loss(params: Any) -> Any:
        return jnp.sum(sj.apply(net, params, CURRENTS)[1] * BARS[..., :4])

    wanted = quick_jit(jax.grad(loss))(params)
    with everywhere():
        assert_near(quick_jit(jax.grad(loss))(params), wanted, 1e-6)


@pytest.mark.parametrize("name", neurons(None))
def test_platform_selects_the_loop(name: str) -> None:
    """One block of all steps has no loop; a CPU has one in each direction."""
    traced = jax.jit(functools.partial(gradient, neurons(7)[name])).trace(0.5)
    loops = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.while")
        for platform in ("cpu", "tpu", "cuda", "rocm")
    }
    directions = 4 if name == "filtered" else 2
    assert loops == {"cpu": directions, "tpu": 0, "cuda": 0, "rocm": 0}


def test_sizes() -> None:
    for steps in range(1, 400):
        size = blocks.block_steps(steps)
        assert 1 <= size <= blocks.LONGEST
        assert size == steps or size >= blocks.SHORTEST
    assert blocks.block_steps(5, 8) == 5
    assert blocks.block_steps(5, 2) == 2


@pytest.mark.parametrize("block", [0, 2.5, "long"])
def test_refuses(block: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="block must be"):
        sj.alif(block=block)
    with pytest.raises((TypeError, ValueError), match="block must be"):
        values(lif(block), CURRENTS)
