"""The pages under `docs`: their examples run, and what they say of the keys of a run is so."""

import doctest
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj

DOCS = Path(__file__).parent.parent / "docs"
FENCE = re.compile(r"^```.*$", re.MULTILINE)
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

PAGES = [page for page in sorted(DOCS.rglob("*.md")) if ">>> " in page.read_text()]
SLOW = pytest.mark.heavy


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=SLOW if p.stem in ("dtypes", "keys") else ()) for p in PAGES],
    ids=lambda page: page.stem,
)
def test_examples_of_a_page(page):
    text = FENCE.sub("", page.read_text())  # a fence would count as output
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    assert test.examples
    report = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=report.append)
    assert not report, "".join(report)


def test_keys_of_a_run():
    """The paragraph of `keys.md` on runs."""
    seen, batches = {"encode": [], "layers": []}, {}

    def see(name, key):
        jax.debug.callback(lambda words: seen[name].append(tuple(words.tolist())), words_of(key))

    def words_of(key):
        return jax.random.key_data(key)

    def encode(key, images):
        see("encode", key)
        return sj.constant(images, 2)

    def augment(key, images):
        jax.debug.callback(
            lambda words, first: batches.update({tuple(words.tolist()): first.tolist()}),
            words_of(key),
            images[:, 0],
        )
        return images

    def initial_state(params, shape, *, key=None):
        if key is not None:
            see("layers", key)
        return layer.initial_state(params, shape)

    layer = sj.dense(3, sj.lif())
    network = layer._replace(initial_state=initial_state)

    def build(hparams, num_updates):
        pipeline = encode, network, sj.rate, sj.half_squared_error, optax.sgd(0.1)
        return sj.Pipeline(*pipeline, augment=augment)

    data = np.random.default_rng(0).random((4, 5), np.float32), np.arange(4) % 3
    config = sj.TrainConfig(epochs=2, batch_size=2, eval_batch_size=3)
    key = jax.random.key(3)
    state, _ = jax.jit(sj.make_train(build, config))(key, (), data, data)
    jax.effects_barrier()

    key_init, key_updates, key_order, key_test = jax.random.split(key, 4)
    first = sj.training.init_state(build, config, key, (), data)
    kernel = layer.init(key_init, (5,))[0].synapse.kernel
    assert jnp.array_equal(first.params.synapse.kernel, kernel)
    assert jnp.array_equal(words_of(state.key), words_of(key_updates))

    # Two batches of the test set, with the same keys in both epochs.
    tests = [tuple(words_of(one).tolist()) for one in jax.random.split(key_test, 2)]
    wanted, wanted_batches = {"encode": 2 * tests, "layers": []}, {}
    for n in range(4):
        keys = jax.random.split(jax.random.fold_in(key_updates, n), 3)
        encoding, of_layers, augmentation = (tuple(words_of(one).tolist()) for one in keys)
        wanted["encode"].append(encoding)
        wanted["layers"].append(of_layers)
        order = jax.random.permutation(jax.random.fold_in(key_order, n // 2), 4)
        batch = order.reshape(2, 2)[n % 2]
        wanted_batches[augmentation] = data[0][batch, 0].tolist()
    assert {name: sorted(keys) for name, keys in seen.items()} == {
        name: sorted(keys) for name, keys in wanted.items()
    }
    assert batches == wanted_batches
