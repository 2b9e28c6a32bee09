"""The other methods in the paper's Tables 2, 4 and 5, with the sizes of their networks.

Accuracies are percent of the test set, as the paper's tables report them; they were remembered or
read in later works, and not verified (PAPER.md of the project, marks [2] and [M]).
"""

import math
from typing import NamedTuple

import jax

from experiments.engine import models
from experiments.engine.config import Config
from experiments.report import tables
from stbp_jax.layers import varying_input


class Peer(NamedTuple):
    """One line of a table in the paper.

    Attributes:
      method: name and year.
      network: in the notation of the configs, with the number of inputs first for a perceptron;
        "" if the table names none.
      accuracy: percent.
      spiking: whether the network spikes.
    """

    method: str
    network: str
    accuracy: float
    spiking: bool = True


PEERS = {
    "mnist_mlp": (
        Peer("STBP, the paper", "784-800-10", 98.89),
        Peer("backpropagation, Lee 2016", "784-800-10", 98.71),
        Peer("converted ANN, Diehl 2015", "784-1200-1200-10", 98.64),
        Peer("fractional SGD, O'Connor 2016", "784-200-200-10", 97.66),
        Peer("contrastive divergence", "784-500-500-10", 97.48),
        Peer("STDP", "784-6400", 95.00),
        Peer("contrastive divergence", "784-500-40", 93.16),
    ),
    "nmnist_mlp": (
        Peer("STBP, the paper", "2312-800-10", 98.78),
        Peer("backpropagation, Lee 2016", "", 98.74),
        Peer("CNN on frames", "", 98.30, spiking=False),
        Peer("MLP on frames", "", 97.80, spiking=False),
        Peer("Phased LSTM", "", 97.38, spiking=False),
        Peer("LSTM", "", 97.05, spiking=False),
        Peer("Neil and Liu 2016", "", 95.72),
        Peer("CNN on frames, Neil and Liu 2016", "", 95.30, spiking=False),
        Peer("Cohen 2016", "", 92.87),
    ),
    "mnist_cnn": (
        Peer("STBP, the paper, distorted images", "15C5-P2-40C5-P2-300-10", 99.42),
        Peer("backpropagation, Lee 2016, distorted images", "20C5-P2-50C5-P2-200-10", 99.31),
        Peer("converted ANN, Diehl 2015", "12C5-P2-64C5-P2-10", 99.1),
    ),
}
IMAGE = (28, 28, 1)  # of MNIST


def table(study: str) -> str:
    """Return the table of a study's peers, best first, with the number of parameters."""
    lines = [
        [
            peer.method,
            "spiking" if peer.spiking else "not spiking",
            peer.network or "-",
            f"{parameters(peer.network):,}" if peer.network else "-",
            f"{peer.accuracy:.2f}",
        ]
        for peer in PEERS[study]
    ]
    return tables.markdown(["method", "network", "layers", "parameters", "accuracy (%)"], lines)


def parameters(network: str) -> int:
    """Count weights and biases.

    >>> parameters("784-800-10")
    636010
    """
    first, _, rest = network.partition("-")
    shape, layers = ((int(first),), rest) if first.isdigit() else (IMAGE, network)
    config, total = Config().but(layers=layers), 0
    for layer in models.network(config, models.RELU, {}, varying_input).layers:
        params, shape = layer.init(jax.random.key(0), shape)
        total += sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    return total
