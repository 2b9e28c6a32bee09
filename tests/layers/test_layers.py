"""Layers and networks: the contract, and their numbers against NumPy loops."""

from typing import Any

import jax
import pytest

import stbp_jax as sj
from tests.contracts import LayerContract, assert_same


def neuron(threshold: float = 0.25, **kwargs: Any) -> sj.Neuron:
    """Dyadic constants; a wide curve, so that no gradient is 0 by chance."""
    return sj.lif(decay=0.5, threshold=threshold, surrogate=sj.gaussian(0.5), **kwargs)


LOUD = sj.initializers.fan_in_normalized(
    gain=2.0
)  # and no bias: units are neither silent nor always firing


def a_key() -> jax.Array:
    return jax.random.key(7)


class TestDense(LayerContract):
    shape = (6,)
    make = staticmethod(lambda: sj.dense(5, neuron()))

    def test_apply_without_jit(self) -> None:
        """As a user's first call."""
        layer, params, xs = self.inputs()
        assert_same(
            sj.apply(layer, params, xs), jax.jit(sj.apply, static_argnums=0)(layer, params, xs)
        )


@pytest.mark.heavy
class TestDenseBySplitProduct(LayerContract):
    shape = (6,)
    make = staticmethod(lambda: sj.dense(5, neuron(), matmul=sj.layers.split_bfloat16_matmul))


@pytest.mark.heavy
class TestDenseInBfloat16(LayerContract):
    shape = (6,)
    make = staticmethod(lambda: sj.dense(5, neuron(), matmul=sj.layers.bfloat16_matmul))


@pytest.mark.heavy
class TestLinear(LayerContract):
    shape = (6,)
    remembers, spikes, reports = False, False, 0
    make = staticmethod(lambda: sj.dense(5))


@pytest.mark.heavy
class TestLeakyReadoutWithoutBias(LayerContract):
    shape = (6,)
    spikes, reports = False, 0
    make = staticmethod(
        lambda: sj.dense(
            5,
            sj.leaky_integrator(decay=0.5),
            init=sj.initializers.initializer(jax.nn.initializers.he_uniform()),
        )
    )


class TestRecurrent(LayerContract):
    shape = (6,)
    make = staticmethod(lambda: sj.dense(5, sj.recurrent(neuron()), init=LOUD))


@pytest.mark.heavy
class TestConvValid(LayerContract):
    shape = (4, 3, 2)
    make = staticmethod(lambda: sj.conv(3, (3, 2), neuron()))


@pytest.mark.heavy
class TestConvSame(LayerContract):
    shape = (4, 3, 2)
    make = staticmethod(lambda: sj.conv(2, (3, 2), neuron(), padding="same", init=LOUD))


@pytest.mark.heavy
class TestConvLinear(LayerContract):
    shape = (4, 3, 2)
    remembers, spikes, reports = False, False, 0
    make = staticmethod(lambda: sj.conv(3, 2))


class TestAvgPool(LayerContract):
    shape = (5, 4, 3)
    remembers, spikes, reports = False, False, 0
    make = staticmethod(lambda: sj.avg_pool(2))


class TestFlatten(LayerContract):
    shape = (4, 3, 2)
    remembers, spikes, reports = False, False, 0
    make = staticmethod(sj.flatten)


class TestDropout(LayerContract):
    shape = (12,)
    remembers, spikes, reports = False, False, 0
    key = staticmethod(a_key)
    make = staticmethod(lambda: sj.dropout(0.5))


class TestDropoutWithoutKey(LayerContract):
    shape = (4, 3)
    remembers, spikes, reports = False, False, 0
    make = staticmethod(lambda: sj.dropout(0.5))


@pytest.mark.heavy
class TestChunked(LayerContract):
    """Four steps in chunks of three: a whole one and a rest."""

    shape = (6,)
    make = staticmethod(lambda: sj.chunked(sj.dense(5, neuron()), 3))


@pytest.mark.heavy
class TestChunkedNetworkThatKeepsMembranes(LayerContract):
    shape, reports = (6,), 2
    make = staticmethod(
        lambda: sj.chunked(
            sj.serial(sj.dense(7, neuron()), sj.dense(5, neuron(), init=LOUD)),
            2,
            policy=sj.neurons.keep_membranes,
        )
    )


@pytest.mark.heavy
class TestChunkLongerThanTheSequence(LayerContract):
    shape = (6,)
    make = staticmethod(lambda: sj.chunked(sj.dense(5, sj.recurrent(neuron()), init=LOUD), 9))


@pytest.mark.heavy
class TestNetwork(LayerContract):
    """All kinds of layers in one network, a nested network included."""

    shape = (6, 5, 1)
    reports = 3
    key = staticmethod(a_key)
    make = staticmethod(
        lambda: sj.serial(
            sj.conv(3, (3, 2), neuron(), padding="same", init=LOUD),
            sj.avg_pool(2),
            sj.serial(
                sj.flatten(),
                sj.dropout(0.5),
                sj.dense(6, sj.recurrent(neuron(), init=LOUD), init=LOUD),
            ),
            sj.dense(4, neuron(), init=LOUD),
        )
    )
