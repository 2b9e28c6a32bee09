"""Nested settings, and the network that a config describes."""

import jax
import numpy as np
import pytest

import stbp_jax as sj
from experiments.engine import models
from experiments.engine.config import Config, UsageError
from experiments.engine.notation import Conv, Dense, Pool, parse


def test_but_finds_the_part_of_a_name():
    config = Config().but(name="digits", decay=0.5, epochs=7)
    assert (config.data.name, config.model.decay, config.train.epochs) == ("digits", 0.5, 7)
    assert Config().but() == Config()
    with pytest.raises(UsageError, match=r"no setting is called 'treshold'. Did you mean 'thre"):
        config.but(treshold=1.0)


def test_a_config_is_readable():
    text = str(Config().but(elastic=34.0))
    assert "layers=800-10" in text
    assert "elastic=34.0" in text
    assert "flip" not in text  # 0 says nothing


def test_notation():
    assert parse("15C5-P2-40C3-AP2-300-10") == [
        Conv(15, 5), Pool(2), Conv(40, 3), Pool(2), Dense(300), Dense(10),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "network", ["", "15C", "C5", "300-P2", "300-15C5", "P", "0", "15c5", "3.5"]
)
def test_notation_refuses(network):
    with pytest.raises(ValueError, match="network must"):
        parse(network)


@pytest.mark.parametrize("layers", ["3-P2", "15C5", "3C3-P2"])
def test_layers_end_in_a_dense_one(layers):
    with pytest.raises(UsageError, match=r"model.layers"):
        models.parts(Config().but(layers=layers))


def test_networks_of_a_notation():
    config = Config().but(num_steps=2, layers="3C3-P2-4C3-12-10")
    assert models.network_name(config, (12, 12)) == "3C3-P2-4C3-12-10"
    assert models.network_name(config.but(layers="8-10"), (12, 12)) == "144-8-10"
    pipeline = models.build(config)(models.hparams(config), 10)
    xs = pipeline.encode(jax.random.key(0), np.zeros((5, 12, 12), np.uint8))
    assert xs.shape == (2, 5, 12, 12, 1)
    params, out = pipeline.network.init(jax.random.key(0), xs.shape[2:])
    assert out == (10,)
    kernels = [leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    assert kernels == [(3, 3, 1, 3), (3, 3, 3, 4), (36, 12), (12, 10)]


def test_multiply_accumulates_of_a_convolutional_network():
    config = Config().but(layers="15C5-P2-40C5-P2-300-10")
    first, second = 24 * 24 * 15 * 25, 8 * 8 * 40 * 25 * 15
    wanted = first + second + 640 * 300 + 300 * 10
    assert models.multiply_accumulates(config, (28, 28)) == wanted


@pytest.mark.parametrize("layers", ["4-10", "3C3-P2-4-10"])
def test_inputs_are_dropped_while_training_alone(layers):
    config = Config().but(layers=layers, num_steps=2)
    plain, dropped = (
        models.build(chosen, coding=models.DIRECT)(models.hparams(chosen), 10).network
        for chosen in (config, config.but(input_dropout=0.5))
    )
    shape = (8, 8) if layers == "4-10" else (8, 8, 1)
    xs = sj.constant(np.full((3, *shape), 0.7, np.float32), 2)
    params, _ = plain.init(jax.random.key(0), shape)
    whole = sj.apply(plain, params, xs)[1]
    np.testing.assert_array_equal(sj.apply(dropped, ((), *params), xs)[1], whole)
    mask = sj.apply(dropped, ((), *params), xs, key=jax.random.key(1))[0][0]
    assert mask.shape == (3, *shape)
    assert set(np.unique(mask)) == {0.0, 2.0}


def test_a_sweep_may_vary_dropout():
    config = Config().but(layers="3C3-P2-40-10", num_steps=2)
    fixed, swept = (
        models.build(chosen)(models.hparams(chosen) | more, 10).network
        for chosen, more in ((config.but(dropout=0.5), {}), (config, {"dropout": 0.5}))
    )
    xs = sj.constant(np.full((3, 8, 8, 1), 0.7, np.float32), 2)
    params, _ = swept.init(jax.random.key(0), (8, 8, 1))
    one, other = (sj.apply(net, params, xs, key=jax.random.key(1))[0][-2] for net in (fixed, swept))
    assert set(np.unique(one)) == {0.0, 2.0}
    np.testing.assert_array_equal(one, other)


def test_points_vary_their_axes_alone():
    config = Config().but(decay=0.7)
    found = models.points(config, decay=(0.1, 0.2), gap=(5,))
    assert [point["decay"] for point in found] == [0.1, 0.2]
    assert all(
        point.items() >= {"gap": 5, "threshold": config.model.threshold}.items() for point in found
    )


def test_drawn_spikes_pass_no_gradient_to_an_adversary():
    with pytest.raises(UsageError, match="epsilon needs direct input"):
        models.build(Config().but(epsilon=0.1))
