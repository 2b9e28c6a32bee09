"""Matrix products: every shape that has a product, and errors for all others."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from tests.contracts import quick_jit

MATMULS = [
    sj.layers.full_matmul,
    sj.layers.bfloat16_matmul,
    sj.layers.split_bfloat16_matmul,
    sj.layers.event_driven_matmul,
]
X, KERNEL = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
each = pytest.mark.parametrize("matmul", MATMULS)


@each
@pytest.mark.parametrize(
    ("x", "kernel", "error", "message"),
    [
        (X[:, :2], KERNEL, ValueError, r"one number of inputs, got \[2, 2\] and \[3, 4\]"),
        (np.ones((2, 5)), KERNEL, ValueError, r"one number of inputs, got \[2, 5\] and \[3, 4\]"),
        (X[0, 0], KERNEL, ValueError, r"x must have shape \[in\], \[B, in\] or .*, got \[\]"),
        (X[None, None], KERNEL, ValueError, r"\[T, B, in\], got \[1, 1, 2, 3\]"),
        (X, KERNEL[0], ValueError, r"kernel must have shape \[in, out\], got \[4\]"),
        (X.tolist(), KERNEL, TypeError, "x must be an array, got list"),
        (X, KERNEL.tolist(), TypeError, "kernel must be an array, got list"),
        (X, {"kernel": KERNEL}, TypeError, "kernel must be an array, got dict"),
        (X, None, TypeError, "kernel must be an array, got NoneType"),
        ("x", KERNEL, TypeError, "x must be an array, got str"),
        (X, KERNEL.astype(int), TypeError, "kernel must be of floats, got dtype int"),
        (X, KERNEL > 0, TypeError, "kernel must be of floats, got dtype bool"),
        (X, KERNEL + 0j, TypeError, "kernel must be an array of real numbers, got dtype complex"),
        (X + 0j, KERNEL, TypeError, "x must be an array of real numbers, got dtype complex"),
        (np.ma.array(X), KERNEL, TypeError, "x must be an array without a mask"),
    ],
)
def test_refused_by_name(matmul, x, kernel, error, message):
    with pytest.raises(error, match=message):
        matmul(x, kernel)


@each
def test_leading_axes_are_examples(matmul):
    rng = np.random.default_rng(0)
    x = (rng.random((5, 2, 3)) < 0.5).astype(np.float32)
    kernel = rng.integers(-4, 5, (3, 4)).astype(np.float32)
    bar = rng.integers(-4, 5, (5, 2, 4)).astype(np.float32)
    y, pull = jax.vjp(matmul, x, kernel)
    flat, flat_pull = jax.vjp(matmul, x.reshape(10, 3), kernel)
    np.testing.assert_array_equal(y, flat.reshape(5, 2, 4))
    x_bar, kernel_bar = flat_pull(bar.reshape(10, 4))
    chex.assert_trees_all_equal(pull(bar), (x_bar.reshape(5, 2, 3), kernel_bar))
    np.testing.assert_array_equal(matmul(x[0, 0], kernel), y[0, 0])


@each
def test_shapes_are_checked_under_a_trace_too(matmul):
    with pytest.raises(ValueError, match="x and kernel must have one number of inputs"):
        jax.eval_shape(matmul, X[:, :2], KERNEL)


@each
def test_empty_and_narrow_operands(matmul):
    run = jax.jit(matmul)
    for shape in ((0, 3, 4), (2, 0, 4), (2, 3, 0)):
        got = run(np.ones(shape[:2], np.float32), np.ones(shape[1:], np.float32))
        assert got.dtype == jnp.float32
        np.testing.assert_array_equal(got, np.zeros((shape[0], shape[2])))
    for x in (X.astype(np.int8), X.astype(np.uint8), X > 0):
        np.testing.assert_array_equal(run(x, KERNEL), np.full((2, 4), 3))


def test_wide_weights_are_not_split(x64):
    with pytest.raises(TypeError, match="kernel must be float32, .* got float64"):
        sj.layers.split_bfloat16_matmul(X, KERNEL.astype(np.float64))
    assert sj.layers.full_matmul(X, KERNEL.astype(np.float64)).dtype == jnp.float64


@each
def test_nan_reaches_the_product(matmul):
    run = jax.jit(matmul)
    assert np.isnan(run(X, KERNEL * np.nan)).all()
    assert np.isnan(run(X * np.nan, KERNEL)).all()


@pytest.mark.parametrize("size", [1, 32, 33])
def test_gathered_product(size):
    rng = np.random.default_rng(size)
    x = np.where(rng.random((4, size)) < 0.3, rng.integers(1, 9, (4, size)) / 4, 0)
    x[0], x[1] = 0, 1
    kernel = jnp.asarray(rng.integers(-256, 256, (size, 5)) / 256)
    np.testing.assert_array_equal(sj.layers.event_driven_matmul(x, kernel), x @ np.asarray(kernel))

    @quick_jit
    def run(x, kernel):
        matmuls = sj.layers.event_driven_matmul, sj.layers.full_matmul
        bars = [jax.vjp(matmul, x, kernel)[1](jnp.ones((4, 5))) for matmul in matmuls]
        return bars, jax.vmap(sj.layers.event_driven_matmul, (0, None))(x[:, None], kernel)[:, 0]

    bars, each = run(jnp.asarray(x), kernel)
    jax.tree.map(np.testing.assert_array_equal, *bars)
    np.testing.assert_array_equal(each, x @ np.asarray(kernel))


def test_gathered_product_sums_in_float32():
    ones = jnp.ones((1, 1000), jnp.bfloat16)
    kernel = jnp.ones((1000, 2), jnp.bfloat16)
    got = sj.layers.event_driven_matmul(ones, kernel)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, jnp.full((1, 2), 1000, jnp.bfloat16))
