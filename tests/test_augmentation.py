"""Elastic distortion against SciPy, mirrored images, and what both must leave as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from stbp_jax import elastic, horizontal_flip

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, 28, 20)).astype(np.float32)
compiled = jax.jit(elastic)  # one program, in place of one for each operation


def test_equals_scipy():
    sigma, alpha = 3.0, 20.0
    ways = np.asarray(jax.random.uniform(KEY, (2, *IMAGES.shape), jnp.float32, -1, 1))
    for image, down, right, got in zip(
        IMAGES, *ways, np.asarray(elastic(KEY, IMAGES, sigma=sigma, alpha=alpha)), strict=True
    ):
        smooth = [
            alpha * ndimage.gaussian_filter(way, sigma, mode="constant", truncate=10)
            for way in (down, right)
        ]
        where = np.indices(image.shape) + smooth
        wanted = ndimage.map_coordinates(image, where, order=1, mode="grid-constant")
        np.testing.assert_allclose(got, wanted, atol=2e-4)


def test_ways_have_the_standard_deviation_that_is_told():
    """A ramp tells how far each of its pixels came."""
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None], (200, 40, 40))
    moved = np.asarray(compiled(KEY, ramp))[:, 12:28, 12:28]
    way = moved - ramp[:, 12:28, 12:28]
    assert way.std() == pytest.approx(1.38, rel=0.05)
    assert abs(way.mean()) < 0.1
    next_to = np.corrcoef(way[:, :, :-1].ravel(), way[:, :, 1:].ravel())[0, 1]
    assert next_to > 0.95  # neighbours go together


def test_strength_zero_changes_nothing():
    np.testing.assert_allclose(elastic(KEY, IMAGES, alpha=0.0), IMAGES, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 8, 8, 1), (2, 8, 6, 3), (0, 8, 8, 1)])
def test_shape_and_dtype_stay(shape):
    for dtype in (np.uint8, np.float32, jnp.bfloat16):
        images = RNG.integers(0, 2, shape).astype(dtype)
        told = jax.eval_shape(elastic, KEY, images)
        assert (told.shape, told.dtype) == (shape, dtype)
    assert np.isfinite(compiled(KEY, images.astype(np.float32))).all()


def test_channels_move_together_and_images_apart():
    images = np.repeat(IMAGES[:1, ..., None], 2, axis=0).repeat(3, axis=-1)
    moved = np.asarray(compiled(KEY, images))
    np.testing.assert_array_equal(moved[..., 0], moved[..., 2])
    assert np.abs(moved[0] - moved[1]).max() > 0.1


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"images must have shape .* got \[28, 20\]"):
        elastic(KEY, IMAGES[0])
    with pytest.raises(ValueError, match="sigma must be positive"):
        elastic(KEY, IMAGES, sigma=0.0)
    with pytest.raises(ValueError, match="alpha must be 0 or more"):
        elastic(KEY, IMAGES, alpha=-1.0)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_each_image_is_mirrored_or_as_it_was(channels):
    images = RNG.integers(0, 256, (400, 4, 5, *channels), np.uint8)
    flip = jax.jit(horizontal_flip)
    got = np.asarray(flip(KEY, images, probability=0.25))
    axes = tuple(range(1, images.ndim))
    same, mirrored = ((got == wanted).all(axes) for wanted in (images, images[:, :, ::-1]))
    assert (same ^ mirrored).all()
    assert 0.15 < mirrored.mean() < 0.35
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(flip(KEY, images, probability=0.0), images)
    np.testing.assert_array_equal(flip(KEY, images, probability=1.0), images[:, :, ::-1])


def test_a_flip_names_what_it_cannot_take():
    with pytest.raises(ValueError, match=r"images must have shape .* got \[28, 20\]"):
        horizontal_flip(KEY, IMAGES[0])
    with pytest.raises(ValueError, match="probability must be between 0 and 1"):
        horizontal_flip(KEY, IMAGES, probability=1.5)
