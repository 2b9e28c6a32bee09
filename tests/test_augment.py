"""Elastic distortion against SciPy, mirrored images, and what both keep unchanged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from stbp_jax.augment import elastic, horizontal_flip

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
    """A ramp shows how far each of its pixels moved."""
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None], (200, 40, 40))
    moved = np.asarray(compiled(KEY, ramp))[:, 12:28, 12:28]
    way = moved - ramp[:, 12:28, 12:28]
    assert way.std() == pytest.approx(1.38, rel=0.05)
    assert abs(way.mean()) < 0.1
    next_to = np.corrcoef(way[:, :, :-1].ravel(), way[:, :, 1:].ravel())[0, 1]
    assert next_to > 0.95  # neighbors go together


def test_strength_zero_changes_nothing():
    np.testing.assert_allclose(elastic(KEY, IMAGES, alpha=0.0), IMAGES, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 8, 8, 1), (2, 8, 6, 3), (0, 8, 8, 1)])
def test_shape_and_dtype_stay(shape):
    for dtype in (np.uint8, np.float32, jnp.bfloat16):
        images = RNG.integers(0, 2, shape).astype(dtype)
        out = jax.eval_shape(elastic, KEY, images)
        assert (out.shape, out.dtype) == (shape, dtype)
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


AUGMENT = {"elastic": elastic, "flip": horizontal_flip}
augment = pytest.mark.parametrize("change", AUGMENT.values(), ids=AUGMENT)


@augment
@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (IMAGES.tolist(), TypeError, "images must be an array, got list"),
        ((IMAGES, IMAGES), TypeError, "images must be an array, got tuple"),
        ({"images": IMAGES}, TypeError, "images must be an array, got dict"),
        ("images", TypeError, "images must be an array, got str"),
        (None, TypeError, "images must be an array, got NoneType"),
        (
            IMAGES.astype(object),
            TypeError,
            "images must be an array of real numbers, got dtype object",
        ),
        (IMAGES.astype(">f4"), TypeError, "images must be in the byte order of this machine"),
        (np.ma.array(IMAGES), TypeError, "images must be an array without a mask"),
        (IMAGES[:, :0], ValueError, r"images must have pixels, got shape \[3, 0, 20\]"),
        (IMAGES[..., :0], ValueError, r"images must have pixels, got shape \[3, 28, 0\]"),
        (IMAGES[..., None][..., :0], ValueError, "images must have pixels"),
        (IMAGES[..., None, None], ValueError, r"images must have shape .* got \[3, 28, 20, 1, 1\]"),
    ],
)
def test_images_of_another_kind(change, images, error, message):
    with pytest.raises(error, match=message):
        change(KEY, images)


@augment
@pytest.mark.parametrize("key", [0, None, "key", np.zeros(2, np.float32), np.int32(3)])
def test_keys_of_another_kind(change, key):
    with pytest.raises(TypeError, match="key must be a random key, such as jax.random.key"):
        change(key, IMAGES)


@augment
def test_keys(change):
    with pytest.raises(ValueError, match=r"key must be a single key, got keys of shape \[2\]"):
        change(jax.random.split(KEY), IMAGES)
    for key in (jax.random.PRNGKey(0), KEY, jax.random.key(0, impl="rbg")):
        assert jax.eval_shape(change, key, IMAGES).shape == IMAGES.shape
    assert jax.eval_shape(jax.vmap(change, (0, None)), jax.random.split(KEY), IMAGES).ndim == 4


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int32, np.uint16, np.complex64])
def test_pixels_that_elastic_cannot_interpolate(dtype):
    with pytest.raises(TypeError, match="images must be .*, got dtype"):
        elastic(KEY, np.ones((2, 4, 4), dtype))


NUMBERS = {
    "sigma": lambda x: elastic(KEY, IMAGES, sigma=x),
    "alpha": lambda x: elastic(KEY, IMAGES, alpha=x),
    "probability": lambda x: horizontal_flip(KEY, IMAGES, probability=x),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_another_kind(name):
    for bad in ("0.5", None, True, 0.5j, [0.5], (0.5,), {}, jnp.int32(1)):
        with pytest.raises(TypeError, match=f"{name} must be a float"):
            NUMBERS[name](bad)
    for bad in (np.nan, np.inf, -0.5):
        with pytest.raises(ValueError, match=f"{name} must be .*, got {bad}"):
            NUMBERS[name](bad)
    with pytest.raises(ValueError, match=rf"{name} must be one number, got shape \[3\]"):
        NUMBERS[name](np.full(3, 0.5, np.float32))
    with pytest.raises(ValueError, match=rf"{name} must be one number, got shape \[3\]"):
        jax.eval_shape(NUMBERS[name], np.full(3, 0.5, np.float32))


@augment
def test_views_are_read_as_their_copies(change):
    view = np.repeat(IMAGES, 2, axis=2)[:, :, ::2]
    view.flags.writeable = False
    run = jax.jit(change)
    np.testing.assert_array_equal(run(KEY, view), run(KEY, IMAGES))
