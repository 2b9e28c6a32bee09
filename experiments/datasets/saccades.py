"""A simulated event camera that records still images during three saccades.

A pixel follows the logarithm of the light intensity. It sends an event when the logarithm has
changed by a threshold since its last event, and is then blind for a short time. Digits are dark on
a light background, because this matches the polarities of N-MNIST. The path and the parameters are
estimates from N-MNIST's recordings (`saccade_path`).

The simulation has two limits. Pixels differ in their thresholds alone, and every image gets a new
random camera, while one camera made all real recordings.

Source: Orchard, Jayawant, Cohen, Thakor 2015 (N-MNIST); Lichtsteiner, Posch, Delbruck 2008 (the
pixel).
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stbp_jax.data import NMNIST_SHAPE, PAD

SIDE = NMNIST_SHAPE[0]
SPACING = 10  # ms from one point of the path to the next
# Center of the image relative to the center of the sensor, in pixels: first down, then right.
# fmt: off
PATH = np.array([
    [-1.73, -1.67, -1.35, -0.63, 0.48, 1.75, 2.80, 3.44, 3.63, 3.63, 3.56, 3.48, 3.44, 3.18,
     2.42, 1.30, 0.13, -0.90, -1.43, -1.57, -1.58, -1.58, -1.60, -1.61, -1.58, -1.57, -1.61,
     -1.69, -1.80, -1.84, -1.82, -1.81],
    [-2.51, -2.52, -2.59, -2.66, -2.67, -2.55, -2.02, -1.41, -1.08, -1.00, -0.91, -0.76, -0.53,
     -0.02, 0.68, 1.28, 1.55, 1.90, 2.20, 2.35, 2.50, 2.70, 2.78, 2.71, 1.97, 0.98, -0.08,
     -1.07, -1.74, -2.22, -2.42, -2.44],
]).T
# fmt: on
DURATION = SPACING * (len(PATH) - 1)  # ms
_MARGIN = 6  # pixels around the sensor, for the movement along the path
_BATCH = 100  # images in one batch, whose state fits into the cache


class Camera(NamedTuple):
    """Parameters of the simulated camera.

    Random values are drawn for each image, except the path, which is drawn for each 100 images.

    Attributes:
      blur: standard deviation of the optics' Gaussian, in pixels.
      floor: light from full ink, as a multiple of the light that the ink removes.
      threshold: change of the log intensity that causes an event.
      mismatch: standard deviation of thresholds over pixels and polarities, relative.
      refractory: shortest time between events of a pixel, in ms.
      noise: rate of random events of a pixel, (off, on), per second.
      hot: rate of additional random events of a hot pixel, per second.
      hot_pixels: mean number of hot pixels.
      position: standard deviation of the image's position, in pixels.
      size: standard deviation of the image's size, relative.
      contrast: standard deviation of the logarithm of a factor on all thresholds of an image.
      path: standard deviation of the path's width and height, relative.
      lead: mean and standard deviation of the time by which the path precedes `PATH`, in ms.
    """

    blur: float = 0.6
    floor: float = 0.25
    threshold: float = 0.195
    mismatch: float = 0.1
    refractory: int = 1
    noise: tuple[float, float] = (0.04, 0.35)
    hot: float = 20.0
    hot_pixels: float = 3.0
    position: float = 0.1
    size: float = 0.0
    contrast: float = 0.05
    path: float = 0.0
    lead: tuple[float, float] = (1.2, 1.0)


def record(images: Any, seed: int, camera: Camera | None = None) -> NDArray[np.uint32]:
    """Simulate recordings of images; the result depends on images, seed and camera alone.

    Args:
      images: `[N, 28, 28]`, uint8; 0 is light and 255 is dark.
      seed: of all random values.
      camera: parameters; None for the estimate from N-MNIST.

    Returns:
      `[N, M]`, uint32, as in `data.Recordings.events`.

    Raises:
      ValueError: images have another shape or dtype, or there are none.
    """
    images = np.asarray(images)
    if images.ndim != 3 or images.dtype != np.uint8 or not images.size:
        raise ValueError(
            f"images must be uint8 [N, height, width] with N >= 1, got {images.dtype} "
            f"{list(images.shape)}"
        )
    camera = camera or Camera()
    rows: list[NDArray[np.uint32]] = []
    for first in range(0, len(images), _BATCH):
        rng = np.random.default_rng([seed, first])
        some = images[first : first + _BATCH]
        rows += _packed(rng, _light_events(rng, some, camera), len(some), camera)
    events = np.full((len(rows), max(map(len, rows))), PAD)
    for out, row in zip(events, rows, strict=True):
        out[: len(row)] = row
    return events


class _LightEvents(NamedTuple):
    """Events that light causes, `[E]` each: time in ms, index into `[SIDE, SIDE, B]`, polarity."""

    steps: NDArray[np.int64]
    places: NDArray[np.int64]
    on: NDArray[np.bool_]


def _light_events(
    rng: np.random.Generator, images: NDArray[np.uint8], camera: Camera
) -> _LightEvents:
    """Simulate the pixels, without noise."""
    light = _light(rng, images, camera)
    shape = (SIDE, SIDE, len(images))
    common = camera.threshold * np.exp(camera.contrast * rng.standard_normal(len(images)))
    own = 1 + camera.mismatch * rng.standard_normal((2, *shape), np.float32)
    above, below = (common * np.maximum(own, 0.1)).astype(np.float32)
    np.negative(below, out=below)
    wide = 1 + camera.path * rng.standard_normal(2)
    times = np.arange(DURATION + 1) + rng.normal(*camera.lead)
    knots = SPACING * np.arange(len(PATH))
    path = wide * np.stack([np.interp(times, knots, along) for along in PATH.T], 1)

    # All steps use the same buffers, because allocation would take longer than the computation.
    rows, more_rows = np.empty((2, SIDE, SIDE + 1, shape[2]), np.float32)
    now, change, seen = np.empty((3, *shape), np.float32)
    more, less = np.empty((2, *shape), bool)
    found: list[_LightEvents] = []
    blind = [np.zeros(0, np.int64)] * (camera.refractory - 1)
    for step, at in enumerate(path, -1):
        whole = np.clip(np.floor(-at), -_MARGIN, _MARGIN - 1)
        down, right = (-at - whole).astype(np.float32)  # bilinear between pixels
        top, left = whole.astype(int) + _MARGIN
        part = light[top : top + SIDE + 1, left : left + SIDE + 1]
        np.multiply(part[:-1], 1 - down, out=rows)
        np.multiply(part[1:], down, out=more_rows)
        np.add(rows, more_rows, out=rows)
        np.multiply(rows[:, :-1], 1 - right, out=now)
        np.multiply(rows[:, 1:], right, out=change)
        np.add(now, change, out=now)
        if step < 0:
            seen[:] = now
        for places in blind:  # a blind pixel adapts to the light without events
            seen.flat[places] = now.flat[places]
        np.subtract(now, seen, out=change)
        np.greater(change, above, out=more)
        np.less(change, below, out=less)
        places = np.flatnonzero(np.logical_or(more, less, out=less))
        seen.flat[places] = now.flat[places]
        found.append(_LightEvents(np.full(len(places), max(step, 0)), places, more.flat[places]))
        blind = [places, *blind][: camera.refractory - 1]
    return _LightEvents(*(np.concatenate(of) for of in zip(*found, strict=True)))


def _light(
    rng: np.random.Generator, images: NDArray[np.uint8], camera: Camera
) -> NDArray[np.float32]:
    """Return the log intensity on the sensor's grid with a margin, `[height, width, B]`."""
    batch, height, width = images.shape
    down, right = camera.position * rng.standard_normal((2, batch))
    size = rng.normal(1, camera.size, (batch, 1))
    at = np.arange(SIDE + 2 * _MARGIN) - (SIDE + 2 * _MARGIN - 1) / 2

    def optics(length: int, place: NDArray[np.float64]) -> NDArray[np.float32]:
        where = (at - place[:, None]) / size + (length - 1) / 2
        far = (where[..., None] - np.arange(length)) / camera.blur
        return (np.exp(-0.5 * far**2) / (camera.blur * math.sqrt(2 * math.pi))).astype(np.float32)

    ink = images.astype(np.float32) / 255
    seen = optics(height, down) @ ink @ optics(width, right).swapaxes(1, 2)
    light = np.log(1 - np.minimum(seen, 1) + np.float32(camera.floor))
    return np.ascontiguousarray(np.moveaxis(light, 0, -1))


def _packed(
    rng: np.random.Generator, caused: _LightEvents, batch: int, camera: Camera
) -> list[NDArray[np.uint32]]:
    """Add noise, and pack the events of each recording in the order of time."""
    addresses, pixels = math.prod(NMNIST_SHAPE), SIDE * SIDE
    pixel, owners = np.divmod(caused.places, batch)
    address = 2 * pixel + caused.on
    times = 1000 * caused.steps + rng.integers(1000, size=len(address))

    rates = np.tile(np.array(camera.noise), (batch, pixels, 1))
    rates[rng.random((batch, pixels)) < camera.hot_pixels / pixels] += camera.hot / 2
    counts = rng.poisson(rates * DURATION / 1000).reshape(-1)
    whose, which = np.divmod(np.repeat(np.arange(len(counts)), counts), addresses)
    owners, address = np.concatenate([owners, whose]), np.concatenate([address, which])
    times = np.concatenate([times, rng.integers(1000 * DURATION, size=len(which))])

    packed = (times * addresses + address).astype(np.uint64)
    keys = owners.astype(np.uint64) << np.uint64(32) | packed
    keys.sort()
    ends = np.searchsorted(keys, np.arange(1, batch, dtype=np.uint64) << np.uint64(32))
    return [part.astype(np.uint32) for part in np.split(keys, ends)]
