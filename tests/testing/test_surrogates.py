"""`check_surrogate` passes a user's surrogate, and names what is wrong with broken ones."""

import dataclasses

import jax.numpy as jnp
import pytest
from jax import lax

import stbp_jax as sj
from stbp_jax.surrogates import Family, heaviside
from stbp_jax.testing import check_layer, check_neuron, check_surrogate

TRIANGLE = Family(
    "triangle",
    derivative=lambda v, a: jnp.maximum(1 - jnp.abs(v) / a, 0) / a,
    antiderivative=lambda v, a: jnp.where(
        v < 0, jnp.maximum(1 + v / a, 0) ** 2 / 2, 1 - jnp.maximum(1 - v / a, 0) ** 2 / 2
    ),
    fwhm=lambda a: a,
    from_fwhm=lambda w: w,
)


def triangle(width):
    return sj.Surrogate(width, TRIANGLE)


def with_family(**changes):
    return sj.Surrogate(0.75, TRIANGLE._replace(**changes))


def test_a_users_surrogate_passes():
    check_surrogate(triangle(0.75), make=triangle)


@dataclasses.dataclass(frozen=True)
class Strict(sj.Surrogate):
    def __call__(self, v):
        return super().__call__(v) * (v != 0)


@dataclasses.dataclass(frozen=True)
class Straight(sj.Surrogate):
    """A straight-through estimator, which forgets the curve."""

    def __call__(self, v):
        near = jnp.clip(v, -1, 1)
        return near + lax.stop_gradient(heaviside(v) - near)


@dataclasses.dataclass(frozen=True)
class Wide(sj.Surrogate):
    def derivative(self, v):
        return super().derivative(v).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Leaking(sj.Surrogate):
    """The spikes are right, and a gradient reaches the width."""

    def __call__(self, v):
        return super().__call__(v) + (self.width - lax.stop_gradient(self.width)).astype(v.dtype)


@dataclasses.dataclass(frozen=True)
class Open(sj.Surrogate):
    def in_window(self, v):
        return jnp.abs(v) < self.fwhm


def made_anew(width):
    return sj.Surrogate(width, TRIANGLE._replace(fwhm=lambda a: a))


BROKEN_SURROGATES = {
    "no spike at the threshold": (Strict(0.75, TRIANGLE), "1 from 0 on"),
    "a gradient of its own": (
        Straight(0.75, TRIANGLE),
        "the gradient of a spike to v must be the curve",
    ),
    "a wider curve": (Wide(0.75, TRIANGLE), "the curve at bfloat16 membranes must be bfloat16"),
    "a gradient to the width": (Leaking(0.75, TRIANGLE), "the gradient to the width must be 0"),
    "a window of twice the width": (Open(0.75, TRIANGLE), "in_window must be"),
    "a negative curve": (
        with_family(derivative=lambda v, a: (1 - jnp.abs(v) / a) / a),
        "the curve must be at least 0",
    ),
    "no gradient at the threshold": (
        with_family(derivative=lambda v, a: jnp.where(v == 0, 0 * v, TRIANGLE.derivative(v, a))),
        "the curve must be above 0 at v = 0",
    ),
    "a peak elsewhere": (
        with_family(derivative=lambda v, a: TRIANGLE.derivative(v - a / 4, a)),
        "the curve must be highest at v = 0",
    ),
    "a curve that overflows": (
        with_family(derivative=lambda v, a: jnp.exp(v / a) / (1 + jnp.exp(v / a)) ** 2 / a),
        "the curve must be finite in",
    ),
    "another antiderivative": (
        with_family(antiderivative=lambda v, a: jnp.clip(v / a / 2 + 0.5, 0, 1)),
        "antiderivative must have the curve as its slope",
    ),
    "an antiderivative around 0": (
        with_family(antiderivative=lambda v, a: TRIANGLE.antiderivative(v, a) - 0.5),
        "antiderivative must be 0 at -∞, got -0.5",
    ),
    "a width of half": (with_family(fwhm=lambda a: a / 2), "fwhm must be the full width at half"),
    "another inverse": (with_family(from_fwhm=lambda w: 2 * w), "must be the inverse of fwhm"),
    "no leaf": (
        sj.Surrogate(
            (),
            Family(
                "fixed",
                lambda v, a: TRIANGLE.derivative(v, 0.75),
                lambda v, a: TRIANGLE.antiderivative(v, 0.75),
                lambda a: 0.75,
                lambda w: (),
            ),
        ),
        "the width must be a leaf",
    ),
}


@pytest.mark.parametrize("name", BROKEN_SURROGATES)
def test_a_broken_surrogate_is_named(name):
    surrogate, message = BROKEN_SURROGATES[name]
    with pytest.raises(AssertionError, match=message):
        check_surrogate(surrogate)


def test_a_family_made_for_each_width_is_named():
    with pytest.raises(AssertionError, match="define the Family once, outside of it"):
        check_surrogate(made_anew(0.75), make=made_anew)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_neuron(sj.dense(3)), "neuron must be a Neuron"),
        (lambda: check_neuron(sj.lif(), units=5.0), "units must be a tuple"),
        (lambda: check_layer(sj.lif(), (4,)), "layer must be a Layer"),
        (lambda: check_surrogate(sj.rectangular), "surrogate must be a Surrogate"),
    ],
)
def test_arguments_are_checked(check, message):
    with pytest.raises(TypeError, match=message):
        check()
