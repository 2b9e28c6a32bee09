"""Surrogates: the spike function H(v) with a curve h(v) as its derivative.

The derivative of H is 0 except at the threshold, so that no gradient would pass a spike. A
surrogate computes H in the forward pass and h in the backward pass. Its argument v is the membrane
minus the threshold.

A `Surrogate` is a pytree whose family is static and whose width is a leaf. A new width does not
retrace a program, a new family does; `jax.vmap(rectangular)(widths)` is a stack of surrogates. The
four curves of the paper (Wu et al. 2018, equations 23-26) have the paper's parameters. `matched`
gives a curve of a given full width at half maximum (FWHM), to compare shapes at equal widths.

| curve | parameter | integral | peak | FWHM |
|---|---|---|---|---|
| `rectangular` (h1) | a1 | 1 | 1 / a1 | a1 |
| `polynomial` (h2) | a2 | 1 | √a2 / 2 | 2 / √a2 |
| `sigmoid` (h3) | a3 | 1 | 1 / (4 a3) | 3.5255 a3 |
| `gaussian` (h4) | a4, a variance | 1 | 1 / √(2π a4) | 2.3548 √a4 |
| `arctan` | alpha | 1 | alpha / 2 | 4 / (π alpha) |
| `superspike` | alpha | 2 / alpha | 1 | 2 (√2 - 1) / alpha |
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from stbp_jax import arguments, reprs
from stbp_jax.core import AnyArray, Array, Numbers, Probe, wide_dtype
from stbp_jax.spikes import heaviside, spike_by_integral, spike_by_rule


class Family(NamedTuple):
    """One shape of curve, as functions of its parameter `a`.

    Attributes:
      name: of the curve, for `repr` and for saved constants.
      derivative: `(v, a) -> h(v)`; `a` is the surrogate's width, with leaves in the dtype of v.
      antiderivative: `(v, a) -> ∫ h` from -∞ to v: a smooth approximation of H.
      fwhm: `a -> full width at half maximum`, in units of the membrane.
      from_fwhm: the inverse of `fwhm`.

    >>> family = rectangular(1.0).family
    >>> family.name, family.fwhm(0.5)
    ('rectangular', 0.5)
    """

    name: str
    derivative: Callable[[Array, Any], Array]
    antiderivative: Callable[[Array, Any], Array]
    fwhm: Callable[[Any], Any]
    from_fwhm: Callable[[Any], Any]

    def __repr__(self) -> str:
        """The name."""
        return f"Family({self.name!r})"


def _floats(v: Any) -> Array:
    v = jnp.asarray(v)
    if not jnp.issubdtype(v.dtype, jnp.floating):
        raise TypeError(f"v must be floats, membranes minus thresholds, got dtype {v.dtype}")
    return v


@dataclasses.dataclass(frozen=True)
class Surrogate:
    """The spike function H(v) with the surrogate derivative h(v).

    A call returns `heaviside(v)`; its vector-Jacobian product is `g * derivative(v)`. A subclass
    may override `derivative`, for example to dampen it; every schedule then uses the override. A
    subclass is a frozen dataclass too, and a pytree without a further decorator: its fields are
    leaves unless their metadata says `static`. The width and other leaves receive no gradient,
    because the forward value does not depend on them. Forward mode (`jax.jvp`, `jax.jacfwd`) needs
    `forward_mode`.

    Attributes:
      width: parameters of the curve, a pytree of floats: a_i of the paper's curves, alpha of the
        other two. Each leaf is a scalar or has the units' shape.
      family: the shape of the curve; static. Its functions may close over traced numbers.
      spike: `(derivative, v) -> H(v)`, with the derivative that its first argument is; static.
        `forward_mode` replaces it.

    >>> spike = rectangular(1.0)
    >>> spike(jnp.array([-0.2, 0.2]))
    Array([0., 1.], dtype=float32)
    >>> float(jax.grad(spike)(0.2)), float(jax.grad(spike)(0.7))
    (1.0, 0.0)
    """

    width: Any
    family: Family = dataclasses.field(metadata={"static": True})
    spike: Callable[..., Array] = dataclasses.field(
        default=spike_by_rule, kw_only=True, metadata={"static": True}
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register a subclass as a pytree."""
        super().__init_subclass__(**kwargs)
        _register(cls)

    def __repr__(self) -> str:
        """The family and the width, such as `rectangular(1.0)`."""
        text = f"{self.family.name}({reprs.value_text(self.width)})"
        text = text if type(self) is Surrogate else f"{type(self).__name__}({text})"
        return text if self.spike is spike_by_rule else f"forward_mode({text})"

    def replace(self, **changes: Any) -> Self:
        """Return the surrogate with other values in some fields, such as `width`."""
        return dataclasses.replace(self, **changes)

    def __call__(self, v: Float[AnyArray, "*units"]) -> Float[Array, "*units"]:
        """Return the spikes H(v), in the shape and dtype of `v`, the membrane minus threshold."""
        v = _floats(v)
        if not isinstance(v, jax.core.Tracer):  # no gradient is being computed
            return heaviside(v)
        return self.spike(self.derivative, v)

    def derivative(self, v: Float[AnyArray, "*units"]) -> Float[Array, "*units"]:
        """Return the curve h(v), in the shape and dtype of `v`."""
        v = _floats(v)
        return self.family.derivative(v, self._width_in(v.dtype))

    def antiderivative(self, v: Float[AnyArray, "*units"]) -> Float[Array, "*units"]:
        """Return ∫ h from -∞ to `v`, a smooth approximation of the spike."""
        v = jnp.asarray(v)
        wide = v.astype(wide_dtype(v.dtype))  # 16 bits lose the tails
        return self.family.antiderivative(wide, self._width_in(wide.dtype)).astype(v.dtype)

    def _width_in(self, dtype: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), self.width)

    @property
    def fwhm(self) -> Any:
        """Full width at half maximum, in units of the membrane."""
        return self.family.fwhm(self.width)

    @property
    def peak(self) -> Array:
        """The largest value of the curve, h(0)."""
        leaves = jax.tree.leaves(self.width)
        shape = jnp.broadcast_shapes(*map(jnp.shape, leaves))
        return self.derivative(jnp.zeros(shape, jnp.result_type(float, *leaves)))

    def probe(self, v: Float[Array, "*units"]) -> Probe:
        """Return the distance v to the threshold, the curve there, and whether v is in the window.

        Args:
          v: membrane minus threshold, `[B, *units]`.
        """
        return Probe(v, self.derivative(v), self.in_window(v))

    def in_window(self, v: Float[AnyArray, "*units"]) -> Bool[Array, "*units"]:
        """Return whether |v| < FWHM / 2, where most of the gradient passes; bools like `v`."""
        return jnp.abs(v) < jnp.asarray(self.fwhm, v.dtype) / 2


def _register(kind: type[Surrogate]) -> None:
    """Register a class of surrogates as a pytree.

    `jax.tree_util.register_dataclass` does not serve: on jax 0.10 the trees of two classes with
    equal fields compare as equal, and `jit` may run the program of the other class.
    """

    def fields(*, static: bool) -> list[str]:
        every = dataclasses.fields(kind)
        return [field.name for field in every if field.metadata.get("static", False) is static]

    def flatten(surrogate: Surrogate) -> tuple[list[Any], tuple[Any, ...]]:
        leaves = [getattr(surrogate, name) for name in fields(static=False)]
        return leaves, tuple(getattr(surrogate, name) for name in fields(static=True))

    def flatten_with_keys(surrogate: Surrogate) -> tuple[list[Any], tuple[Any, ...]]:
        leaves, aux = flatten(surrogate)
        keys = map(jax.tree_util.GetAttrKey, fields(static=False))
        return list(zip(keys, leaves, strict=True)), aux

    def unflatten(aux: Any, leaves: Any) -> Surrogate:
        values = dict(zip(fields(static=False), leaves, strict=True))
        return kind(**values, **dict(zip(fields(static=True), aux, strict=True)))

    jax.tree_util.register_pytree_with_keys(kind, flatten_with_keys, unflatten, flatten)


_register(Surrogate)

_RECTANGULAR = Family(
    "rectangular",
    derivative=lambda v, a: jnp.where(
        jnp.abs(v) < a / 2, 1 / a, jnp.where(jnp.isnan(v), v, jnp.zeros_like(v))
    ),
    antiderivative=lambda v, a: jnp.clip(v / a + 0.5, 0, 1),
    fwhm=lambda a: a,
    from_fwhm=lambda w: w,
)


def _polynomial_antiderivative(v: Array, a: Array) -> Array:
    # Each half of the curve is a triangle; z in [0, 1] is the distance to its outer corner.
    z = jnp.clip(1 - jnp.abs(v) * jnp.sqrt(a) / 2, 0, 1)
    return jnp.where(v < 0, z**2 / 2, 1 - z**2 / 2)


_POLYNOMIAL = Family(
    "polynomial",
    # max(0, .) equals the indicator of (24): the line crosses 0 exactly at |v| = 2 / √a.
    derivative=lambda v, a: jnp.maximum(jnp.sqrt(a) / 2 - a / 4 * jnp.abs(v), 0),
    antiderivative=_polynomial_antiderivative,
    fwhm=lambda a: 2 / a**0.5,
    from_fwhm=lambda w: 4 / w**2,
)


def _logistic_product(v: Array, a: Array) -> Array:
    # 1 - s(z) = s(-z) avoids overflow and cancellation at extreme z.
    z = v / a
    return jax.nn.sigmoid(z) * jax.nn.sigmoid(-z) / a


_SIGMOID = Family(
    "sigmoid",
    derivative=_logistic_product,
    antiderivative=lambda v, a: jax.nn.sigmoid(v / a),
    fwhm=lambda a: 2 * math.log(3 + 2 * math.sqrt(2)) * a,
    from_fwhm=lambda w: w / (2 * math.log(3 + 2 * math.sqrt(2))),
)

_GAUSSIAN = Family(
    "gaussian",
    derivative=lambda v, a: jnp.exp(-((v / jnp.sqrt(a)) ** 2) / 2) / jnp.sqrt(2 * math.pi * a),
    antiderivative=lambda v, a: jax.scipy.stats.norm.cdf(v / jnp.sqrt(a)),
    fwhm=lambda a: 2 * math.sqrt(2 * math.log(2)) * a**0.5,
    from_fwhm=lambda w: (w / (2 * math.sqrt(2 * math.log(2)))) ** 2,
)

_ARCTAN = Family(
    "arctan",
    derivative=lambda v, a: a / 2 / (1 + (math.pi / 2 * a * v) ** 2),
    antiderivative=lambda v, a: jnp.arctan(math.pi / 2 * a * v) / math.pi + 0.5,
    fwhm=lambda a: 4 / (math.pi * a),
    from_fwhm=lambda w: 4 / (math.pi * w),
)

_SUPERSPIKE = Family(
    "superspike",
    derivative=lambda v, a: 1 / (1 + a * jnp.abs(v)) ** 2,
    antiderivative=lambda v, a: v / (1 + a * jnp.abs(v)) + 1 / a,
    fwhm=lambda a: 2 * (math.sqrt(2) - 1) / a,
    from_fwhm=lambda w: 2 * (math.sqrt(2) - 1) / w,
)


def rectangular(width: Numbers = 1.0) -> Surrogate:
    """Rectangular curve: h1(v) = 1/a1 if |v| < a1/2, else 0; peak 1/a1, FWHM a1.

    Args:
      width: a1 > 0, in units of the membrane; a float or a traced number.

    Returns:
      A `Surrogate`.

    Raises:
      ValueError: `width` is not positive.

    >>> s = rectangular(0.5)
    >>> s(jnp.array([-0.1, 0.0, 0.3])), s.derivative(jnp.array([-0.1, 0.0, 0.3]))
    (Array([0., 1., 1.], dtype=float32), Array([2., 2., 0.], dtype=float32))

    Source: Wu et al. 2018, equation (23); the default of the authors' code.
    """
    return Surrogate(arguments.positive("width", width), _RECTANGULAR)


def polynomial(width: Numbers = 1.0) -> Surrogate:
    """Polynomial curve: h2(v) = √a2/2 - a2/4 |v| if |v| < 2/√a2, else 0.

    The curve is a triangle with peak √a2/2 and FWHM 2/√a2. A *larger* a2 makes it narrower, which
    contradicts the paper's equation (27).

    Args:
      width: a2 > 0, in inverse squared units of the membrane; a float or a traced number.

    Returns:
      A `Surrogate`.

    Raises:
      ValueError: `width` is not positive.

    >>> polynomial(4.0).derivative(jnp.array([0.0, 0.5, 1.0]))
    Array([1. , 0.5, 0. ], dtype=float32)

    Source: Wu et al. 2018, equation (24), where sign() is an indicator.
    """
    return Surrogate(arguments.positive("width", width), _POLYNOMIAL)


def sigmoid(width: Numbers = 1.0) -> Surrogate:
    """Sigmoid curve: h3(v) = s(z)(1 - s(z))/a3, z = v/a3; peak 1/(4 a3), FWHM 3.5255 a3.

    It is the derivative of s(v/a3), with s the logistic function.

    Args:
      width: a3 > 0, in units of the membrane; a float or a traced number.

    Returns:
      A `Surrogate`.

    Raises:
      ValueError: `width` is not positive.

    >>> sigmoid(0.25).derivative(jnp.array([0.0, 1e4]))
    Array([1., 0.], dtype=float32)

    Source: Wu et al. 2018, equation (25).
    """
    return Surrogate(arguments.positive("width", width), _SIGMOID)


def gaussian(width: Numbers = 1.0) -> Surrogate:
    """Gaussian curve: h4(v) = exp(-v²/(2 a4)) / √(2π a4); FWHM 2.3548 √a4.

    Args:
      width: a4 > 0, a variance, in squared units of the membrane; a float or a traced number.

    Returns:
      A `Surrogate`.

    Raises:
      ValueError: `width` is not positive.

    >>> gaussian(1.0).derivative(jnp.array([0.0, 1.0])).round(4)
    Array([0.3989, 0.242 ], dtype=float32)

    Source: Wu et al. 2018, equation (26).
    """
    return Surrogate(arguments.positive("width", width), _GAUSSIAN)


def arctan(alpha: Numbers = 2.0) -> Surrogate:
    """Arctangent curve: h(v) = (alpha/2) / (1 + (π alpha v/2)²); integral 1, peak alpha/2.

    Args:
      alpha: slope > 0, in inverse units of the membrane; a float or a traced number.

    Returns:
      A `Surrogate`.

    Raises:
      ValueError: `alpha` is not positive.

    >>> arctan(2.0).derivative(jnp.array([0.0]))
    Array([1.], dtype=float32)

    Source: Fang et al. 2021 (arXiv 2007.05785), as in SpikingJelly's `ATan`.
    """
    return Surrogate(arguments.positive("alpha", alpha), _ARCTAN)


def superspike(alpha: Numbers = 25.0) -> Surrogate:
    """SuperSpike curve: h(v) = 1 / (1 + alpha |v|)²; integral 2/alpha, peak 1.

    It is the derivative of the fast sigmoid v / (1 + alpha |v|), and the only curve here whose
    integral is not 1: at alpha = 25 the integral is 0.08.

    Args:
      alpha: slope > 0, in inverse units of the membrane; a float or a traced number.

    Returns:
      A `Surrogate`.

    Raises:
      ValueError: `alpha` is not positive.

    >>> superspike(1.0).derivative(jnp.array([0.0, 1.0]))
    Array([1.  , 0.25], dtype=float32)

    Source: Zenke & Ganguli 2018 (arXiv 1705.11146), as in Norse and Spyx.
    """
    return Surrogate(arguments.positive("alpha", alpha), _SUPERSPIKE)


def matched(family: Callable[[Any], Surrogate], fwhm: Numbers) -> Surrogate:
    """Make a surrogate of a given family and full width at half maximum.

    At a_i = 1 the paper's four curves have FWHM 1, 2, 3.53 and 2.36; a comparison of their shapes
    needs equal widths.

    Args:
      family: a factory of this module, such as `gaussian`.
      fwhm: full width at half maximum > 0, in units of the membrane; a float or a traced number.

    Returns:
      A `Surrogate`.

    Raises:
      ValueError: `fwhm` is not positive.

    >>> float(matched(polynomial, 1.0).width), round(matched(gaussian, 1.0).width, 3)
    (4.0, 0.18)
    """
    return family(family(1.0).family.from_fwhm(arguments.positive("fwhm", fwhm)))


def forward_mode(surrogate: Surrogate) -> Surrogate:
    """The same surrogate for forward-mode differentiation: `jvp`, `jacfwd`, `linearize`.

        o = H(v̄) + ∫ h from v̄ to v,  v̄ = stop_gradient(v)

    The integral is 0, and its derivative is h(v). Two points of Gauss-Legendre quadrature compute
    it, exact in the first four derivatives, in every order of forward and reverse mode. The spikes
    equal those of `surrogate` bit for bit, and the width has no gradient.

    `step`, `lif_scan` and `stepwise(network)` take forward mode with such a surrogate. The fast
    unroll keeps its own rule for reverse mode: with such a surrogate it takes forward-over-reverse
    products (`jvp` of `grad`, `hessian`), and raises TypeError in forward mode itself. The second
    order of reverse mode (`grad` of `grad`) needs no such surrogate.

    Args:
      surrogate: any `Surrogate`, whose curve may be overridden.

    Returns:
      A `Surrogate` of the same class, width and family.

    Raises:
      TypeError: `surrogate` is not a `Surrogate`.

    >>> spike = forward_mode(rectangular(0.5))
    >>> jax.jvp(spike, (jnp.array([-0.1, 0.3]),), (jnp.ones(2),))
    (Array([0., 1.], dtype=float32), Array([2., 0.], dtype=float32))
    """
    arguments.instance("surrogate", surrogate, Surrogate, "a Surrogate, such as rectangular(1.0)")
    return dataclasses.replace(surrogate, spike=spike_by_integral)
