"""What `diagnose` finds in the measurements of a run, and that it finds nothing in a sound one."""

from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj
from stbp_jax import data
from stbp_jax.training import diagnose


def history(*, rate=(0.2, 0.1), silent=(0.1, 0.0), inside=(0.4, 0.3), lost=(0, 0), loss=0.5):
    """A run of two epochs; the statistics are those of the second, the first is sound."""

    def grown(last, first=0.2):
        return np.stack([np.full(len(last), first), np.asarray(last, float)])

    losses = np.array([0.5, loss])
    test = sj.training.Evaluation(
        losses, OrderedDict(), grown(rate), grown(silent), grown(inside), grown(rate)
    )
    return sj.training.History(losses, OrderedDict(), test, np.array(lost))


def kinds(found):
    return [(one.kind, one.layer) for one in found]


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        (
            {"rate": (0.2, 0.0), "silent": (0, 1), "inside": (0.4, 0)},
            ("silent", 1),
            "spiking layer 1 fires nowhere on the test set, and has none of its membranes in the "
            "window: raise its initial weights or biases, or lower the threshold",
        ),
        (
            {"rate": (0, 0.1), "silent": (1, 0), "inside": (0.49, 0.3)},
            ("silent", 0),
            "spiking layer 0 fires nowhere on the test set, but has 49 % of its membranes in the "
            "window: go on while the accuracy rises; else raise its initial weights or biases, or "
            "lower the threshold",
        ),
        (
            {"rate": (1e-4, 0.1), "silent": (0.95, 0)},
            ("silent", 0),
            "spiking layer 0 leaves 95 % of its units silent on the test set, but has 40 % of its "
            "membranes in the window: go on while the accuracy rises; else raise its initial "
            "weights or biases, or lower the threshold",
        ),
        (
            {"rate": (0, 0.1), "silent": (1, 0), "inside": (np.nan, 0.3)},
            ("silent", 0),
            "spiking layer 0 fires nowhere on the test set: raise its initial weights or biases, "
            "or lower the threshold",
        ),
        (
            {"rate": (0.99, 0.1), "inside": (1e-4, 0.3)},
            ("saturated", 0),
            "spiking layer 0 fires at 99 % of the steps, and has 0.01 % of its membranes in the "
            "window: lower its initial weights, biases or inputs, or raise the threshold",
        ),
        (
            {"inside": (0.4, 0.0)},
            ("outside the window", 1),
            "spiking layer 1 has none of its membranes in the window: widen the surrogate, or "
            "lower the learning rate",
        ),
        (
            {"lost": (0, 7)},
            ("diverged", None),
            "7 updates were not finite (loss, gradient or parameters), the first in epoch 2: "
            "lower the learning rate, or clip the gradient",
        ),
        (
            {"loss": np.inf},
            ("diverged", None),
            "the test loss is inf: lower the learning rate, or clip the gradient",
        ),
    ],
)
def test_each_finding_is_a_sentence(changes, kind, words):
    found = diagnose(history(**changes))
    assert kinds(found) == [kind]
    assert str(found[0]) == words


def test_nothing_is_found_in_a_sound_run():
    assert diagnose(history()) == []
    nothing = dict.fromkeys(("rate", "silent", "inside"), ())
    assert diagnose(history(**nothing)) == []  # no layer spikes
    unknown = dict.fromkeys(("rate", "silent", "inside"), (np.nan, np.nan))
    assert diagnose(history(**unknown)) == []
    assert kinds(diagnose(history(lost=(3, 3), inside=(0, 0), rate=(np.nan, np.nan)))) == [
        ("diverged", None)
    ]


def test_all_layers_are_named_in_order():
    found = diagnose(history(lost=(1, 0), rate=(0, 0.95), silent=(1, 0)))
    assert kinds(found) == [("diverged", None), ("silent", 0), ("saturated", 1)]


def test_what_is_no_single_run_is_refused():
    one = history()
    many = jax.tree.map(lambda x: np.stack([x, x])[None], one)
    with pytest.raises(
        ValueError, match=r"one run.* got non_finite_updates \[1, 2, 2\]; of a swee"
    ):
        diagnose(many)
    assert diagnose(jax.tree.map(lambda x: x[0, 1], many)) == []
    with pytest.raises(ValueError, match=r"of one epoch, got non_finite_updates \[0\]"):
        diagnose(jax.tree.map(lambda x: x[:0], one))
    with pytest.raises(TypeError, match="history must be a History.* got Evaluation"):
        diagnose(one.test)
    with pytest.raises(TypeError, match="call diagnose outside jit"):
        jax.jit(lambda lost: diagnose(one._replace(non_finite_updates=lost)))(jnp.zeros(2))


def test_the_histories_of_runs():
    """Of `make_train`, of `train_epochs` and of a sweep: one run that learns, one that cannot."""

    def build(threshold, num_updates):
        neuron = sj.lif(threshold=threshold)
        return sj.Pipeline(
            encode=lambda key, images: sj.bernoulli(key, images, num_steps=3),
            network=sj.serial(sj.flatten(), sj.dense(20, neuron), sj.dense(10, neuron)),
            readout=sj.rate,
            loss=sj.half_squared_error,
            optimizer=optax.adam(3e-3),
        )

    train_set, test_set = (
        data.Dataset(one.images[:100], one.labels[:100]) for one in data.load("digits")
    )
    config, key = sj.TrainConfig(epochs=2, batch_size=50), jax.random.key(0)
    train, wanted = sj.make_train(build, config), [("silent", 0), ("silent", 1)]
    points, keys = jnp.array([0.5, 50.0]), jax.random.split(key, 2)
    cells = sj.sweep(train, keys, points, train_set, test_set)
    for h, findings in enumerate([[], wanted]):
        cell = jax.tree.map(lambda x, h=h: x[h, 1], cells)
        assert kinds(diagnose(cell)) == findings
        _, whole = jax.jit(train)(key, points[h], train_set, test_set)
        assert kinds(diagnose(whole)) == findings
        for _, epoch in sj.train_epochs(build, config, key, points[h], train_set, test_set):
            assert kinds(diagnose(epoch)) == findings
