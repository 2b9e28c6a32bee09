"""Names of parameters, and optimizers that treat some of them in another way."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj
from stbp_jax.layers import by_name, named_parameters
from stbp_jax.neurons import per_layer
from tests.contracts import assert_same

NEURON = sj.learnable_decay(lambda decay: sj.lif(decay=decay), per_layer(0.5))
NETWORK = sj.serial(
    sj.conv(2, 3, sj.lif()),
    sj.flatten(),
    sj.serial(sj.dense(4, sj.recurrent(NEURON)), sj.dropout(0.5)),
    sj.dense(3, sj.leaky_integrator(decay=0.5)),
)
PARAMS = NETWORK.init(jax.random.key(0), (4, 4, 1))[0]
NAMES = [
    "0/synapse/kernel",
    "0/synapse/bias",
    "2/0/synapse/kernel",
    "2/0/synapse/bias",
    "2/0/neuron/weights/kernel",
    "2/0/neuron/weights/bias",
    "2/0/neuron/neuron/logits",
    "3/synapse/kernel",
    "3/synapse/bias",
]
ONES = jax.tree.map(jnp.ones_like, PARAMS)


def moved(optimizer):
    """The names of the parameters that an update with gradients of 1 changes."""
    updates, _ = jax.jit(optimizer.update)(ONES, optimizer.init(PARAMS), PARAMS)
    return {name for name, leaf in named_parameters(updates).items() if np.any(leaf != 0)}


def test_names_are_paths_in_the_order_of_the_layers():
    named = named_parameters(PARAMS)
    assert list(named) == NAMES
    assert_same(list(named.values()), jax.tree.leaves(PARAMS))
    assert named["3/synapse/kernel"] is PARAMS[3].synapse.kernel


def test_a_single_layer_and_traced_parameters():
    params, _ = sj.dense(3).init(jax.random.key(0), (4,))
    assert list(named_parameters(params)) == ["synapse/kernel", "synapse/bias"]
    norms = jax.jit(lambda params: jax.tree.map(jnp.sum, named_parameters(params)))(params)
    assert norms["synapse/kernel"] == jnp.sum(params.synapse.kernel)
    assert named_parameters(()) == {}


def test_a_mask_has_the_tree_of_the_parameters():
    mask = by_name(lambda name: name.endswith("kernel"))(PARAMS)
    assert jax.tree.structure(mask) == jax.tree.structure(PARAMS)
    assert list(named_parameters(mask).values()) == [name.endswith("kernel") for name in NAMES]


def test_weight_decay_on_kernels_alone():
    kernels = by_name(lambda name: name.endswith("kernel"))
    decayed = optax.masked(optax.add_decayed_weights(0.5), kernels)
    updates, _ = decayed.update(jax.tree.map(jnp.zeros_like, ONES), decayed.init(PARAMS), ONES)
    for name, leaf in named_parameters(updates).items():
        np.testing.assert_array_equal(leaf, 0.5 * name.endswith("kernel"))


@pytest.mark.parametrize("combine", [optax.partition, optax.multi_transform])
def test_frozen_layers_and_two_learning_rates(combine):
    def label(name):
        if name.startswith("0/"):
            return "frozen"
        return "slow" if name.endswith("logits") else "fast"

    parts = {"frozen": optax.set_to_zero(), "slow": optax.sgd(0.25), "fast": optax.sgd(1.0)}
    optimizer = combine(parts, by_name(label))
    assert moved(optimizer) == {name for name in NAMES if not name.startswith("0/")}
    updates, _ = optimizer.update(ONES, optimizer.init(PARAMS), PARAMS)
    named = named_parameters(updates)
    assert named["2/0/neuron/neuron/logits"] == -0.25
    np.testing.assert_array_equal(named["3/synapse/bias"], -1.0)


def test_in_a_training_run():
    """`make_train` calls the function itself, and the frozen part keeps its numbers."""
    network = sj.serial(sj.dense(8, sj.lif()), sj.dense(2, sj.leaky_integrator(decay=0.5)))

    def build(hparams, num_updates):
        frozen = by_name(lambda name: "frozen" if name.startswith("0/") else "trained")
        parts = {"frozen": optax.set_to_zero(), "trained": optax.adam(hparams)}
        return sj.Pipeline(
            encode=lambda key, x: sj.constant(x, 3),
            network=network,
            readout=sj.peak_membrane,
            loss=sj.cross_entropy,
            optimizer=optax.partition(parts, frozen),
        )

    config = sj.TrainConfig(epochs=1, batch_size=4)
    data = np.random.default_rng(0).random((8, 4), np.float32), np.arange(8) % 2
    start = sj.training.init_state(build, config, jax.random.key(0), 0.1, data)
    end, _ = jax.jit(sj.make_train(build, config))(jax.random.key(0), 0.1, data, data)
    assert_same(end.params[0], start.params[0])
    assert (end.params[1].synapse.kernel != start.params[1].synapse.kernel).any()


def test_by_name_needs_a_function():
    with pytest.raises(TypeError, match="value must be a function of a parameter's name"):
        by_name("kernel")
