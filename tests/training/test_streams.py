"""Training on iterators of batches: generators, readers of files, Grain."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj
from stbp_jax.training import init_state

KEY = jax.random.key(3)
RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.random((20, 4)).astype(np.float32), RNG.integers(0, 3, 20)
TEST = IMAGES[:7], LABELS[:7]
CONFIG = sj.TrainConfig(epochs=3, batch_size=5, updates_per_epoch=4)


def build(hparams, num_updates):
    assert num_updates == 12
    return sj.Pipeline(
        encode=lambda key, images: sj.bernoulli(key, images, 4),
        network=sj.dense(3, sj.lif(decay=0.5, threshold=0.3, surrogate=sj.gaussian(0.3))),
        readout=sj.rate,
        loss=sj.half_squared_error,
        optimizer=optax.adam(optax.cosine_decay_schedule(hparams, num_updates)),
    )


def shuffled():
    """The batches of a run on arrays, in its order."""
    key = jax.random.split(KEY, 4)[2]
    for epoch in range(3):
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), 20))
        for indices in order.reshape(4, 5):
            yield IMAGES[indices], LABELS[indices]


def run(batches, config=CONFIG, **state):
    return sj.train_epochs(build, config, KEY, 1e-2, batches, TEST, **state)


def numbers(tree):
    def plain(leaf):
        typed = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if typed else leaf)

    return jax.tree.map(plain, tree)


@pytest.fixture(scope="module")
def streamed():
    return list(run(shuffled()))


def test_a_generator_trains_as_the_set_does(streamed):
    config = CONFIG._replace(updates_per_epoch=None)
    whole = list(sj.train_epochs(build, config, KEY, 1e-2, (IMAGES, LABELS), TEST))
    for (state, history), (wanted, expected) in zip(streamed, whole, strict=True):
        chex.assert_trees_all_close(numbers(state), numbers(wanted), rtol=1e-5, atol=1e-6)
        chex.assert_trees_all_close(history, expected, rtol=1e-5, atol=1e-6)


def test_a_run_goes_on_where_its_iterator_does(streamed):
    batches, half = shuffled(), []
    for state, history in run(batches):
        half.append((state, history))
        if len(half) == 2:
            break
    left = sum(1 for _ in itertools.islice(batches, 3))  # no batch was read ahead
    assert left == 3
    rest = itertools.islice(shuffled(), 8, None)
    ((last, _),) = run(rest, state=half[-1][0])
    chex.assert_trees_all_equal(numbers(last), numbers(streamed[-1][0]))
    assert list(run(iter(()), state=last)) == []


def test_an_epoch_of_a_set_may_be_shorter():
    config = CONFIG._replace(updates_per_epoch=4, batch_size=2)
    (state, _), *_ = sj.train_epochs(build, config, KEY, 1e-2, (IMAGES, LABELS), TEST)
    assert int(state.step) == 4
    with pytest.raises(ValueError, match=r"train_set inputs must have shape .* N >= 24"):
        sj.train_epochs(build, config._replace(batch_size=6), KEY, 1e-2, (IMAGES, LABELS), TEST)


def test_batches_may_have_weights_and_their_own_sizes():
    def batches():
        for i, (images, labels) in enumerate(shuffled()):
            size = 5 - i % 2
            yield images[:size], labels[:size], np.ones(size, np.float32)

    *_, (state, _) = run(batches())
    assert int(state.step) == 12


def test_memory_holds_few_batches():
    """Batches do not pile up on the device while the host is faster."""
    alive = []

    def batches():
        for batch in shuffled():
            alive.append(sum(x.shape == (5, 4) for x in jax.live_arrays()))
            yield batch

    list(run(batches()))
    assert len(alive) == 12
    assert max(alive) <= 3


@pytest.mark.parametrize(
    ("batches", "config", "error", "message"),
    [
        (iter([]), CONFIG, ValueError, "train_set must have a batch, got an iterator at its end"),
        (
            shuffled(),
            CONFIG._replace(updates_per_epoch=None),
            ValueError,
            "updates_per_epoch of config must be set if train_set is an iterator",
        ),
        (iter([(IMAGES, LABELS + 1)]), CONFIG, ValueError, "batch: targets must lie in"),
        (iter([IMAGES]), CONFIG, TypeError, r"batch must be \(inputs, targets\) or"),
        (shuffled(), CONFIG._replace(updates_per_epoch=0), ValueError, "updates_per_epoch must be"),
        (shuffled(), CONFIG._replace(updates_per_epoch=1.5), TypeError, "updates_per_epoch must"),
        ("files", CONFIG, TypeError, "train_set must be .* got str"),
    ],
)
def test_the_call_checks_the_first_batch(batches, config, error, message):
    with pytest.raises(error, match=message):
        run(batches, config)


def test_an_iterator_that_ends_early():
    epochs = run(itertools.islice(shuffled(), 6))
    next(epochs)
    with pytest.raises(ValueError, match="4 batches for each epoch, got 2 in epoch 2 of 3"):
        next(epochs)
    wrong = itertools.chain(itertools.islice(shuffled(), 1), [(IMAGES, LABELS[:3])])
    with pytest.raises(ValueError, match=r"batch targets must have shape \[20, ...\]"):
        list(run(wrong))


def test_an_initial_state_from_a_batch(streamed):
    state = init_state(build, CONFIG, KEY, 1e-2, next(shuffled()))
    *_, (last, _) = run(shuffled(), state=state)
    chex.assert_trees_all_equal(numbers(last), numbers(streamed[-1][0]))


@pytest.mark.heavy
def test_grain(streamed):
    grain = pytest.importorskip("grain", reason="pip install grain")
    source = grain.MapDataset.source(list(zip(IMAGES, LABELS, strict=True)))
    batches = source.seed(0).shuffle().repeat().batch(5).to_iter_dataset()
    whole = [numbers(state) for state, _ in run(batches)]
    iterator = iter(batches)
    epochs = run(iterator)
    next(epochs)
    state, _ = next(epochs)
    place = iterator.get_state()  # belongs to the state of the run: nothing is read ahead
    resumed = iter(batches)
    resumed.set_state(place)
    ((last, _),) = run(resumed, state=state)
    chex.assert_trees_all_equal(numbers(last), whole[-1])
