"""The worker for the peers on PyTorch; it runs in a separate environment, without JAX.

Each package has the same network in its recommended fast form, with the equations of stbp_jax as
far as the package allows:

- `PyTorch loop`: step by step, as in the authors' code, with their surrogate.
- `PyTorch compiled`: layer by layer over all steps; the loop over the membrane in `torch.compile`.
- `SpikingJelly`: multi-step mode, layer by layer.
- `SpikingJelly Triton`: the same with its kernels, on CUDA; they know no rectangle.
- `snnTorch`: step by step, as in its tutorials; its reset is always detached.
- `Norse`: `Lift(SequentialState(...))`, step by step; fires at `>`, its curves have no rectangle.

Spikes are drawn by `torch.bernoulli`, which is faster than a comparison with `torch.rand`. On a
CUDA device timed products may use tf32, as in XLA; compared products may not.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import torch  # type: ignore[import-not-found]
from torch import nn

from experiments.benchmarks import shapes, timing, worker
from experiments.benchmarks.shapes import Conv, Dense, Stage, Step, Unroll, Workload

# If JAX is limited to the CPU, PyTorch is too.
CUDA = torch.cuda.is_available() and os.environ.get("JAX_PLATFORMS") != "cpu"
DEVICE = "cuda" if CUDA else "cpu"

Tensor = Any
Forward = Callable[[Tensor], Tensor]  # xs [T, B, *in], channels first -> spikes [T, B, *units]
Build = Callable[[list[Any], float], Forward]  # (the stages' synapses, decay) -> Forward


class _Rectangle(torch.autograd.Function):
    """The authors' spike: H(v), with a rectangle for its derivative."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        ctx.save_for_backward(v)
        return (v >= 0).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (v,) = ctx.saved_tensors
        return grad * (v.abs() < shapes.WIDTH / 2).to(grad.dtype) / shapes.WIDTH


_spike = _Rectangle.apply


def author_loop(synapses: list[Any], decay: float) -> Forward:
    """One loop over time around the whole network."""

    def forward(xs: Tensor) -> Tensor:
        states: list[Any] = [None] * len(synapses)
        outs = []
        for x in xs.unbind(0):
            for i, synapse in enumerate(synapses):
                current = synapse(x)
                if states[i] is None:
                    u = current
                else:
                    u, x = states[i]
                    u = u * decay * (1.0 - x) + current
                x = _spike(u - shapes.THRESHOLD)
                states[i] = u, x
            outs.append(x)
        return torch.stack(outs)

    return forward


def compiled_loop(synapses: list[Any], decay: float) -> Forward:
    """One product per layer for all steps, then a compiled loop over the membrane."""

    def unroll(currents: Tensor) -> Tensor:
        u = o = torch.zeros_like(currents[0])
        outs = []
        for current in currents.unbind(0):
            u = u * decay * (1.0 - o) + current
            o = _spike(u - shapes.THRESHOLD)
            outs.append(o)
        return torch.stack(outs)

    fused = torch.compile(unroll, dynamic=False)

    def forward(xs: Tensor) -> Tensor:
        for synapse in synapses:
            xs = fused(synapse(xs.flatten(0, 1)).unflatten(0, xs.shape[:2]))
        return xs

    return forward


def spikingjelly(synapses: list[Any], decay: float, curve: str = "Rect") -> Forward:
    """Multi-step modules, layer by layer."""
    from spikingjelly.activation_based import (  # type: ignore[import-not-found]
        functional,
        layer,
        neuron,
        surrogate,
    )

    modules = []
    for synapse in synapses:
        lif = neuron.LIFNode(
            tau=1 / (1 - decay),
            decay_input=False,
            v_threshold=shapes.THRESHOLD,
            v_reset=0.0,
            surrogate_function=getattr(surrogate, curve)(alpha=1 / shapes.WIDTH),
            detach_reset=False,
            step_mode="m",
        )
        modules += [layer.SeqToANNContainer(synapse), lif]
    net = nn.Sequential(*modules).to(DEVICE)

    def forward(xs: Tensor) -> Tensor:
        functional.reset_net(net)
        return net(xs)

    return forward


def spikingjelly_triton(synapses: list[Any], decay: float) -> Forward:
    """Multi-step modules with Triton kernels; fails where the kernels do not run."""
    os.environ["SJ_LIF_CUDA_IMPLEMENTATION"] = "triton"  # read on import
    return spikingjelly(synapses, decay, curve="PiecewiseQuadratic")


def snntorch(synapses: list[Any], decay: float) -> Forward:
    """`Leaky` in a loop over time that carries the membranes."""
    import snntorch as snn  # type: ignore[import-not-found]

    neurons = [
        snn.Leaky(
            beta=decay, threshold=shapes.THRESHOLD, spike_grad=_spike, reset_mechanism="zero"
        ).to(DEVICE)
        for _ in synapses
    ]

    def forward(xs: Tensor) -> Tensor:
        membranes = [neuron.reset_mem().to(DEVICE) for neuron in neurons]
        outs = []
        for x in xs.unbind(0):
            for i, (synapse, neuron) in enumerate(zip(synapses, neurons, strict=True)):
                x, membranes[i] = neuron(synapse(x), membranes[i])
            outs.append(x)
        return torch.stack(outs)

    return forward


def norse(synapses: list[Any], decay: float) -> Forward:
    """`LIFBoxCell`, which has no synaptic current, lifted over time with the network.

    It scales its input by dt/tau = 1 - decay, so weights or currents are divided by 1 - decay.
    """
    from norse import torch as norse_torch  # type: ignore[import-not-found]

    parameters = norse_torch.LIFBoxParameters(
        tau_mem_inv=torch.tensor((1 - decay) / 0.001, device=DEVICE),
        v_th=torch.tensor(shapes.THRESHOLD, device=DEVICE),
    )
    modules = [m for s in synapses for m in (s, norse_torch.LIFBoxCell(parameters, dt=0.001))]
    net = norse_torch.Lift(norse_torch.SequentialState(*modules)).to(DEVICE)

    def forward(xs: Tensor) -> Tensor:
        return net(xs)[0]

    return forward


class Peer(NamedTuple):
    """A peer: its network, and the values that it shares with the default.

    Attributes:
      build: makes the forward pass.
      package: name of the package, for its version.
      gradients: name of the default's gradients that the peer shares; None if it shares none.
      scale: `decay -> factor` on weights and currents that gives the same membranes.
      remark: differences from the default.
    """

    build: Build
    package: str
    gradients: str | None = "grad"
    scale: Callable[[float], float] = lambda decay: 1.0
    remark: str = ""


PEERS = {
    "PyTorch loop": Peer(author_loop, "torch"),
    "PyTorch compiled": Peer(compiled_loop, "torch"),
    "SpikingJelly": Peer(spikingjelly, "spikingjelly"),
    "SpikingJelly Triton": Peer(
        spikingjelly_triton,
        "spikingjelly",
        gradients=None,
        remark="gradient by a triangle of width 2, for its kernels know no rectangle",
    ),
    "snnTorch": Peer(
        snntorch,
        "snntorch",
        gradients="cut/grad",
        remark="gradient without its path through the reset, which it always cuts",
    ),
    "Norse": Peer(
        norse,
        "norse",
        gradients=None,
        scale=lambda decay: 1 / (1 - decay),
        remark="gradient by superspike, for lack of a rectangle; fires at >",
    ),
}


def _synapse(stage: Stage, weights: Any, scale: float) -> Any:
    """The synapse of one population, for one time slice with channels first."""
    modules: list[Any] = [nn.AvgPool2d(stage.pool)] if stage.pool > 1 else []
    match stage.synapse:
        case Conv(features, kernel):
            modules.append(nn.Conv2d(stage.shape[2], features, kernel))
        case Dense(features):
            linear = nn.Linear(_rows(stage, weights[0]).shape[1], features)
            modules += [nn.Flatten(), linear] if len(stage.shape) > 1 else [linear]
        case None:
            modules.append(nn.Identity())
    if stage.synapse is not None:
        with torch.no_grad():
            modules[-1].weight.copy_(scale * _rows(stage, weights[0]))
            modules[-1].bias.copy_(scale * torch.from_numpy(weights[1]))
    return (modules[0] if len(modules) == 1 else nn.Sequential(*modules)).to(DEVICE)


def _rows(stage: Stage, kernel: Any) -> Tensor:
    """A kernel with inputs in the order of PyTorch, outputs first."""
    kernel = torch.from_numpy(kernel)
    if isinstance(stage.synapse, Conv):
        return kernel.permute(3, 2, 0, 1)
    if len(stage.shape) > 1:  # flattened with channels first
        kernel = kernel.unflatten(0, stage.shape).permute(2, 0, 1, 3).flatten(0, 2)
    return kernel.T


def _columns(stage: Stage, weight: Tensor) -> Tensor:
    """The inverse of `_rows`."""
    if isinstance(stage.synapse, Conv):
        return weight.permute(2, 3, 1, 0)
    if len(stage.shape) > 1:
        height, width, channels = stage.shape
        weight = weight.T.unflatten(0, (channels, height, width))
        return weight.permute(1, 2, 0, 3).flatten(0, 2)
    return weight.T


def _channels_first(x: Any) -> Tensor:
    x = torch.from_numpy(x).to(DEVICE)
    return x.movedim(-1, -3).contiguous() if x.ndim > 3 else x


def _loss(spikes: Tensor, labels: Tensor) -> Tensor:
    """Equation (9)."""
    targets = nn.functional.one_hot(labels, spikes.shape[-1])
    return 0.5 * ((spikes.mean(0) - targets) ** 2).sum(-1).mean()


class Model(NamedTuple):
    """A peer's network for one workload.

    Attributes:
      forward: the forward pass.
      inputs: given spikes or currents, `[T, B, *in]`, channels first.
      wanted: tensors that get a gradient: the weights and biases, or the currents.
    """

    forward: Forward
    inputs: Tensor
    wanted: list[Tensor]


def model(peer: Peer, workload: Workload) -> Model:
    """The network of a workload, written for the peer."""
    scale = peer.scale(workload.decay)
    weights = iter(shapes.weights(workload))
    synapses = [
        _synapse(stage, next(weights) if stage.synapse else None, scale)
        for stage in shapes.stages(workload)
    ]
    forward = peer.build(synapses, workload.decay)
    if isinstance(workload, Unroll):
        currents = scale * torch.from_numpy(shapes.currents(workload)).to(DEVICE)
        return Model(forward, currents, [currents.requires_grad_()])
    inputs = _channels_first(shapes.spikes(workload))
    return Model(forward, inputs, [p for s in synapses for p in s.parameters()])


def task(peer: Peer, workload: Workload) -> Callable[[], None]:
    """One call of the workload."""
    forward, inputs, wanted = model(peer, workload)
    if isinstance(workload, Step):
        images = _channels_first(shapes.images(workload)[0])
        labels = torch.from_numpy(shapes.images(workload)[1]).long().to(DEVICE)
        optimizer = torch.optim.Adam(wanted, lr=shapes.LEARNING_RATE, fused=True)

        def step() -> None:
            probabilities = (images / 255).expand(workload.steps, *images.shape)
            loss = _loss(forward(torch.bernoulli(probabilities)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return step
    cotangent = torch.from_numpy(shapes.cotangent(workload)).to(DEVICE)

    def pull_back() -> None:
        torch.autograd.grad(forward(inputs), wanted, cotangent)

    return pull_back


def check(peer: Peer, workload: Workload) -> dict[str, Any]:
    """Spikes, loss and gradients on given input spikes or currents."""
    forward, inputs, wanted = model(peer, workload)
    spikes = forward(inputs)
    found = {"spikes": spikes.detach()}
    if isinstance(workload, Step):
        labels = torch.from_numpy(shapes.images(workload)[1]).long().to(DEVICE)
        loss = _loss(spikes, labels)
        found["loss"] = loss.detach()
        grads = torch.autograd.grad(loss, wanted)
    else:
        cotangent = torch.from_numpy(shapes.cotangent(workload)).to(DEVICE)
        grads = torch.autograd.grad(spikes, wanted, cotangent)
    if not isinstance(workload, Unroll):
        stages = shapes.stages(workload)  # kernels and biases alternate
        grads = [g if i % 2 else _columns(stages[i // 2], g) for i, g in enumerate(grads)]
    found |= {f"grad{i}": g for i, g in enumerate(grads)}
    return {name: x.cpu() for name, x in found.items()}


def _growth(run: timing.Run) -> int | None:
    """Peak memory of one call, on the device, or in the process on a CPU."""
    if not CUDA:
        return timing.growth(run)
    torch.cuda.reset_peak_memory_stats()
    live = torch.cuda.memory_allocated()
    run()
    return torch.cuda.max_memory_allocated() - live


def prepare(implementation: str, workload: Workload, small: Workload) -> worker.Prepared:
    """Build a peer and compute the values of its comparison."""
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count() or 1)
    peer = PEERS[implementation]
    if CUDA:
        torch.backends.cudnn.allow_tf32 = False
    found = check(peer, small)
    if CUDA:
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("high")
    claims = {
        name: name.replace("grad", peer.gradients or "")
        for name in found
        if peer.gradients or not name.startswith("grad")
    }
    call = task(peer, workload)

    def run() -> None:
        call()
        if CUDA:
            torch.cuda.synchronize()

    tf32 = CUDA and not isinstance(workload, Unroll)
    compile_seconds = None
    if peer.build is compiled_loop:
        start = time.perf_counter()
        run()
        compile_seconds = time.perf_counter() - start
    return worker.Prepared(
        run=run,
        check=found,
        claims=claims,
        remark=peer.remark,
        version=", ".join(f"{p} {version(p)}" for p in dict.fromkeys((peer.package, "torch"))),
        precision=shapes.precision(workload) + (", tf32 allowed in products" if tf32 else ""),
        compile_seconds=compile_seconds,
        growth=_growth,
    )


if __name__ == "__main__":
    if CUDA:
        torch.cuda.init()  # started before it is asked to prepare
    worker.serve(prepare, sys.argv[1:])
