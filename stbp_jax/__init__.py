"""Spiking networks trained by spatio-temporal backpropagation, as pure JAX functions.

The paper is Wu, Deng, Li, Zhu, Shi: Spatio-Temporal Backpropagation for Training High-Performance
Spiking Neural Networks, Front. Neurosci. 12:331, 2018.
"""

from stbp_jax import data, plots, presets
from stbp_jax.augmentation import elastic, horizontal_flip
from stbp_jax.coding import (
    bernoulli,
    constant,
    first_spike,
    latency,
    mean_log_probability,
    pack,
    peak_membrane,
    rate,
)
from stbp_jax.core import Activity, Layer, Neuron, scan
from stbp_jax.events import by_count, by_time, event_counts, event_spikes
from stbp_jax.initialisers import Weights, fan_in_uniform, initialiser, row_normalised
from stbp_jax.layers import (
    Synapse,
    avg_pool,
    changing,
    conv,
    dense,
    dropout,
    fan_out,
    flatten,
    pointwise,
    spiking,
    still,
    unpack,
)
from stbp_jax.losses import (
    activity_penalty,
    cross_entropy,
    negative_log_likelihood,
    squared_error,
)
from stbp_jax.metrics import accuracy, firing_rate, silent_fraction, synaptic_operations
from stbp_jax.networks import activity, apply, chunked, serial, stepwise, truncated
from stbp_jax.neurons import (
    LIFConstants,
    LIFState,
    adaptive_carry,
    alif,
    current_based,
    detach_reset,
    detach_time,
    exponential_carry,
    keep_membranes,
    leaky,
    learnt_decay,
    lif,
    lif_scan,
    lif_step,
    lif_unroll,
    linear_carry,
    one_decay,
    own_decays,
    recurrent,
    stateless,
    subtractive_carry,
)
from stbp_jax.products import bfloat16_product, full_product, gathered_product, split_product
from stbp_jax.streaming import (
    Decision,
    Stream,
    any_event,
    decisions,
    lead,
    live,
    make_stream,
    never,
    replay,
    running_peak,
    running_rate,
)
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
from stbp_jax.sweeps import grid, run, summarise
from stbp_jax.training import (
    Evaluation,
    History,
    Pipeline,
    TrainConfig,
    Training,
    TrainState,
    adversarial,
    epochs,
    evaluate,
    make_train,
    make_train_step,
    make_training,
)

__all__ = [
    # rooms of their own
    "data",
    "plots",
    "presets",
    # contracts
    "Neuron",
    "Layer",
    "Activity",
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
    "LIFConstants",
    "LIFState",
    "lif",
    "lif_step",
    "lif_scan",
    "lif_unroll",
    "linear_carry",
    "exponential_carry",
    "subtractive_carry",
    "detach_reset",
    "detach_time",
    "alif",
    "adaptive_carry",
    "current_based",
    "learnt_decay",
    "one_decay",
    "own_decays",
    "recurrent",
    "leaky",
    "stateless",
    # layers
    "Synapse",
    "dense",
    "conv",
    "avg_pool",
    "flatten",
    "dropout",
    "spiking",
    "pointwise",
    "changing",
    "still",
    "unpack",
    "fan_out",
    "full_product",
    "bfloat16_product",
    "split_product",
    "gathered_product",
    "Weights",
    "fan_in_uniform",
    "row_normalised",
    "initialiser",
    # networks
    "serial",
    "stepwise",
    "chunked",
    "truncated",
    "keep_membranes",
    "apply",
    "activity",
    # coding
    "bernoulli",
    "constant",
    "latency",
    "pack",
    "rate",
    "first_spike",
    "peak_membrane",
    "mean_log_probability",
    # events
    "event_spikes",
    "event_counts",
    "by_time",
    "by_count",
    # streams
    "Stream",
    "make_stream",
    "any_event",
    "running_rate",
    "running_peak",
    "Decision",
    "decisions",
    "lead",
    "never",
    "replay",
    "live",
    # augmentation
    "elastic",
    "horizontal_flip",
    # losses and metrics
    "squared_error",
    "cross_entropy",
    "negative_log_likelihood",
    "activity_penalty",
    "accuracy",
    "firing_rate",
    "silent_fraction",
    "synaptic_operations",
    # training and sweeps
    "TrainState",
    "Pipeline",
    "TrainConfig",
    "History",
    "Evaluation",
    "evaluate",
    "Training",
    "adversarial",
    "make_train_step",
    "make_training",
    "make_train",
    "epochs",
    "grid",
    "run",
    "summarise",
]

__version__ = "0.1.0"
