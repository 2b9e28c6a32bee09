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


HEAVY = pytest.mark.heavy
STRIDES = [(2, 2), *(pytest.param(s, marks=HEAVY) for s in [(1, 3), (3, 1), (4, 5), (2, 3)])]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", STRIDES)
def test_banded_is_direct_with_a_stride(strides: Any, padding: str) -> None:
    """Strides below, at and above the kernel's size; gradients too."""
    pairs = [operands(case) for case in (CASES[0], CASES[2], CASES[3])]

    def run(formulation: Any) -> Any:
        found = []
        for x, kernel in pairs:
            y, pull = jax.vjp(partial(formulation, padding=padding, strides=strides), x, kernel)
            found.append((y, pull(jnp.round(8 * random_like(y, 1)) / 8)))
        return found

    assert_same(*quick_jit(lambda: [run(f) for f in (convolution.direct, convolution.banded)])())


@pytest.mark.parametrize(
    "matmul", [sj.layers.bfloat16_matmul, sj.layers.split_bfloat16_matmul, jnp.matmul]
)
def test_products(matmul: Any) -> None:
    """Eighths are exact in bfloat16, so that the values are those of the full product."""
    x, kernel = operands(CASES[1])

    def run(matmul: Any, x: jax.Array, kernel: jax.Array) -> Any:
        function = partial(convolution.convolve, padding="same", stride=2, matmul=matmul)
        y, pull = jax.vjp(function, x, kernel)
        return y, pull(jnp.round(8 * random_like(y, 1)) / 8)

    found, wanted = quick_jit(
        lambda *args: [run(m, *args) for m in (matmul, sj.layers.full_matmul)]
    )(x, kernel)
    assert_same(found, wanted)
    rounded = partial(convolution.convolve, kernel=kernel + 2**-9, padding="valid")
    same = (rounded(x, matmul=matmul) == rounded(x)).all()
    assert same == (matmul is not sj.layers.bfloat16_matmul)


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


@pytest.mark.parametrize("matmul", [sj.layers.full_matmul, sj.layers.bfloat16_matmul])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_strided_layer(padding: str, matmul: Any) -> None:
    """Every second row and third column, in both schedules, and each pixel's synapses."""
    rng = np.random.default_rng(0)
    x, w = (np.round(8 * dyadic(rng, -1, 1, s)) / 8 for s in ((3, 2, 5, 7, 2), (3, 2, 2, 3)))
    layer = sj.conv(3, (3, 2), stride=(2, 3), padding=padding, matmul=matmul)
    params = LayerParams(like(sj.initializers.Weights(w), jnp.float32), ())
    flat = x.reshape(-1, 5, 7, 2)
    if padding == "same":  # 3 rows of 5, from 1 row of zeros on; 3 columns of 7, from no zeros on
        flat = np.pad(flat, ((0, 0), (1, 1), (0, 1), (0, 0)))
    wanted = ref.convolve(flat, w)[:, ::2, ::3]
    assert layer.init(a_key(), (5, 7, 2))[1] == wanted.shape[1:]
    _, ys = layer.unroll(params, (), like(x, jnp.float32))
    np.testing.assert_array_equal(ys.reshape(wanted.shape), wanted)
    np.testing.assert_array_equal(layer.step(params, (), like(x[0], jnp.float32))[1], ys[0])
    spiking = sj.conv(3, (3, 2), sj.lif(), stride=(2, 3), padding=padding, matmul=matmul)
    stats = sj.apply_with_stats(spiking, params, jnp.ones((1, 1, 5, 7, 2)))[2]
    inside = np.ones((5, 7, 2))
    if padding == "same":
        inside = np.pad(inside, ((1, 1), (0, 1), (0, 0)))
    synapses = 3 * ref.convolve(inside[None], np.ones((3, 2, 2, 1)))[:, ::2, ::3].sum()
    assert float(stats[0].operations) == synapses


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"stride": 0}, ValueError, "stride must be at least 1, got 0"),
        ({"stride": (1, 2, 3)}, ValueError, "stride must be one integer or two"),
        ({"stride": 1.5}, TypeError, "stride must be a static integer"),
        ({"matmul": "bfloat16"}, TypeError, "matmul must be a function"),
        ({"matmul": sj.layers.event_driven_matmul}, ValueError, "saves no time in a convolution"),
    ],
)
def test_refused_by_name(kwargs: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        sj.conv(3, 3, **kwargs)


def test_the_text_of_a_stride() -> None:
    assert "stride=[2, 3]" in repr(sj.conv(3, 3, stride=(2, 3)))
    assert "stride" not in repr(sj.conv(3, 3))
