"""The first number that is not finite is found: its update, layer, examples, and the operation."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj
from stbp_jax.training import first_non_finite, init_state

KEY = jax.random.key(0)
CONFIG = sj.TrainConfig(epochs=2, batch_size=10)
LABELS = np.arange(40, dtype=np.int32) % 2
IMAGES = np.random.default_rng(0).uniform(0.1, 1, (40, 3)).astype(np.float32)
NETWORK = sj.serial(
    sj.layers.rearrange(lambda x: x + 0.0),
    sj.serial(sj.dense(4, sj.lif()), sj.dense(4, sj.lif())),
    sj.dense(2, sj.leaky_integrator(decay=1.0)),
)


def make(network=NETWORK, optimizer=None, **changes):
    def build(hparams, num_updates):
        assert num_updates == 8
        fields = {
            "encode": lambda key, inputs: jnp.stack([inputs] * 3),
            "network": network,
            "readout": sj.rate,
            "loss": sj.half_squared_error,
            "optimizer": optimizer or optax.sgd(hparams),
        }
        return sj.Pipeline(**(fields | changes))

    return build


def found(build, rate=0.1, images=IMAGES, state=None):
    return first_non_finite(build, CONFIG, KEY, rate, (images, LABELS), state=state)


def with_leaf(build, name, value):
    """The initial state with one leaf of the parameters changed."""
    state = init_state(build, CONFIG, KEY, 0.1, (IMAGES, LABELS))
    changed = sj.layers.by_name(lambda of: of == name)(state.params)
    params = jax.tree.map(
        lambda leaf, here: jnp.full_like(leaf, value) if here else leaf, state.params, changed
    )
    return state._replace(params=params)


def test_a_sound_run_has_no_fault():
    assert found(make()) is None


@pytest.mark.parametrize(
    ("leaf", "value", "kind", "layer", "words"),
    [
        ("1/1/synapse/kernel", jnp.inf, "parameter", "1/1", "kernel is infinite before the upd"),
        ("1/0/synapse/bias", jnp.nan, "parameter", "1/0", "parameter 1/0/synapse/bias is NaN"),
        ("1/0/synapse/kernel", 3e38, "current", "1/0", "layer 1/0: the current .* at step 0, in"),
        ("2/synapse/bias", 1.5e38, "state", "2", "layer 2: state is infinite at step 2, in exam"),
        ("2/synapse/bias", 1e30, "loss", "2", "the loss is infinite, the scores of layer 2 reac"),
    ],
)
def test_layers_are_looked_at_in_order(leaf, value, kind, layer, words):
    fault = found(make(), state=with_leaf(make(), leaf, value))
    assert (fault.update, fault.kind, fault.layer) == (0, kind, layer)
    assert re.search(words, str(fault))


def root_of_zero(scores, labels):
    return jnp.sqrt(jnp.sum(0 * scores, -1))


def test_gradients_and_updates_have_their_layers():
    fault = found(make(loss=root_of_zero))  # d√u/du is infinite at 0
    assert (fault.kind, fault.layer) == ("gradient", "2")
    assert "gradient of 2/synapse/bias is NaN, the loss is finite" in fault.words
    fault = found(make(), rate=np.inf)
    assert (fault.kind, fault.update) == ("update", 0)
    assert fault.layer in ("1/0", "1/1", "2")
    assert "lower the learning rate" in str(fault)
    mean_only = make(objective=lambda loss_fn: lambda *a: (jnp.log(-loss_fn(*a)[0]), {}))
    assert "that of each example is finite" in found(mean_only).words


def test_an_example_at_fault_has_its_place_in_the_set():
    images = IMAGES.copy()
    images[[7, 31]] = np.nan
    fault = found(make(), images=images)
    assert (fault.kind, fault.layer) == ("input", None)
    assert set(fault.examples) <= {7, 31}
    assert "the inputs are NaN, in example" in fault.words
    encoded = make(encode=lambda key, inputs: jnp.log(jnp.stack([inputs] * 3) - 0.1 * 2))
    assert "the encoded inputs are NaN, the inputs are finite" in found(encoded).words


def test_a_run_goes_on_to_its_fault_from_any_state():
    """The fault of the whole run is that of the run from an epoch before it, and of its stream."""
    bomb = optax.chain(
        optax.sgd(0.0), optax.scale_by_schedule(lambda n: jnp.where(n == 6, jnp.inf, 1.0))
    )
    build = make(optimizer=bomb)
    fault = found(build)
    assert (fault.update, fault.kind) == (6, "update")
    sets = (IMAGES, LABELS), (IMAGES, LABELS)
    states = [s for s, h in sj.train_epochs(build, CONFIG, KEY, 0.1, *sets)]
    assert found(build, state=states[0]) == fault
    config = sj.TrainConfig(epochs=2, batch_size=10, updates_per_epoch=4)
    batches = ((IMAGES[:10], LABELS[:10]) for _ in range(8))
    streamed = first_non_finite(build, config, KEY, 0.1, batches)
    assert streamed._replace(words="") == fault._replace(words="")


def test_a_network_that_is_no_serial_names_its_inner_layer():
    net = sj.residual(sj.serial(sj.dense(3, sj.lif()), sj.dense(3, sj.leaky_integrator(decay=1.0))))
    build = make(net, readout=lambda outs: sj.rate(outs)[:, :2])
    fault = found(build, state=with_leaf(build, "1/synapse/bias", 1.5e38))
    assert (fault.kind, fault.layer) == ("state", "")
    assert fault.words.startswith("the network: 1 is infinite at step 2")


def test_under_debug_nans_the_operation_is_in_the_traceback():
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="in mul") as raised:
        found(make(loss=root_of_zero))
    assert "gradient of 2/synapse/bias" in raised.value.__notes__[-1]
    cause = raised.value.__cause__  # JAX's trace of the line that was differentiated
    names = []
    while cause is not None:
        trace = cause.__traceback__
        while trace is not None:
            names.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        cause = cause.__cause__
    assert "root_of_zero" in names


def test_wrong_arguments_are_those_of_a_run():
    with pytest.raises(ValueError, match="updates_per_epoch of config must be set"):
        first_non_finite(make(), CONFIG, KEY, 0.1, iter([]))
    with pytest.raises(ValueError, match="train_set must have a batch"):
        first_non_finite(make(), CONFIG._replace(updates_per_epoch=4), KEY, 0.1, iter([]))
    with pytest.raises(TypeError, match="state must be a TrainState"):
        found(make(), state=3)
