"""Spiking networks trained by spatio-temporal backpropagation, as pure JAX functions.

The method is that of Wu, Deng, Li, Zhu, Shi: Spatio-Temporal Backpropagation for Training
High-Performance Spiking Neural Networks, Front. Neurosci. 12:331, 2018.
"""

from stbp_jax import (
    augment,
    core,
    data,
    encoders,
    events,
    initializers,
    layers,
    losses,
    metrics,
    neurons,
    plots,
    presets,
    readouts,
    streaming,
    surrogates,
    sweeps,
    training,
)
from stbp_jax.core import Layer, Neuron, make_neuron, scan
from stbp_jax.encoders import bernoulli, constant, latency
from stbp_jax.layers import (
    Synapse,
    apply,
    apply_with_stats,
    avg_pool,
    chunked,
    concatenate,
    conv,
    dense,
    dropout,
    flatten,
    max_pool,
    record,
    residual,
    serial,
    stepwise,
    truncated,
)
from stbp_jax.losses import cross_entropy, half_squared_error
from stbp_jax.neurons import (
    alif,
    current_based,
    detach_reset,
    detach_time,
    exponential_reset,
    hard_reset,
    leaky_integrator,
    learnable_decay,
    lif,
    recurrent,
    soft_reset,
)
from stbp_jax.readouts import first_spike, peak_membrane, rate
from stbp_jax.surrogates import (
    Surrogate,
    arctan,
    gaussian,
    matched,
    polynomial,
    rectangular,
    sigmoid,
    superspike,
)
from stbp_jax.sweeps import grid, summarize, sweep
from stbp_jax.training import (
    Pipeline,
    TrainConfig,
    TrainState,
    evaluate,
    load,
    make_train,
    save,
    train_epochs,
)

__all__ = [
    # modules
    "augment",
    "core",
    "data",
    "encoders",
    "events",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "neurons",
    "plots",
    "presets",
    "readouts",
    "streaming",
    "surrogates",
    "sweeps",
    "training",
    # contracts
    "Neuron",
    "Layer",
    "make_neuron",
    "scan",
    # surrogates
    "Surrogate",
    "rectangular",
    "polynomial",
    "sigmoid",
    "gaussian",
    "arctan",
    "superspike",
    "matched",
    # neurons
    "lif",
    "alif",
    "current_based",
    "recurrent",
    "leaky_integrator",
    "learnable_decay",
    "hard_reset",
    "soft_reset",
    "exponential_reset",
    "detach_reset",
    "detach_time",
    # layers
    "Synapse",
    "dense",
    "conv",
    "avg_pool",
    "concatenate",
    "max_pool",
    "residual",
    "flatten",
    "dropout",
    "serial",
    "stepwise",
    "chunked",
    "truncated",
    "apply",
    "apply_with_stats",
    "record",
    # encoders, readouts, losses
    "bernoulli",
    "constant",
    "latency",
    "rate",
    "peak_membrane",
    "first_spike",
    "half_squared_error",
    "cross_entropy",
    # training and sweeps
    "Pipeline",
    "TrainConfig",
    "TrainState",
    "make_train",
    "train_epochs",
    "evaluate",
    "save",
    "load",
    "grid",
    "sweep",
    "summarize",
]

__version__ = "0.1.0"
