"""Section 1 of PAPER.md in float64 NumPy, without JAX: the reference of the gradient tests.

The code is slow and plain: loops over steps and layers, one line for each equation. Numbers in
brackets are those of Wu et al. 2018. Indices are those of the paper: row t of a trajectory is step
t, row 0 is the state before the first step.

    eps^{t,n} = total dL/du^{t,n}      delta^{t,n} = total dL/do^{t,n}
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erf, pi
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray


# Curves -------------------------------------------------------------------------------------------


class Curve(NamedTuple):
    """h(v; a) with v = u - Vth, its integral from -infinity, and where h is not smooth."""

    h: Callable[[Array, float], Array]
    integral: Callable[[Array, float], Array]
    corners: Callable[[float], tuple[float, ...]] = lambda a: ()


def _logistic(z: Array) -> Array:
    return 0.5 * (1 + np.tanh(z / 2))


def _h2_integral(v: Array, a: float) -> Array:
    edge = 2 / np.sqrt(a)
    v = np.clip(v, -edge, edge)
    return 0.5 + np.sqrt(a) / 2 * v - a / 8 * v * np.abs(v)


CURVES = {
    "h1": Curve(  # (23)
        lambda v, a: (1 / a) * (np.abs(v) < a / 2),
        lambda v, a: np.clip(v, -a / 2, a / 2) / a + 0.5,
        lambda a: (-a / 2, a / 2),
    ),
    "h2": Curve(  # (24)
        lambda v, a: (np.sqrt(a) / 2 - a / 4 * np.abs(v)) * (np.abs(v) < 2 / np.sqrt(a)),
        _h2_integral,
        lambda a: (-2 / np.sqrt(a), 0.0, 2 / np.sqrt(a)),
    ),
    "h3": Curve(  # (25)
        lambda v, a: _logistic(v / a) * (1 - _logistic(v / a)) / a,
        lambda v, a: _logistic(v / a),
    ),
    "h4": Curve(  # (26)
        lambda v, a: np.exp(-(v**2) / (2 * a)) / np.sqrt(2 * pi * a),
        lambda v, a: 0.5 * (1 + np.vectorize(erf, otypes=[float])(v / np.sqrt(2 * a))),
    ),
    "arctan": Curve(
        lambda v, a: a / 2 / (1 + (pi / 2 * a * v) ** 2),
        lambda v, a: np.arctan(pi / 2 * a * v) / pi + 0.5,
    ),
    "superspike": Curve(
        lambda v, a: 1 / (1 + a * np.abs(v)) ** 2,
        lambda v, a: np.sign(v) / a * (1 - 1 / (1 + a * np.abs(v))) + 1 / a,
        lambda a: (0.0,),
    ),
}


# Leak and reset -----------------------------------------------------------------------------------


class Gate(NamedTuple):
    """The part of (u, o, tau, vth) that enters the next step, and its four derivatives."""

    carried: Callable[..., Array]
    by_u: Callable[..., Array]
    by_o: Callable[..., Array]
    by_tau: Callable[..., Array]
    by_vth: Callable[..., Array]


GATES = {
    "linear": Gate(  # u f(o) with f(o) = tau (1 - o)  (8)
        carried=lambda u, o, tau, vth: u * tau * (1 - o),
        by_u=lambda u, o, tau, vth: tau * (1 - o),
        by_o=lambda u, o, tau, vth: -tau * u,
        by_tau=lambda u, o, tau, vth: u * (1 - o),
        by_vth=lambda u, o, tau, vth: 0 * u,
    ),
    "exponential": Gate(  # u f(o) with f(o) = tau exp(-o / tau)  (6)
        carried=lambda u, o, tau, vth: u * tau * np.exp(-o / tau),
        by_u=lambda u, o, tau, vth: tau * np.exp(-o / tau),
        by_o=lambda u, o, tau, vth: -u * np.exp(-o / tau),
        by_tau=lambda u, o, tau, vth: u * np.exp(-o / tau) * (1 + o / tau),
        by_vth=lambda u, o, tau, vth: 0 * u,
    ),
    "subtractive": Gate(
        carried=lambda u, o, tau, vth: tau * (u - vth * o),
        by_u=lambda u, o, tau, vth: tau + 0 * u,
        by_o=lambda u, o, tau, vth: -tau * vth + 0 * u,
        by_tau=lambda u, o, tau, vth: u - vth * o,
        by_vth=lambda u, o, tau, vth: -tau * o,
    ),
}

DETACH = ("kept", "reset detached", "time detached")


# Layers -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """One layer of LIF neurons and its synapse.

    `kernel` is [in, out], or [kh, kw, channels, filters] of a convolution with valid padding, or
    None where x is the current itself. `tau` and `vth` are scalars or one number for each unit.
    `detach` is one of DETACH. SDBP ("time detached") cuts the carried u and o. The current of
    recurrent weights is an input, so its gradient remains.
    """

    kernel: Array | None
    bias: Array | None
    curve: str
    width: float
    gate: str
    tau: Any
    vth: Any
    detach: str = "kept"
    recurrent_kernel: Array | None = None
    recurrent_bias: Array | None = None

    def spike(self, u: Array, smooth: bool) -> Array:
        """o = g(u)  (5, 7), or the curve's integral."""
        v = u - self.vth
        return CURVES[self.curve].integral(v, self.width) if smooth else (v >= 0).astype(float)

    def h(self, u: Array) -> Array:
        return CURVES[self.curve].h(u - self.vth, self.width)


def convolve(x: Array, kernel: Array) -> Array:
    """y[b, r, c, f] = sum_{i, j, k} x[b, r + i, c + j, k] kernel[i, j, k, f]; valid padding."""
    kh, kw = kernel.shape[:2]
    rows, columns = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    y = np.zeros((x.shape[0], rows, columns, kernel.shape[3]))
    for i in range(kh):
        for j in range(kw):
            y += x[:, i : i + rows, j : j + columns] @ kernel[i, j]
    return y


def synapse(layer: Layer, below: Array) -> Array:
    """X = W o + b  (3); a dense layer reads images row by row."""
    if layer.kernel is None:
        return below
    if layer.kernel.ndim == 4:
        return convolve(below, layer.kernel) + layer.bias
    return below.reshape(len(below), -1) @ layer.kernel + layer.bias


def synapse_backward(layer: Layer, below: Array, eps: Array) -> tuple[Array, Array]:
    """W^T eps, in the shape of `below`, and eps o^T  (22)."""
    if layer.kernel is None:
        return eps, np.zeros(())
    if layer.kernel.ndim == 2:
        flat = below.reshape(len(below), -1)
        return (eps @ layer.kernel.T).reshape(below.shape), flat.T @ eps
    rows, columns = eps.shape[1:3]
    below_bar, kernel_bar = np.zeros(below.shape), np.zeros(layer.kernel.shape)
    for i in range(layer.kernel.shape[0]):
        for j in range(layer.kernel.shape[1]):
            window = np.s_[:, i : i + rows, j : j + columns]
            below_bar[window] += eps @ layer.kernel[i, j].T
            kernel_bar[i, j] = np.einsum("brck,brcf->kf", below[window], eps)
    return below_bar, kernel_bar


# The two recursions -------------------------------------------------------------------------------


class Trajectory(NamedTuple):
    """u and o of one layer, each [T + 1, B, *units]; row 0 is the state before the first step."""

    u: Array
    o: Array


def forward(
    layers: Sequence[Layer],
    x: Array,
    rest: Sequence[tuple[Array, Array]] | None = None,
    *,
    smooth: bool = False,
    held: Sequence[Trajectory] | None = None,
) -> list[Trajectory]:
    """Equations (3) to (8) for all layers, step by step.

    Args:
      layers: from input to output.
      x: [T, B, *in].
      rest: u, o of each layer before the first step; zeros if None.
      smooth: spikes are the curve's integral instead of H: a differentiable network.
      held: trajectories from which detached quantities are taken, as constants: the function whose
        ordinary derivative is the detached gradient.
    """
    steps, batch = x.shape[:2]
    path: list[Trajectory] = []
    shape = x.shape[1:]
    for n, layer in enumerate(layers):
        shape = synapse(layer, np.zeros(shape)).shape
        path.append(Trajectory(np.zeros((steps + 1, *shape)), np.zeros((steps + 1, *shape))))
        if rest is not None:
            path[n].u[0], path[n].o[0] = rest[n]
    for t in range(1, steps + 1):
        below = x[t - 1]
        for n, layer in enumerate(layers):
            u, o = path[n]
            u_in, o_in = u[t - 1], o[t - 1]
            if held is not None and layer.detach != "kept":
                o_in = held[n].o[t - 1]
            if held is not None and layer.detach == "time detached":
                u_in = held[n].u[t - 1]
            u[t] = GATES[layer.gate].carried(u_in, o_in, layer.tau, layer.vth)
            u[t] += synapse(layer, below)
            if layer.recurrent_kernel is not None:
                u[t] += o[t - 1] @ layer.recurrent_kernel + layer.recurrent_bias
            o[t] = layer.spike(u[t], smooth)
            below = o[t]
    return path


def loss(y: Array, o: Array) -> float:
    """L = 1/(2S) sum_s |y_s - 1/T sum_t o_s|^2  (9); o is [T, S, C]."""
    return float(np.sum((y - o.mean(0)) ** 2) / (2 * len(y)))


def loss_backward(y: Array, o: Array) -> Array:
    """DL/do^{t,N} = -(y - mean_t o) / (T S), for every t."""
    return np.broadcast_to(-(y - o.mean(0)) / (len(o) * len(y)), o.shape)


class Gradient(NamedTuple):
    """Gradients of one layer; `u0` and `o0` belong to the state before the first step."""

    kernel: Array
    bias: Array
    recurrent_kernel: Array
    recurrent_bias: Array
    tau: Array
    vth: Array
    u0: Array
    o0: Array


def backward(
    layers: Sequence[Layer],
    x: Array,
    path: Sequence[Trajectory],
    output_bar: Array,
    last_bar: Sequence[tuple[Array, Array]] | None = None,
) -> tuple[Array, list[Gradient]]:
    """The exact recursion of PAPER.md, backward from the last step and the last layer.

    Args:
      layers: as in `forward`.
      x: as in `forward`.
      path: the result of `forward`.
      output_bar: dL/do^{t,N} of the loss alone, [T, B, C].
      last_bar: dL/du^T, dL/do^T of each layer, where the loss looks at the last state too.

    Returns:
      dL/dx [T, B, *in] and a `Gradient` for each layer.
    """
    steps = len(x)
    eps = [np.zeros((steps + 2, *p.u.shape[1:])) for p in path]  # eps^{T+1} = 0
    sums = [[np.zeros(()) for _ in range(6)] for _ in layers]
    x_bar = np.zeros(x.shape)
    for t in range(steps, 0, -1):
        from_above = output_bar[t - 1]
        for n in range(len(layers) - 1, -1, -1):
            layer, gate, (u, o) = layers[n], GATES[layers[n].gate], path[n]
            now = u[t], o[t], layer.tau, layer.vth
            later = eps[n][t + 1]
            delta = from_above + 0.0
            if layer.detach == "kept":
                delta += later * gate.by_o(*now)
            if layer.recurrent_kernel is not None:
                delta += later @ layer.recurrent_kernel.T
            if last_bar is not None and t == steps:
                delta += last_bar[n][1]
            through_spike = delta * layer.h(u[t])
            eps[n][t] = through_spike
            if layer.detach != "time detached":
                eps[n][t] += later * gate.by_u(*now)
            if last_bar is not None and t == steps:
                eps[n][t] += last_bar[n][0]

            below = x[t - 1] if n == 0 else path[n - 1].o[t]
            from_above, kernel_bar = synapse_backward(layer, below, eps[n][t])
            before = u[t - 1], o[t - 1], layer.tau, layer.vth
            terms = (
                kernel_bar,  # (22)
                _over_units(eps[n][t], np.shape(layer.bias)),  # (21)
                o[t - 1].T @ eps[n][t] if layer.recurrent_kernel is not None else np.zeros(()),
                _over_units(eps[n][t], np.shape(layer.recurrent_bias)),
                _over_units(eps[n][t] * gate.by_tau(*before), np.shape(layer.tau)),
                _over_units(eps[n][t] * gate.by_vth(*before) - through_spike, np.shape(layer.vth)),
            )
            sums[n] = [total + term for total, term in zip(sums[n], terms, strict=True)]
        x_bar[t - 1] = from_above

    gradients = []
    for n, layer in enumerate(layers):
        gate, first = GATES[layer.gate], (path[n].u[0], path[n].o[0], layer.tau, layer.vth)
        u0, o0 = np.zeros(path[n].u[0].shape), np.zeros(path[n].u[0].shape)
        if layer.detach != "time detached":
            u0 += eps[n][1] * gate.by_u(*first)
        if layer.detach == "kept":
            o0 += eps[n][1] * gate.by_o(*first)
        if layer.recurrent_kernel is not None:
            o0 += eps[n][1] @ layer.recurrent_kernel.T
        gradients.append(Gradient(*sums[n], u0, o0))
    return x_bar, gradients


def _over_units(terms: Array, shape: tuple[int, ...]) -> Array:
    """Sum of [B, *units] down to `shape`, the units' trailing axes or a scalar."""
    return terms.sum(axis=tuple(range(terms.ndim - len(shape))))
