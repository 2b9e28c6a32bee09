"""Convolutions: the CPU's formulation against XLA's own."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax.layers import LayerParams
from stbp_jax.layers import _convolution as convolution
from tests import reference as ref
from tests.contracts import assert_near, assert_same, dyadic, like, quick_jit, random_like

# batch, height, width, channels; kernel's height and width, features
CASES = [
    ((2, 7, 9, 1), (5, 5, 3)),  # one tile of five columns; two that are padded to six
    ((2, 3, 10, 2), (2, 3, 4)),  # tiles of two
    ((1, 6, 11, 3), (1, 4, 2)),
    ((3, 4, 4, 2), (3, 1, 5)),  # tiles of one: a vector of pixels for each output
    ((2, 4, 3, 3), (4, 3, 1)),  # a single output in a row
    ((1, 6, 20, 2), (3, 7, 2)),
]


def operands(case: Any, dtype: Any = jnp.float32) -> tuple[jax.Array, jax.Array]:
    """Images and a kernel whose products sum exactly."""
    image, (*size, features) = case
    rng = np.random.default_rng(0)
    shapes = image, (*size, image[-1], features)
    return tuple(like(np.round(8 * dyadic(rng, -1, 1, s)) / 8, dtype) for s in shapes)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("case", CASES)
def test_banded_is_direct(case: Any, padding: str) -> None:
    """Values, all gradients and tangents; exact sums, so bit for bit."""
    x, kernel = operands(case)

    def run(formulation: Any, x: jax.Array, kernel: jax.Array) -> Any:
        function = partial(formulation, padding=padding)
        y, pull = jax.vjp(function, x, kernel)
        _, tangent = jax.jvp(function, (x, kernel), (2 * x, kernel))
        return y, pull(jnp.round(8 * random_like(y, 1)) / 8), tangent

    both = convolution.direct, convolution.convolve if case == CASES[0] else convolution.banded
    assert_same(*quick_jit(lambda *operands: [run(f, *operands) for f in both])(x, kernel))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_keeps_the_dtype(dtype: Any) -> None:
    x, kernel = operands(CASES[0], dtype)
    banded, direct = (partial(f, padding="same") for f in (convolution.banded, convolution.direct))

    @quick_jit
    def run(x: jax.Array, kernel: jax.Array) -> Any:
        y, pull = jax.vjp(banded, x, kernel)
        return y, direct(x, kernel), pull(y)

    y, wanted, bars = run(x, kernel)
    assert_same(y, wanted)
    assert y.dtype == dtype
    assert [g.dtype for g in bars] == [dtype, dtype]


def test_keeps_float64() -> None:
    with jax.enable_x64(True):
        x, kernel = operands(CASES[0], jnp.float64)
        x, kernel = x + 1e-12, kernel * (1 + 1e-12)
        y = convolution.banded(x, kernel, "valid")
        assert y.dtype == jnp.float64
        np.testing.assert_allclose(y, convolution.direct(x, kernel, "valid"), rtol=0, atol=1e-14)


def test_vmap_over_kernels_and_their_gradients() -> None:
    """As a sweep does."""
    x, kernel = operands(CASES[1])
    kernels = jnp.stack([kernel, -kernel, kernel / 2])

    def grad(formulation: Any, kernel: jax.Array) -> jax.Array:
        return jax.grad(lambda k: jnp.sum(formulation(x, k, "same") ** 2))(kernel)

    got = quick_jit(jax.vmap(partial(grad, convolution.convolve)))(kernels)
    wanted = jnp.stack([grad(convolution.direct, k) for k in kernels])
    assert_near(got, wanted, 1e-5)


@pytest.mark.parametrize("shape", [(0, 5, 5, 1), (2, 5, 5, 0)])
def test_nothing_to_convolve(shape: tuple[int, ...]) -> None:
    kernel = jnp.ones((3, 3, shape[-1], 2))
    y, pull = jax.vjp(partial(convolution.convolve, padding="valid"), jnp.ones(shape), kernel)
    assert y.shape == (shape[0], 3, 3, 2)
    assert not np.any(y)
    assert [g.shape for g in pull(y)] == [shape, kernel.shape]


@pytest.mark.parametrize(
    ("platform", "channels", "convolutions"),
    [("cpu", 1, 0), ("cpu", 16, 0), ("cuda", 1, 3), ("tpu", 15, 3)],
)
def test_the_platform_chooses(platform: str, channels: int, convolutions: int) -> None:
    """Of a program that is lowered for it, here or elsewhere; forward and both gradients."""

    def run(x: jax.Array, kernel: jax.Array) -> Any:
        y, pull = jax.vjp(partial(convolution.convolve, padding="valid"), x, kernel)
        return y, pull(y)

    operands = jnp.ones((2, 6, 6, channels)), jnp.ones((3, 3, channels, 2))
    lowered = jax.jit(run).trace(*operands).lower(lowering_platforms=(platform,))
    assert lowered.as_text().count("stablehlo.convolution") == convolutions


@pytest.mark.parametrize(
    ("columns", "kw", "tile"), [(24, 5, 4), (8, 5, 4), (30, 5, 5), (11, 5, 4), (2, 5, 2), (9, 1, 1)]
)
def test_tiles_are_cut_evenly(columns: int, kw: int, tile: int) -> None:
    assert convolution.tile_width(columns, kw) == tile


def a_key() -> jax.Array:
    return jax.random.key(7)


def padded(x: np.ndarray, kernel: tuple[int, int]) -> np.ndarray:
    """Zeros around images [B, h, w, c], so that a valid convolution keeps their size."""
    pads = [((k - 1) // 2, k - 1 - (k - 1) // 2) for k in kernel]
    return np.pad(x, ((0, 0), *pads, (0, 0)))


@pytest.mark.parametrize(
    ("padding", "kernel"), [("valid", (2, 4)), ("same", (3, 3)), ("same", (2, 4)), ("same", (5, 1))]
)
def test_conv_is_a_cross_correlation(padding: str, kernel: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x, w, b = (dyadic(rng, -1, 1, s) for s in ((3, 2, 5, 6, 2), (*kernel, 2, 3), (3,)))
    layer = sj.conv(3, kernel, padding=padding)
    params = LayerParams(like(sj.initializers.Weights(w, b), jnp.float32), ())
    _, ys = layer.unroll(params, (), like(x, jnp.float32))
    flat = x.reshape(-1, 5, 6, 2)
    wanted = ref.convolve(padded(flat, kernel) if padding == "same" else flat, w) + b
    np.testing.assert_array_equal(ys.reshape(wanted.shape), wanted)
    assert layer.init(a_key(), (5, 6, 2))[1] == wanted.shape[1:]
