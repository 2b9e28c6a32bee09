"""The errors ε = ∂L/∂u of every layer and step in one backward pass, and where they come from.

For a LIF neuron with gate f, εᵗ = h(uᵗ) · (error from the layer above) + εᵗ⁺¹ (f(oᵗ) + uᵗ f'(oᵗ)
h(uᵗ)): a part from space and a part from time. `jax.grad` gives ε as the gradient of a current that
is added to each neuron at each step.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import stbp_jax as sj
from experiments.engine import folders, programs
from experiments.engine.models import SDBP, STBP, HParams
from experiments.engine.rows import Row
from stbp_jax.initializers import plus_bias

DIGIT = 9
METHODS = {"stbp": STBP, "sdbp": SDBP}


def measure(run: Path) -> Row:
    """Return the sizes of errors for the digit with the largest loss in 500 test images.

    Args:
      run: run folder with `config.json` and `params.npz`.

    Returns:
      `{"error_flow": {method: {"error" | "space" | "time": [L, T]}}}`, Euclidean norms over the
      units of a layer.
    """
    program = programs.prepared(folders.read_job(run))
    (seed,), (hparams,), ((train, _, test),) = program.seeds, program.points, program.sets
    like = sj.training.init_state(
        program.build, program.train_config, jax.random.key(seed), hparams, train
    ).params
    pipeline = program.build(hparams, 1)
    params = sj.load(run / "params.npz", pipeline.network, like)
    key, nines = jax.random.key(0), test.images[test.labels == DIGIT][:500]
    labels = jnp.full(len(nines), DIGIT)
    outs = sj.apply(pipeline.network, params, pipeline.encode(key, nines))[1]
    worst = int(jnp.argmax(sj.half_squared_error(sj.rate(outs), labels)))  # others have no error
    xs = pipeline.encode(key, nines[worst][None])
    weights = [p.synapse for p in params if jax.tree.leaves(p)]
    return {
        "error_flow": {
            name: errors(units.hidden(hparams), hparams, weights, xs, jnp.array([DIGIT]))
            for name, units in METHODS.items()
        }
    }


def errors(
    neuron: sj.Neuron, hparams: HParams, weights: list[Any], xs: jax.Array, labels: jax.Array
) -> dict[str, np.ndarray]:
    """Return the norms of the errors and of their two parts, `[L, T]` each.

    Args:
      neuron: of all layers.
      hparams: decay, threshold and width.
      weights: of each layer.
      xs: input spikes `[T, 1, ...]`.
      labels: `[1]`.
    """
    steps = xs.shape[0]
    zeros = [jnp.zeros((steps, 1, w.kernel.shape[1])) for w in weights]

    def run(added: list[jax.Array]) -> tuple[jax.Array, list[Any]]:
        x, states = xs.reshape((steps, 1, -1)).astype(jnp.float32), []
        for w, extra in zip(weights, added, strict=True):
            layer = sj.layers.spiking(sj.layers.identity, neuron)
            currents = plus_bias(x @ w.kernel, w) + extra
            params, _ = layer.init(jax.random.key(0), currents.shape[2:])
            states.append(sj.record(layer, params, currents)[0])
            x = sj.apply(layer, params, currents)[1]
        return jnp.sum(sj.half_squared_error(sj.rate(x), labels)), states

    found, states = jax.jit(jax.grad(run, has_aux=True))(zeros)
    surrogate, decay = sj.rectangular(hparams["width"]), hparams["decay"]
    sizes: dict[str, list[np.ndarray]] = {"error": [], "space": [], "time": []}
    for error, state in zip(found, states, strict=True):
        u, o = state.membrane, state.spikes
        later = jnp.concatenate([error[1:], jnp.zeros_like(error[:1])])
        slope = surrogate.derivative(u - hparams["threshold"])
        from_time = later * decay * ((1 - o) - u * slope)
        if _cuts_time(neuron):
            from_time = jnp.zeros_like(error)
        parts = {"error": error, "space": error - from_time, "time": from_time}
        for name, part in parts.items():
            sizes[name].append(np.asarray(jnp.linalg.norm(part[:, 0], axis=-1)))
    return {name: np.stack(parts) for name, parts in sizes.items()}


def _cuts_time(neuron: sj.Neuron) -> bool:
    """Whether no gradient goes from a step to the step before."""
    state = neuron.initial_state((1, 1), jnp.float32)
    currents = jnp.full((2, 1, 1), 0.4)
    last = jax.grad(lambda currents: neuron.unroll((), state, currents)[0].membrane.sum())
    return not last(currents)[0].item()
