"""Traces of SpikingJelly: spikes bit for bit and gradients to 1e-12, for both unrolls.

tests/golden/README.md says how the file was made. Each case is a dense network 12 -> 10 -> 5.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax.layers import LayerParams
from tests import reference as ref
from tests.contracts import quick_jit

FILE = np.load(Path(__file__).parents[1] / "golden" / "spikingjelly.npz", allow_pickle=False)
CASES = json.loads(str(FILE["meta"]))["cases"]
IDS = [
    f"{i}-{c['reset']}-{'detached' if c['detach_reset'] else 'kept'}"
    f"-decay{c['decay']}-threshold{c['threshold']}-width{c['width']}"
    for i, c in enumerate(CASES)
]
UNROLLS = {"lif_unroll": sj.neurons.lif_unroll, "lif_scan": sj.neurons.lif_scan}


def load(i: int) -> dict[str, np.ndarray]:
    prefix = f"case{i}/"
    return {k.removeprefix(prefix): FILE[k] for k in FILE.files if k.startswith(prefix)}


@functools.cache
def program(unroll: str, reset: str, detach: bool) -> Callable[..., Any]:
    """Loss and gradients; decay, threshold and width are arguments, so that it compiles once."""
    reset = {"hard": sj.hard_reset, "soft": sj.soft_reset}[reset]
    reset = sj.detach_reset(reset) if detach else reset

    @quick_jit
    def run(params: Any, x: Any, y: Any, decay: Any, threshold: Any, width: Any) -> Any:
        neuron = sj.lif(
            decay=decay,
            threshold=threshold,
            surrogate=sj.rectangular(width),
            reset=reset,
            unroll=UNROLLS[unroll],
        )
        hidden, output = sj.dense(10, neuron), sj.dense(5, neuron)

        def loss(params: Any, x: Any) -> tuple[Any, Any]:
            _, o1 = sj.apply(hidden, params[0], x)
            _, o2 = sj.apply(output, params[1], o1)
            return sj.half_squared_error(sj.rate(o2), y).mean(), (o1, o2)

        def membranes(state: Any, x_t: Any) -> tuple[Any, Any]:
            state, _ = hidden.step(params[0], state, x_t)
            return state, state.membrane

        rest, _ = hidden.initial_state(params[0], x.shape[1:])
        values = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, x)
        return values, jax.lax.scan(membranes, rest, x)[1]

    return run


def test_the_file_is_worth_testing_against() -> None:
    assert len(CASES) >= 24
    for key, wanted in (("reset", {"hard", "soft"}), ("detach_reset", {True, False})):
        assert {case[key] for case in CASES} == wanted
    for i in range(len(CASES)):
        case = load(i)
        assert all(0.05 <= case[o].mean() <= 0.6 for o in ("o1", "o2"))
        assert all((v != 0).mean() > 0.3 for k, v in case.items() if k.startswith("grad_"))


@pytest.mark.parametrize("i", range(len(CASES)), ids=IDS)
def test_the_reference_agrees(i: int) -> None:
    """SpikingJelly and the recursion of PAPER.md, two independent codes, agree."""
    setting, case = CASES[i], load(i)
    layers = [
        ref.Layer(
            case[f"w{n}"].T,
            case[f"b{n}"],
            curve="h1",
            width=setting["width"],
            gate={"hard": "linear", "soft": "subtractive"}[setting["reset"]],
            tau=setting["decay"],
            vth=setting["threshold"],
            detach="reset detached" if setting["detach_reset"] else "kept",
        )
        for n in (1, 2)
    ]
    path = ref.forward(layers, case["x"])
    outs = path[-1].o[1:]
    x_bar, grads = ref.backward(layers, case["x"], path, ref.loss_backward(case["y"], outs))
    np.testing.assert_array_equal(path[0].o[1:], case["o1"])
    np.testing.assert_array_equal(outs, case["o2"])
    assert abs(ref.loss(case["y"], outs) - case["loss"]) < 1e-14
    np.testing.assert_allclose(x_bar, case["grad_x"], rtol=0, atol=1e-14)
    for n, grad in zip((1, 2), grads, strict=True):
        np.testing.assert_allclose(grad.kernel.T, case[f"grad_w{n}"], rtol=0, atol=1e-14)
        np.testing.assert_allclose(grad.bias, case[f"grad_b{n}"], rtol=0, atol=1e-14)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("i", range(len(CASES)), ids=IDS)
@pytest.mark.parametrize("unroll", UNROLLS)
def test_equals_spikingjelly(unroll: str, i: int) -> None:
    setting, case = CASES[i], load(i)
    params = tuple(
        LayerParams(
            sj.initializers.Weights(jnp.asarray(case[f"w{n}"].T), jnp.asarray(case[f"b{n}"])), ()
        )
        for n in (1, 2)
    )
    run = program(unroll, setting["reset"], setting["detach_reset"])
    constants = (jnp.float64(setting[k]) for k in ("decay", "threshold", "width"))
    ((loss, (o1, o2)), (grads, x_bar)), u1 = run(params, case["x"], case["y"], *constants)

    np.testing.assert_array_equal(o1, case["o1"])
    np.testing.assert_array_equal(o2, case["o2"])
    exact = setting["decay"] in (0.25, 0.5, 0.75)
    np.testing.assert_allclose(u1, case["u1"], rtol=0, atol=0 if exact else 1e-15)
    assert abs(float(loss) - case["loss"]) < 1e-14
    np.testing.assert_allclose(x_bar, case["grad_x"], rtol=0, atol=1e-12)
    for n, grad in zip((1, 2), grads, strict=True):
        kernel, bias = grad.synapse
        np.testing.assert_allclose(kernel.T, case[f"grad_w{n}"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(bias, case[f"grad_b{n}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("i", range(1, len(CASES), 2), ids=IDS[1::2])
def test_detaching_matters(i: int) -> None:
    """Neighbors share data and spikes; else a detach that does nothing would pass."""
    kept, detached = load(i - 1), load(i)
    np.testing.assert_array_equal(kept["o1"], detached["o1"])
    assert np.abs(kept["grad_w1"] - detached["grad_w1"]).max() > 1e-4
