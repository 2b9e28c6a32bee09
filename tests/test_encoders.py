"""Codings: exact definitions, and the statistics of the Bernoulli code down to its bits.

All keys are fixed. Bounds of statistics are five or more standard errors from the true value, so
another generator passes too; a wrong split of the 32-bit draws misses the bounds by far.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from stbp_jax import bernoulli, constant, encoders, latency
from stbp_jax.encoders import threefry2x32

KEY = jax.random.key(42)
IMAGES = np.linspace(0, 1, 256, dtype=np.float32).reshape(4, 64)  # one shape, few compilations


# One program for each shape, in place of one for each operation.
compiled = jax.jit(bernoulli, static_argnums=2)


def binomial_z(hits, p, n):
    """Distance of a count from its mean n p, in standard deviations."""
    return (hits - n * p) / np.sqrt(n * p * (1 - p))


# The Bernoulli code -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_steps", "shape"),
    [
        *((steps, (2, 5)) for steps in (1, 2, 3, 4, 32, 33, 67, 90)),
        (8, (2, 4, 4, 1)),
        (5, (4,)),
        (5, (0, 5)),
        (70, (0, 5)),
    ],
)
def test_bernoulli_has_the_time_axis_first(num_steps, shape):
    spikes = compiled(KEY, np.full(shape, 0.5, np.float32), num_steps)
    assert spikes.shape == (num_steps, *shape)
    assert spikes.dtype == jnp.float32
    assert set(np.unique(spikes)) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint8, 255), (np.float32, 1), (np.float64, 1), (jnp.bfloat16, 1)]
)
def test_black_never_fires_and_white_always_does(dtype, white):
    # 5e5 draws a kind: a limit off by one in 65536 would show in eight of them.
    images = np.repeat(np.array([[0], [white]]), 60_000, axis=1).astype(dtype)
    spikes = np.asarray(compiled(KEY, images, 9))
    assert not np.any(spikes[:, 0])
    assert np.all(spikes[:, 1] == 1)


def test_uint8_is_the_float_divided_by_255():
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 64)
    np.testing.assert_array_equal(
        bernoulli(KEY, pixels, 5), bernoulli(KEY, pixels.astype(np.float32) / 255, 5)
    )


def test_blocks_of_a_long_code_are_drawn_apart():
    """Past 32 steps: every block has its rate, and none repeats another."""
    p = np.array([0.1, 0.5, 0.9], np.float32)
    spikes = np.asarray(compiled(KEY, np.repeat(p[:, None], 20_000, axis=1), 67))
    assert np.all(np.abs(binomial_z(spikes.sum(axis=2), p, spikes.shape[2])) < 5)
    between = np.corrcoef(spikes[:, 1])[np.triu_indices(67, 1)]
    assert np.abs(between).max() < 5.5 / np.sqrt(spikes.shape[2])


def test_blocks_at_once_are_those_in_turn(monkeypatch):
    """A GPU draws all blocks at once, and the bits of a CPU, which draws them in turn."""
    wanted = compiled(KEY, IMAGES, 70)
    choose = lambda *args, default, cuda, **others: cuda(*args)  # noqa: E731
    monkeypatch.setattr(encoders.lax, "platform_dependent", choose)
    np.testing.assert_array_equal(jax.jit(lambda: bernoulli(KEY, IMAGES, 70))(), wanted)


@pytest.fixture(scope="module")
def sample():
    """Spikes [T, p, repeats] of pixels with a few probabilities, and those probabilities."""
    levels = np.array([1, 26, 77, 128, 200, 254], np.uint8)
    images = np.repeat(levels[:, None], 8192, axis=1)
    return np.asarray(compiled(KEY, images, 32)), levels / 255


def test_mean_and_variance_are_those_of_the_pixel(sample):
    spikes, p = sample
    n = spikes.shape[0] * spikes.shape[2]
    hits = spikes.sum(axis=(0, 2))
    assert np.all(np.abs(binomial_z(hits, p, n)) < 5)
    # Counts over time of independent draws scatter with T p (1 - p). The rounding that steps share
    # may widen that by T 4e-6 / p (1 - p); the rest of the bound are five standard errors.
    per_step = p * (1 - p)
    steps, _, repeats = spikes.shape
    scatter = spikes.sum(axis=0).var(axis=1, ddof=1) / (steps * per_step)
    error = np.sqrt((2 + 1 / (steps * per_step)) / repeats)
    assert np.all(np.abs(scatter - 1) < 5 * error + steps * 4e-6 / per_step)


def standardized(sample):
    spikes, p = sample
    return (spikes - p[:, None]) / np.sqrt(p * (1 - p))[:, None]


@pytest.mark.parametrize("phase", range(4))
def test_every_byte_of_a_draw_has_the_right_mean(sample, phase):
    spikes, p = sample
    part = spikes[phase::4]
    hits = part.sum(axis=(0, 2))
    assert np.all(np.abs(binomial_z(hits, p, part.shape[0] * part.shape[2])) < 5)


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 16])
@pytest.mark.parametrize("phase", range(4))
def test_steps_are_independent(sample, lag, phase):
    # Four steps come from one draw: each pair within it, and across draws, by itself.
    z = standardized(sample)
    first = z[phase : len(z) - lag : 4]
    later = z[phase + lag :: 4]
    assert first.shape == later.shape
    correlation = np.mean(first * later, axis=(0, 2))
    assert np.all(np.abs(correlation) < 5 / np.sqrt(first[:, 0].size) + 4e-6 * 255)


def test_pixels_and_examples_are_independent(sample):
    z = standardized(sample)
    n = z[:, 0].size
    neighbors = np.mean(z[..., :-1] * z[..., 1:], axis=(0, 2))
    across = np.mean(z[:, :-1] * z[:, 1:], axis=(0, 2))
    assert np.all(np.abs(neighbors) < 5 / np.sqrt(n))
    assert np.all(np.abs(across) < 5 / np.sqrt(n))


@functools.cache
def _draws():
    """The random number behind every spike, `[T, N]` of 16 bits, found by bisection.

    One key draws the same whatever the image: a pixel fires at a step where 65536 p exceeds that
    step's number. Its high byte is the step's own, its low byte the pixel's rounding.
    """
    steps, n = 9, 8192
    encode = jax.jit(jax.vmap(lambda p: bernoulli(KEY, p[None], steps)[:, 0]))
    numbers = np.zeros((steps, n), np.int64)
    for bit in reversed(range(16)):
        # Each step asks for a limit of its own, but an image serves all steps: encode the limits
        # of all steps, and of the encoding of step t's read step t.
        limits = numbers + (1 << bit)
        fired = np.asarray(encode((limits / 65536).astype(np.float32)))
        fired = fired[np.arange(steps), np.arange(steps)]
        numbers = np.where(fired, numbers, limits)
    return numbers


def test_threefry_is_that_of_jax():
    key, rng = jax.random.key_data(jax.random.key(5)), np.random.default_rng(5)
    counters = jnp.asarray(rng.integers(0, 2**32, (2, 50), np.uint32))
    wanted = threefry_2x32(key, counters.ravel()).reshape(2, 50)
    np.testing.assert_array_equal(jnp.stack(threefry2x32(key, *counters)), wanted)


def test_every_bit_is_fair():
    draws = _draws()
    bits = draws[..., None] >> np.arange(16) & 1
    assert np.all(np.abs(binomial_z(bits[..., 8:].sum(axis=(0, 1)), 0.5, draws.size)) < 5)
    assert np.all(np.abs(binomial_z(bits[0, :, :8].sum(axis=0), 0.5, draws.shape[1])) < 5)


def test_steps_share_the_rounding_and_nothing_else():
    # The bits of nine steps, two words and a bit, and of the rounding, all against each other: a
    # shift or a mask of another size, or a byte used twice, shows as a correlation of 1.
    draws = _draws()
    high, low = draws >> 8, draws & 255
    np.testing.assert_array_equal(low, np.broadcast_to(low[0], low.shape))
    words = np.concatenate([high, low[:1]])
    bits = (words[:, None] >> np.arange(8)[None, :, None] & 1).reshape(-1, words.shape[1])
    correlation = np.corrcoef(bits) - np.eye(len(bits))
    assert np.abs(correlation).max() < 6 / np.sqrt(bits.shape[1])


def test_probabilities_are_exact_to_2_to_the_minus_17():
    draws = _draws()
    # Where the number is d, limits of d stay silent and limits of d + 1 fire; the nearest limit,
    # not the one below, represents p.
    t, i = np.unravel_index(np.argmin(np.abs(draws - 30000)), draws.shape)
    for excess, fires in ((0.25, False), (0.75, True)):
        image = np.full((1, draws.shape[1]), (draws[t, i] + excess) / 65536, np.float32)
        assert bool(np.asarray(compiled(KEY, image, draws.shape[0]))[t, 0, i]) is fires


KEYS = {
    "threefry": lambda: jax.random.key(0),
    "rbg": lambda: jax.random.key(0, impl="rbg"),
    "raw uint32": lambda: jax.random.PRNGKey(0),
}


@pytest.mark.parametrize("make", KEYS.values(), ids=KEYS)
def test_any_kind_of_key(make):
    images = np.full((4, 4096), 0.25, np.float32)
    first = compiled(make(), images, 16)
    np.testing.assert_array_equal(first, compiled(make(), images, 16))
    assert abs(binomial_z(np.sum(first), 0.25, first.size)) < 5
    z = (np.asarray(first) - 0.25) / np.sqrt(0.1875)
    pairs = z[:-1] * z[1:]
    assert abs(pairs.mean()) < 5 / np.sqrt(pairs.size)


def test_raw_and_typed_keys_draw_the_same_and_others_differ():
    spikes = bernoulli(jax.random.key(7), IMAGES, 5)
    np.testing.assert_array_equal(spikes, bernoulli(jax.random.PRNGKey(7), IMAGES, 5))
    assert np.any(spikes != bernoulli(KEY, IMAGES, 5))


def test_bernoulli_under_jit_and_vmap():
    keys = jax.random.split(KEY, 4)
    lone = np.stack([bernoulli(k, IMAGES, 5) for k in keys])  # without jit
    stack = jax.jit(jax.vmap(lambda k, x: bernoulli(k, x, 5), (0, None)))(keys, IMAGES)
    np.testing.assert_array_equal(stack, lone)


@pytest.mark.parametrize("encode", [functools.partial(bernoulli, KEY), latency])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.uint8, bool])
def test_spikes_of_any_dtype(encode, dtype):
    spikes = encode(IMAGES, 5, dtype=dtype)
    assert spikes.dtype == dtype
    np.testing.assert_array_equal(np.asarray(spikes, np.float32), encode(IMAGES, 5))


def test_float64_changes_the_type_and_no_spike(x64):
    for encode in (functools.partial(bernoulli, KEY), latency, constant):
        wide = encode(IMAGES, 5)
        assert wide.dtype == jnp.float64
        with jax.enable_x64(False):
            narrow = encode(IMAGES, 5)
        np.testing.assert_array_equal(wide, narrow)


# Constant and latency ---------------------------------------------------------------------------


def test_constant_repeats_the_value():
    images = np.array([[0.0, 0.25, 1.0]], np.float32)
    np.testing.assert_array_equal(constant(images, 4), np.broadcast_to(images, (4, 1, 3)))
    assert constant(images, 4, dtype=jnp.bfloat16).dtype == jnp.bfloat16


def test_constant_of_uint8_is_a_share_of_255():
    pixels = np.arange(256, dtype=np.uint8)[None]
    expected = (np.arange(256) / 255).astype(np.float32)
    np.testing.assert_allclose(constant(pixels, 1)[0, 0], expected, rtol=2e-7)


@pytest.mark.parametrize("num_steps", [1, 2, 5, 30])
def test_latency_fires_once_at_the_rounded_step(num_steps):
    p = np.linspace(0, 1, 201, dtype=np.float32)
    spikes = np.asarray(latency(p[None], num_steps))[:, 0]
    assert spikes.shape == (num_steps, 201)
    np.testing.assert_array_equal(spikes.sum(axis=0), p > 0)
    expected = np.round((1 - p) * np.float32(num_steps - 1)).astype(int)
    np.testing.assert_array_equal(spikes.argmax(axis=0)[1:], expected[1:])


def test_latency_ends():
    spikes = latency(np.array([[1.0, 1e-6, 0.0]], np.float32), 7)[:, 0]
    expected = np.zeros((7, 3))
    expected[0, 0] = expected[6, 1] = 1
    np.testing.assert_array_equal(spikes, expected)


def test_latency_of_uint8():
    spikes = latency(np.array([[255, 1, 0]], np.uint8), 4)[:, 0]
    np.testing.assert_array_equal(spikes.argmax(axis=0), [0, 3, 0])
    np.testing.assert_array_equal(spikes.sum(axis=0), [1, 1, 0])
