"""Surrogates, neurons and networks drawn by Hypothesis, held to the checks of `stbp_jax.testing`.

    pip install hypothesis
    python tests/trials/drawn.py --surrogates 1500 --neurons 420 --networks 80

Constants and weights are dyadic, so that float32 sums are exact and no spike depends on the order
of a sum. A failure is printed with its case, and ends its kind.
"""

import argparse
import os
import time
import traceback
from collections.abc import Callable
from typing import Any

# XLA's older code generator compiles in a third of the time, as in the tests.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from hypothesis import strategies as st
from record import record

import stbp_jax as sj
from stbp_jax.testing import check_layer, check_neuron, check_surrogate
from stbp_jax.testing.trees import rounded

FAMILIES = (sj.rectangular, sj.polynomial, sj.sigmoid, sj.gaussian, sj.arctan, sj.superspike)
# Wide enough for a gradient at every membrane that the currents reach.
WIDE = ((sj.sigmoid, 1.0), (sj.gaussian, 2.0), (sj.arctan, 2.0), (sj.superspike, 4.0))
SHAPE = (4,)


class Case:
    """A part with the words that made it, which Hypothesis prints."""

    def __init__(self, part: Any, words: str) -> None:
        self.part, self.words = part, words

    def __repr__(self) -> str:
        return self.words


def called(make: Callable[..., Any], *args: Any, **named: Any) -> Case:
    """`make` of parts and numbers."""
    words = [repr(a) for a in args] + [f"{name}={a!r}" for name, a in named.items()]
    args, named = [part(a) for a in args], {name: part(a) for name, a in named.items()}
    return Case(make(*args, **named), f"{make.__name__}({', '.join(words)})")


def part(case: Any) -> Any:
    """What a case holds; a number is its own."""
    return case.part if isinstance(case, Case) else case


def recurrent(neuron: Case) -> Case:
    """With weights from each unit to each."""
    return called(sj.recurrent, neuron)


decays = st.sampled_from([0.125, 0.25, 0.5])
thresholds = st.integers(4, 40).map(lambda n: n / 64)
curves = st.sampled_from(WIDE).map(lambda pair: called(pair[0], pair[1]))
resets = st.sampled_from([sj.hard_reset, sj.soft_reset]).flatmap(
    lambda reset: st.sampled_from(
        [Case(reset, reset.__name__), called(sj.detach_reset, Case(reset, reset.__name__))]
    )
)
learnt = st.builds(
    lambda decay, curve: Case(
        sj.learnable_decay(
            lambda d: sj.lif(decay=d, surrogate=curve.part), sj.neurons.per_layer(decay)
        ),
        f"learnable_decay(lif with {curve}, per_layer({decay}))",
    ),
    decays,
    curves,
)
spiking = st.one_of(
    st.builds(
        lambda **kw: called(sj.lif, **kw),
        decay=decays,
        threshold=thresholds,
        surrogate=curves,
        reset=resets,
    ),
    st.builds(
        lambda **kw: called(sj.alif, **kw),
        decay=decays,
        threshold=thresholds,
        adaptation_decay=decays,
        adaptation_strength=st.integers(1, 8).map(lambda n: n / 64),
        surrogate=curves,
    ),
    learnt,
)
plain = st.one_of(spiking, decays.map(lambda d: called(sj.leaky_integrator, decay=d)))
filtered = st.builds(lambda n, decay: called(sj.current_based, n, decay=decay), plain, decays)
neurons = st.one_of(plain, filtered, st.one_of(spiking, filtered).map(recurrent))
units = st.sampled_from([(5,), (1,), (2, 3)])


@st.composite
def networks(draw: st.DrawFn) -> tuple[Case, tuple[int, ...]]:
    """A network of one to three blocks, and the shape of its inputs."""
    blocks, shape = [], SHAPE
    if draw(st.booleans()):
        shape = (4, 4, draw(st.integers(1, 2)))
        blocks.append(called(sj.conv, draw(st.integers(1, 3)), 3, draw(spiking), padding="same"))
        if draw(st.booleans()):
            blocks.append(called(draw(st.sampled_from([sj.avg_pool, sj.max_pool])), 2))
        blocks.append(called(sj.flatten))
    for _ in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(["plain", "residual", "parallel", "feedback", "dropout"]))
        wide = draw(st.integers(2, 5))
        neuron = draw(neurons if kind == "plain" else spiking)
        blocks.append(called(sj.dense, wide, neuron))
        if kind == "residual":
            blocks.append(called(sj.residual, called(sj.dense, wide, draw(spiking))))
        elif kind == "parallel":
            sides = [called(sj.dense, 2, draw(spiking)) for _ in range(2)]
            blocks.append(called(sj.concatenate, *sides))
        elif kind == "feedback":
            back = called(sj.dense, wide)
            blocks.append(called(sj.layers.feedback, called(sj.dense, wide, draw(spiking)), back))
        elif kind == "dropout":
            blocks.append(called(sj.dropout, 0.5))
    network = called(sj.serial, *blocks)
    schedule = draw(st.sampled_from(["none", "stepwise", "chunked"]))
    if schedule == "stepwise":
        network = called(sj.stepwise, network)
    elif schedule == "chunked":
        network = called(sj.chunked, network, draw(st.integers(1, 3)))
    return network, shape


def surrogate_holds(family: Any, width: float) -> None:
    """`check_surrogate` at any width."""
    check_surrogate(family(width), make=family)


def neuron_holds(case: Case, shape: tuple[int, ...]) -> None:
    """`check_neuron` with dyadic parameters."""
    params = rounded(case.part.init(jax.random.key(1), shape))
    check_neuron(case.part, units=shape, params=params, currents=(-0.5, 2.0))


def network_holds(network: Case, shape: tuple[int, ...]) -> None:
    """`check_layer` with dyadic parameters and inputs that drive all layers."""
    rng = np.random.default_rng(4)

    def mostly_positive(w: Any) -> Any:
        return np.abs(w) * rng.choice(np.float32([1, 1, 1, -1]), w.shape)

    drawn = network.part.init(jax.random.key(1), shape)[0]
    params = rounded(jax.tree.map(mostly_positive, drawn))
    quarters = rng.integers(-4, 9, (4, 2, *shape)) / 4
    check_layer(network.part, shape, params=params, xs=jnp.asarray(quarters, jnp.float32))


KINDS = {
    "surrogates": (
        surrogate_holds,
        st.tuples(st.sampled_from(FAMILIES), st.floats(0.0625, 20, width=32)),
    ),
    "neurons": (
        neuron_holds,
        st.one_of(
            st.tuples(neurons, units.filter(lambda shape: len(shape) == 1)),
            st.tuples(st.one_of(plain, filtered), units),
        ),
    ),
    "networks": (network_holds, networks()),
}


def main() -> None:
    """Draw, check, and record a row of all kinds together."""
    parser = argparse.ArgumentParser()
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="then no more cases")
    wanted = vars(parser.parse_args())
    number, until = wanted.pop("seed"), time.monotonic() + 60 * wanted.pop("minutes")
    jax.config.update("jax_disable_most_optimizations", True)
    tried, rejected, failures, seconds = {}, {}, [], {}
    for kind, (holds, cases) in KINDS.items():
        tried[kind], rejected[kind], began = 0, 0, time.process_time()

        def counted(case: Any) -> None:
            if time.monotonic() > until:
                return
            if tried[kind] % 20 == 0:
                jax.clear_caches()
                print(kind, tried[kind], f"{time.process_time():.0f} s", flush=True)
            try:
                holds(*case)
            except AssertionError as error:
                if "no gradient reaches" not in str(error):
                    raise
                rejected[kind] += 1  # some units of few fire never, or always
                reject()
            tried[kind] += 1

        run = settings(
            max_examples=max(wanted[kind], 1),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(seed(number)(given(cases)(counted)))
        try:
            if wanted[kind]:
                run()
        except Exception:
            failures.append(traceback.format_exc()[-4000:])
            print(failures[-1], flush=True)
        seconds[kind] = round(time.process_time() - began)
    record(
        "surrogates, neurons and networks drawn by Hypothesis",
        "every part of the contract holds (`stbp_jax.testing`)",
        tries=sum(tried.values()),
        failures=len(failures),
        drawn=tried,
        not_driven=rejected,
        cpu_seconds=seconds,
        failed=failures,
    )


if __name__ == "__main__":
    main()
