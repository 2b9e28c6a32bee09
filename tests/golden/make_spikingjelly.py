"""Make spikingjelly.npz: spikes and gradients of SpikingJelly at settings that equal STBP's.

    /tmp/sj/bin/python tests/golden/make_spikingjelly.py

README.md says how to make that environment. Every case is a dense network 12 -> 10 -> 5 in float64,
T = 12, batch 3, with weights [out, in]; inputs, weights and biases are k/256. The script fails
unless an independent NumPy loop gives the same spikes (and, at dyadic decays, the same membrane to
the last bit) and the reverse recursion of PAPER.md section 1 gives the same gradient.
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import torch
from spikingjelly.activation_based import neuron, surrogate

Arrays = dict[str, np.ndarray]
T, BATCH, N_IN, N_HID, N_OUT = 12, 3, 12, 10, 5
SEED = 1944  # of 6000 tried: rates within 5 to 60 %, wide margins, most live gradients
LIVE, MARGIN = 0.4, 5e-5
DYADIC = (0.25, 0.5, 0.75)
OUT = Path(__file__).with_name("spikingjelly.npz")


@dataclass(frozen=True)
class Case:
    """The settings of one case; `reset` is "hard" or "soft"."""

    decay: float
    threshold: float
    width: float
    detach_reset: bool
    reset: str


def cases() -> list[Case]:
    """All cases; a reset and its detached form are neighbors and share their data."""
    grid = [(d, 0.5, w, "hard") for d, w in product((*DYADIC, 0.2), (0.5, 1.0, 2.0))]
    grid += [(0.5, 1.0, 1.0, "hard"), (0.5, 0.5, 1.0, "soft")]
    return [Case(d, v, w, cut, r) for d, v, w, r in grid for cut in (False, True)]


def data(case: Case, seed: int) -> Arrays:
    """Inputs, targets, weights. Hidden units 0 and 1 are probes of the edges: they see only a bias.

    Unit 0 has u = threshold at every step (`>=` fires), unit 1 has u = threshold - width/2 at the
    first step (outside of the window, which is open).
    """
    rng = np.random.default_rng([SEED, seed])
    scale = 256 * case.threshold * (1 - case.decay) ** 0.75
    hi1, hi2 = int(0.7 * scale), int(scale)
    w1 = rng.integers(-hi1 // 2, hi1 + 1, (N_HID, N_IN)) / 256
    b1 = rng.integers(-16, 17, N_HID) / 256
    w1[:2] = 0.0
    b1[:2] = case.threshold, case.threshold - case.width / 2
    return {
        "x": rng.integers(0, 256, (T, BATCH, N_IN)) / 256,
        "y": np.eye(N_OUT)[rng.integers(0, N_OUT, BATCH)],
        "w1": w1,
        "b1": b1,
        "w2": rng.integers(-hi2 // 2, hi2 + 1, (N_OUT, N_HID)) / 256,
        "b2": rng.integers(-16, 17, N_OUT) / 256,
    }


def spikingjelly(case: Case, d: Arrays) -> Arrays:
    """Spikes, membranes before the reset, loss (equation 9) and gradients of SpikingJelly."""
    p = {k: torch.tensor(v, requires_grad=k != "y") for k, v in d.items()}
    tau = 1 / (1 - case.decay)
    out: Arrays = {}
    o = p["x"]
    for n in "12":
        lif = neuron.LIFNode(
            tau=tau,
            decay_input=False,
            v_threshold=case.threshold,
            v_reset=0.0 if case.reset == "hard" else None,
            surrogate_function=surrogate.Rect(alpha=1 / case.width),
            detach_reset=case.detach_reset,
            step_mode="m",
            store_v_seq=True,
        )
        current = o @ p[f"w{n}"].T + p[f"b{n}"]
        o = lif(current)
        v = torch.cat([torch.zeros_like(lif.v_seq[:1]), lif.v_seq[:-1]])
        out[f"o{n}"] = o.detach().numpy()
        out[f"u{n}"] = (v - v / tau + current).detach().numpy()  # LIFNode's own formula
    loss = ((p["y"] - o.mean(0)) ** 2).sum() / (2 * BATCH)
    loss.backward()
    out["loss"] = loss.detach().numpy()
    return out | {f"grad_{k}": p[k].grad.numpy() for k in ("x", "w1", "b1", "w2", "b2")}


def lif_numpy(case: Case, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The membrane equation of the paper, one step after another: spikes and membranes."""
    u, o = np.zeros_like(current), np.zeros_like(current)
    for t in range(T):
        if t and case.reset == "hard":
            u[t] = case.decay * u[t - 1] * (1 - o[t - 1])
        elif t:
            u[t] = case.decay * (u[t - 1] - case.threshold * o[t - 1])
        u[t] += current[t]
        o[t] = u[t] >= case.threshold
    return o, u


def stbp_numpy(case: Case, d: Arrays) -> Arrays:
    """Forward loop and exact reverse recursion of PAPER.md section 1."""
    out: Arrays = {}
    out["o1"], out["u1"] = lif_numpy(case, d["x"] @ d["w1"].T + d["b1"])
    out["o2"], out["u2"] = lif_numpy(case, out["o1"] @ d["w2"].T + d["b2"])
    error = d["y"] - out["o2"].mean(0)
    out["loss"] = (error**2).sum() / (2 * BATCH)
    upper = np.broadcast_to(-error / (T * BATCH), (T, BATCH, N_OUT))
    for n, below in (("2", out["o1"]), ("1", d["x"])):
        u, o = out[f"u{n}"], out[f"o{n}"]
        h = (np.abs(u - case.threshold) < case.width / 2) / case.width
        carry = case.decay * (1 - o if case.reset == "hard" else np.ones_like(o))
        via_o = -case.decay * (u if case.reset == "hard" else np.full_like(u, case.threshold))
        eps = np.zeros((T + 1, *u.shape[1:]))
        for t in reversed(range(T)):
            delta = upper[t] + (0.0 if case.detach_reset else via_o[t] * eps[t + 1])
            eps[t] = delta * h[t] + carry[t] * eps[t + 1]
        out[f"grad_w{n}"] = np.einsum("tbo,tbi->oi", eps[:-1], below)
        out[f"grad_b{n}"] = eps[:-1].sum((0, 1))
        upper = eps[:-1] @ d[f"w{n}"]
    return out | {"grad_x": upper}


def edge_margin(case: Case, a: Arrays) -> float:
    """Smallest distance of a membrane to the threshold and the window's edges.

    Exact hits do not count, unless the membrane carries something over at a decay that rounds.
    """
    margins = []
    for u, o in ((a["u1"], a["o1"]), (a["u2"], a["o2"])):
        gap = np.abs(u - case.threshold)
        edge = np.minimum(gap, np.abs(gap - case.width / 2))
        carried = np.concatenate([np.zeros_like(o[:1]), (1 - o[:-1]) * u[:-1]]) != 0
        counts = (edge > 0) | (carried & (case.decay not in DYADIC))
        margins.append(edge[counts].min())
    return float(min(margins))


def need(ok: bool | np.bool_, what: str, *where: object) -> None:
    if not ok:
        raise SystemExit(f"not so: {what}: {where}")


def check(case: Case, d: Arrays, sj: Arrays) -> dict[str, float | list[float]]:
    """The numbers of a case; exits if SpikingJelly and NumPy differ or the case tests nothing."""
    ref = stbp_numpy(case, d)
    need(sj.keys() == ref.keys(), "same keys", sj.keys())
    need(all(v.dtype == np.float64 for v in sj.values()), "float64", case)
    dev = {k: float(np.max(np.abs(sj[k] - ref[k]))) for k in sj}
    dev_u = max(dev["u1"], dev["u2"])
    dev_grad = max(v for k, v in dev.items() if k.startswith("grad_"))
    need(dev["o1"] == dev["o2"] == 0, "equal spikes", case, dev)
    need(dev_u <= (0 if case.decay in DYADIC else 1e-15), "equal membranes", case, dev)
    need(max(dev_grad, dev["loss"]) < 1e-15, "equal gradients and loss", case, dev)

    need((sj["u1"][..., 0] == case.threshold).all(), "unit 0 sits on the threshold", case)
    need((sj["o1"][..., 0] == 1).all(), "unit 0 fires", case)
    need((sj["u1"][0, :, 1] == case.threshold - case.width / 2).all(), "unit 1 on the edge", case)
    rates = [float(sj[k].mean()) for k in ("o1", "o2")]
    need(all(0.05 <= r <= 0.6 for r in rates), "firing rates of 5 to 60 %", case, rates)
    live = min(float((v != 0).mean()) for k, v in sj.items() if k.startswith("grad_"))
    need(live >= LIVE, "share of non-zero entries in every gradient", case, live)
    margin = edge_margin(case, sj)
    need(margin > MARGIN, "float32 decides the same way", case, margin)
    return {"rates": rates, "live": live, "margin": margin, "dev_u": dev_u, "dev_grad": dev_grad}


def main() -> None:
    torch.set_num_threads(1)
    arrays: Arrays = {}
    settings: list[dict[str, object]] = []
    previous: Arrays = {}
    for i, case in enumerate(cases()):
        d = data(case, i // 2)
        sj = spikingjelly(case, d)
        numbers = check(case, d, sj)
        if case.detach_reset:
            for k in ("o1", "o2"):
                need((sj[k] == previous[k]).all(), "the same spikes as the attached reset", case, k)
            for k in ("grad_w1", "grad_w2"):
                need(np.abs(sj[k] - previous[k]).max() > 1e-3, "a gradient of its own", case, k)
        previous = sj
        packed = {k: v.astype(np.uint8) if k in ("o1", "o2") else v for k, v in sj.items()}
        arrays |= {f"case{i}/{k}": v for k, v in (d | packed).items() if k != "u2"}
        settings.append(asdict(case) | numbers)
        print(i, settings[-1])
    versions = {p: version(p) for p in ("torch", "spikingjelly", "numpy")}
    meta = {"cases": settings, "versions": {"python": platform.python_version()} | versions}
    arrays["meta"] = np.array(json.dumps(meta))
    np.savez_compressed(OUT, allow_pickle=False, **arrays)
    print(OUT, OUT.stat().st_size, "bytes", versions)


if __name__ == "__main__":
    main()
