"""Sequences of different lengths: padded steps change no score, loss, statistic or gradient."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import stbp_jax as sj
from stbp_jax.training import loss_of, merge_evaluations

KEY = jax.random.key(0)
T, F, C = 7, 5, 3
LENGTHS = np.array([3, 7, 1, 5, 7, 2])
N = len(LENGTHS)
RNG = np.random.default_rng(1)
XS = RNG.random((N, T, F)).astype(np.float32)
LABELS = RNG.integers(0, C, N)
OWN = np.arange(T)[None] < LENGTHS[:, None]  # [N, T]
NEURON = sj.lif(decay=0.5, threshold=0.3, surrogate=sj.gaussian(0.3))
HIDDEN = sj.dense(8, NEURON)  # its biases let it spike at padded steps too


def ended(inputs):
    """The mask `[T, B]`: steps before an example's length."""
    return jnp.arange(T)[:, None] < inputs["length"][None]


def pipeline_of(network, **changes):
    pipeline = sj.Pipeline(
        encode=lambda key, inputs: inputs["x"].swapaxes(0, 1),
        network=network,
        readout=sj.rate,
        loss=sj.cross_entropy,
        optimizer=optax.sgd(0.1),
        mask=ended,
    )
    return pipeline._replace(**changes)


def padded(number):
    return {"x": np.where(OWN[..., None], XS, np.float32(number)), "length": LENGTHS}


NETWORKS = {
    "serial": sj.serial(HIDDEN, sj.dropout(0.5), sj.dense(C, NEURON)),
    "chunked": sj.chunked(sj.serial(HIDDEN, sj.dense(C, NEURON)), 3),
    "beside and around": sj.serial(
        HIDDEN, sj.residual(sj.concatenate(sj.dense(3, NEURON), sj.dense(5, sj.alif()))),
        sj.dense(C, sj.leaky_integrator(decay=0.5)),
    ),
}  # fmt: skip
LOOP = sj.layers.feedback(sj.serial(HIDDEN, sj.dense(C, NEURON)), sj.dense(F))
WITH_LOOP = {**NETWORKS, "fed back": LOOP}
EVERY_STEP = {
    "readout": sj.readouts.identity,
    "loss": lambda outs, y: sj.half_squared_error(outs, y.swapaxes(0, 1)),
    "metrics": (("error", lambda outs, y: jnp.abs(outs - y.swapaxes(0, 1)).mean(-1)),),
}
CASES = {name: (net, {}, LABELS) for name, net in NETWORKS.items()} | {
    "targets at every step": (
        NETWORKS["serial"],
        EVERY_STEP,
        RNG.random((N, T, C)).astype(np.float32),
    ),
    "hidden spikes": (
        NETWORKS["serial"],
        {"auxiliary_loss": lambda states, y, *, mask: sj.losses.activity_penalty(
            states[0].spikes, target=0.3, mask=mask
        )},
        LABELS,
    ),
}  # fmt: skip


SLOW = ("chunked", "beside and around", "hidden spikes", "targets at every step")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.heavy) if n in SLOW else n for n in CASES]
)
def test_an_example_is_what_it_is_alone(name):
    network, changes, targets = CASES[name]
    pipeline = pipeline_of(network, **changes)
    params, _ = network.init(KEY, (F,))

    def alone(b):
        """One example without its padding."""
        length = LENGTHS[b]
        inputs = {"x": XS[b : b + 1, :length]}
        own = targets[b : b + 1, :length] if targets.ndim > 1 else targets[b : b + 1]
        return inputs, own

    unmasked = pipeline._replace(mask=None)
    if pipeline.auxiliary_loss is not None:
        loss = pipeline.auxiliary_loss
        unmasked = unmasked._replace(auxiliary_loss=lambda s, y: loss(s, y, mask=None))
    found = sj.evaluate(pipeline, params, KEY, padded(0.5), targets, batch_size=4)
    parts = [sj.evaluate(unmasked, params, KEY, *alone(b)) for b in range(N)]
    chex.assert_trees_all_close(found, merge_evaluations(parts), rtol=1e-5, atol=1e-6)
    assert float(found.counts.steps) == LENGTHS.sum()
    if name == "serial":
        return  # dropout draws by the batch's shape in training
    grads = jax.jit(jax.value_and_grad(loss_of(_dry(pipeline)), has_aux=True))
    lone = jax.value_and_grad(loss_of(_dry(unmasked)), has_aux=True)
    params = params if name in NETWORKS else (params[0], params[2])
    wanted = [lone(params, KEY, alone(b)) for b in range(N)]
    mean = jax.tree.map(lambda *leaves: sum(leaves) / N, *wanted)
    got = grads(params, KEY, (padded(0.5), targets))
    chex.assert_trees_all_close(got, mean, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.heavy) if n in SLOW else n for n in WITH_LOOP]
)
def test_states_and_statistics_of_each_example_end_with_it(name):
    network, own = WITH_LOOP[name], jnp.asarray(OWN.T)
    params, _ = network.init(KEY, (F,))
    xs = jnp.asarray(padded(0.5)["x"]).swapaxes(0, 1)
    got = jax.jit(lambda xs: sj.layers.final_state(network, params, xs, own))(xs)
    _, _, stats = jax.jit(lambda xs: sj.apply_with_stats(network, params, xs, mask=own))(xs)
    run = jax.jit(lambda xs: sj.apply_with_stats(network, params, xs))
    alone = [run(xs[:length, b : b + 1]) for b, length in enumerate(LENGTHS)]
    for b, (wanted, _, _) in enumerate(alone):
        chex.assert_trees_all_close(
            jax.tree.map(lambda x, b=b: x[b : b + 1], got), wanted, rtol=1e-6, atol=1e-6
        )
    weights = LENGTHS / LENGTHS.sum()
    for i, report in enumerate(stats):
        shares = {"firing_rate": weights, "in_window": weights, "operations": np.full(N, 1 / N)}
        for field, share in shares.items():
            mean = sum(w * getattr(s[i], field) for w, (_, _, s) in zip(share, alone, strict=True))
            np.testing.assert_allclose(getattr(report, field), mean, rtol=1e-5, atol=1e-7)


def test_inputs_of_numpy_in_64_bits():
    """They are float32 here, and warn of nothing."""
    pipeline, inputs = pipeline_of(sj.dense(C, NEURON)), padded(0.5)
    params, _ = pipeline.network.init(KEY, (F,))
    found = [
        sj.evaluate(pipeline, params, KEY, {**inputs, "x": x}, LABELS)
        for x in (inputs["x"], inputs["x"].astype(np.float64))
    ]
    chex.assert_trees_all_equal(*found)


@pytest.mark.parametrize("name", WITH_LOOP)
def test_other_steps_may_hold_anything(name):
    network, own = WITH_LOOP[name], jnp.asarray(OWN.T)
    params, _ = network.init(KEY, (F,))

    def size(params, xs):
        state = sj.layers.final_state(network, params, xs, own)
        leaves = [
            leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)
        ]
        return sum(jnp.sum(leaf**2) for leaf in leaves), state

    @jax.jit
    def run(xs):
        (_, state), grads = jax.value_and_grad(size, has_aux=True)(params, xs)
        return state, grads, sj.apply_with_stats(network, params, xs, mask=own)[2]

    wanted, *found = [
        run(jnp.asarray(padded(number)["x"]).swapaxes(0, 1)) for number in (0.0, 9.0, np.nan)
    ]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(wanted))
    for got in found:
        chex.assert_trees_all_equal(got, wanted)


def test_an_example_without_steps_keeps_its_state():
    params, _ = HIDDEN.init(KEY, (F,))
    xs, own = jnp.ones((T, 2, F)), jnp.zeros((T, 2), bool).at[:, 1].set(True)
    state, _ = sj.apply(HIDDEN, params, xs)

    @jax.jit
    def run(state):
        got = sj.layers.final_state(HIDDEN, params, xs, own, state=state)
        return got, sj.apply(HIDDEN, params, xs, state=state)[0]

    got, wanted = run(state)
    chex.assert_trees_all_equal(
        got, jax.tree.map(lambda a, b: jnp.stack([a[0], b[1]]), state, wanted)
    )


def test_statistics_that_take_no_mask_say_so():
    def unroll_with_stats(params, state, xs, is_first=None):
        return HIDDEN.unroll_with_stats(params, state, xs, is_first)

    network = HIDDEN._replace(unroll_with_stats=unroll_with_stats)
    params, _ = network.init(KEY, (F,))
    with pytest.raises(TypeError, match=r"mask needs statistics that take it in dense\(8, lif"):
        sj.apply_with_stats(network, params, jnp.ones((T, N, F)), mask=jnp.asarray(OWN.T))


def test_a_mask_of_steps_is_checked():
    network, xs = HIDDEN, jnp.ones((T, 2, F))
    params, _ = network.init(KEY, (F,))
    for run in (sj.layers.final_state, lambda *args: sj.apply_with_stats(*args[:3], mask=args[3])):
        with pytest.raises(TypeError, match="mask must be an array of bool, got float32"):
            run(network, params, xs, jnp.ones((T, 2)))
        with pytest.raises(ValueError, match=r"mask must have shape \[T, B\] = \[7, 2\]"):
            run(network, params, xs, jnp.ones((2, T), bool))


def _dry(pipeline):
    """Without dropout."""
    if pipeline.network is not NETWORKS["serial"]:
        return pipeline
    return pipeline._replace(network=sj.serial(HIDDEN, sj.dense(C, NEURON)))


@pytest.mark.parametrize("name", ["serial", "targets at every step", "hidden spikes"])
def test_padding_may_hold_anything(name):
    network, changes, targets = CASES[name]
    pipeline = pipeline_of(network, **changes)
    params, _ = network.init(KEY, (F,))
    step = jax.jit(jax.value_and_grad(loss_of(pipeline), has_aux=True))
    evaluated = jax.jit(lambda inputs, y: sj.evaluate(pipeline, params, KEY, inputs, y))

    def both(number):
        y = targets
        if y.ndim > 1:
            y = np.where(OWN[..., None], y, np.float32(number))
        return step(params, KEY, (padded(number), y)), evaluated(padded(number), y)

    wanted = both(0.0)
    for number in (9.0, np.nan, np.inf):
        chex.assert_trees_all_equal(both(number), wanted)


@pytest.mark.heavy
def test_a_whole_run_on_sequences_of_different_lengths():
    pipeline = pipeline_of(sj.serial(HIDDEN, sj.dense(C, sj.leaky_integrator(decay=0.5))))
    train_set = padded(0.0), LABELS, np.array([1, 1, 1, 1, 1, 0], np.float32)
    train = sj.make_train(lambda hparams, n: pipeline, sj.TrainConfig(20, 3))
    _, history = jax.jit(train)(KEY, (), train_set, train_set)
    assert history.loss[-1] < history.loss[0]
    # An example of weight 0 may be all padding.
    inputs, labels, weights = train_set
    empty = inputs | {"length": np.append(LENGTHS[:-1], 0)}
    params, _ = pipeline.network.init(KEY, (F,))
    (loss, _), slope = jax.value_and_grad(loss_of(pipeline), has_aux=True)(
        params, KEY, (empty, labels, weights)
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((loss, slope)))
    found = sj.evaluate(pipeline, params, KEY, empty, labels, weights)
    assert float(found.counts.examples) == N - 1


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (lambda i: ended(i)[::-1], ValueError, "mask must have the steps of each example first"),
        (lambda i: ended(i) & (jnp.arange(T) > 0)[:, None], ValueError, "for example 0"),
        (lambda i: ended(i).T, ValueError, r"mask must return the shape \[T, B\] = \[7, 6\]"),
        (lambda i: ended(i) * 1.0, TypeError, "mask must return an array of bool, got float32"),
        (lambda i: None, TypeError, "mask must return an array of bool, got NoneType"),
    ],
)  # fmt: skip
def test_masks_are_checked(mask, error, message):
    network = sj.dense(C, NEURON)
    pipeline = pipeline_of(network, mask=mask)
    params, _ = network.init(KEY, (F,))
    with pytest.raises(error, match=message):
        sj.evaluate(pipeline, params, KEY, padded(0.0), LABELS)
    with pytest.raises(error, match=message):
        sj.train_epochs(
            lambda hparams, n: pipeline, sj.TrainConfig(1, N), KEY, (), (padded(0.0), LABELS),
            (padded(0.0), LABELS),
        )  # fmt: skip
