"""Summaries and reprs are short, and count what is there."""

import jax
import jax.numpy as jnp
import optax
import pytest

import stbp_jax as sj

NET = sj.serial(
    sj.conv(3, 5, sj.lif(decay=jnp.full((4, 4, 3), 0.5))),
    sj.serial(sj.avg_pool(2), sj.flatten()),
    sj.dense(4, sj.recurrent(sj.lif())),
    sj.layers.pointwise(sj.Synapse(lambda key, shape: ((), shape), lambda params, x: -x)),
)


def test_summary_has_a_line_a_layer():
    head, *lines, last = sj.layers.summary(NET, (8, 8, 1)).splitlines()
    assert head.split() == ["layer", "output", "parameters", "constants"]
    names = [line.split("(")[0] for line in lines]
    assert names == [
        "conv",
        "avg_pool",
        "flatten",
        "dense",
        "Layer",
    ]
    assert "4 x 4 x 3" in lines[0]
    assert "lif  " in lines[0]
    assert "decay=float32[4, 4, 3]" in lines[0]
    assert "lif(decay=0.2, threshold=0.5, surrogate=rectangular(1.0), reset=hard_reset)" in lines[3]
    params, _ = NET.init(jax.random.key(0), (8, 8, 1))
    assert last.split()[:2] == ["5", "layers"]
    assert int(last.split()[-1]) == sum(leaf.size for leaf in jax.tree.leaves(params))
    chunks = sj.layers.summary(sj.chunked(NET, 2), (8, 8, 1))
    assert chunks == sj.layers.summary(NET, (8, 8, 1))


def test_summary_of_what_does_not_fit():
    with pytest.raises(TypeError, match="network must be a Layer, such as dense"):
        sj.layers.summary(sj.lif(), (8,))
    with pytest.raises(ValueError, match=r"dense\(3\) needs inputs of shape \[in\]"):
        sj.layers.summary(sj.dense(3), (8, 8))


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (sj.arctan(), "arctan(2.0)"),
        (jax.vmap(sj.rectangular)(jnp.ones(3)), "rectangular(float32[3])"),
        (sj.dense(3), "dense(3)"),
        (sj.conv(3, 5, padding="same"), "conv(3, [5, 5], padding=same)"),
        (sj.serial(sj.flatten(), sj.dense(2)), "serial(flatten(), dense(2))"),
        (
            sj.dense(2, sj.current_based(sj.leaky_integrator(decay=0.5), decay=0.25)),
            "dense(2, current_based(leaky_integrator(decay=0.5), decay=0.25))",
        ),
        (sj.dense(2, sj.neurons.activation(jnp.tanh)), "dense(2, activation(function=tanh))"),
    ],
)
def test_records_are_shown_as_their_call(record, text):
    assert repr(record) == text


def test_records_without_constants_and_traced_ones_are_short():
    neuron = sj.Neuron(lambda k, s: (), lambda s, d: (), lambda p, s, x: (s, x), None)
    assert repr(neuron).endswith("without_constants_and_traced_ones_are_short.<lambda>)")
    pipeline = sj.Pipeline(sj.bernoulli, sj.dense(3), sj.rate, sj.cross_entropy, optax.adam(0.1))
    assert repr(pipeline) == (
        "Pipeline(encode=bernoulli, network=dense(3), readout=rate, loss=cross_entropy, "
        "optimizer=GradientTransformationExtraArgs(...), metrics=((accuracy, correct)))"
    )
    seen = []
    jax.jit(lambda decay: seen.append(repr(sj.leaky_integrator(decay=decay))))(0.5)
    assert seen == ["leaky_integrator(decay=traced float32[])"]
    assert len(repr(sj.presets.paper.mnist)) < 300
