"""Stop a stream and go on from the state of a decision: the same scores as without the stop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj

BIN, T = 1000, 6


def lif():
    return sj.lif(decay=0.25, threshold=0.5)


NETWORKS = {
    "plain": lambda: sj.dense(4, lif()),
    "recurrent": lambda: sj.dense(4, sj.recurrent(lif())),
    "alif": lambda: sj.serial(sj.dense(8, sj.alif()), sj.dense(4, sj.leaky_integrator(decay=0.5))),
}


@functools.cache
def made(name="plain", **changes):
    network = NETWORKS[name]()
    params, _ = network.init(jax.random.key(0), (12,))
    return network, sj.streaming.make_stream(network, params, shape=(12,), **changes)


def events(num_steps=T, count=200):
    generator = np.random.default_rng(0)
    times = np.sort(generator.integers(0, num_steps * BIN, count))
    return times, generator.integers(0, 12, count)


def streamed(stream, source, **changes):
    options = {"microseconds": BIN, "num_steps": T} | changes
    return list(sj.streaming.classify_stream(stream, source, **options))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("together", [1, 2])
def test_going_on_equals_no_stop(name, together, tmp_path):
    network, stream = made(name, steps_per_call=together)
    times, addresses = events()
    whole = streamed(stream, [(times, addresses), (T * BIN, None)])
    assert whole[-1].scores.any()
    for stop in range(len(whole) - 1):
        sj.save(tmp_path / "state.npz", network, whole[stop].state)
        state = sj.load(tmp_path / "state.npz", network, stream.start())
        start = whole[stop].time
        rest = [(times[times >= start], addresses[times >= start]), (T * BIN, None)]
        left = T - whole[stop].steps
        found = streamed(stream, rest, start=start, num_steps=left, state=state)
        assert [d.time for d in found] == [d.time for d in whole[stop + 1 :]]
        assert [d.ended for d in found] == [d.ended for d in whole[stop + 1 :]]
        for one, other in zip(found, whole[stop + 1 :], strict=True):
            np.testing.assert_array_equal(one.scores, other.scores)
            jax.tree.map(np.testing.assert_array_equal, one.state, other.state)


def test_the_state_at_every_end():
    _, stream = made()
    _, pairs = made(steps_per_call=2)
    rule = streamed(stream, [(0, 3), (5 * BIN, None)], rule=lambda scores: True)
    source = streamed(stream, [(0, 3), (2 * BIN, None)])
    for decision in (*rule, *source):
        assert decision.state is not None
    assert source[-1].ended == "source"
    assert source[-1].state is source[-2].state
    # The call of two bins has computed a bin that had not begun.
    (within,) = streamed(pairs, [(0, 3)])
    assert (within.steps, within.ended, within.state) == (1, "source", None)


def test_a_state_is_a_value():
    _, stream = made()
    state, counts = stream.start(), np.ones((1, 12), int)
    one, other = (stream.advance(state, counts) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    text = repr(streamed(stream, [(0, 3), (BIN, None)])[0])
    assert text.startswith("Decision(time=1000, steps=1, scores=array([")
    assert "state" not in text


def test_a_state_of_another_stream_is_refused_at_once():
    _, stream = made()
    wider = sj.dense(5, lif())
    params, _ = wider.init(jax.random.key(0), (12,))
    other = sj.streaming.make_stream(wider, params, shape=(12,)).start()
    for state, error, message in (
        (other, ValueError, r"state must be of this stream, with float32 \[1, 4\], got float32 \["),
        (made("alif")[1].start(), TypeError, "state must be of this stream, got one of another"),
        (stream.start().network, TypeError, "state must be a StreamState, got LIFState"),
    ):
        with pytest.raises(error, match=message):
            sj.streaming.classify_stream(stream, [], state=state)


def test_what_does_not_go_through_a_stream_is_refused_with_the_way_out():
    network, stream = made()
    params, _ = network.init(jax.random.key(0), (12,))
    with pytest.raises(TypeError, match=r"concrete, got a traced value: inside jit, network\.step"):
        jax.jit(stream.advance)(stream.start(), jnp.ones((1, 12), int))
    with pytest.raises(TypeError, match=r"other inputs than counts go through network\.step"):
        stream.advance(stream.start(), np.full((1, 12), 0.5))
    wanted = r"encode makes of a sensor of shape=\(34, 34, 2\), here \[1, 1, 34, 34, 2\]: dense\(4"
    with pytest.raises(ValueError, match=wanted):
        sj.streaming.make_stream(network, params)
    with pytest.raises(ValueError, match=r"index in C order.*got \[1\] and \[2\]"):
        streamed(stream, [(5, (3, 4))])
