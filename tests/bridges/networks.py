"""The network and the inputs that both bridges are tested with."""

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint

import stbp_jax as sj
from tests.contracts import dyadic

SHAPE, STEPS, BATCH = (4,), 5, 3
LOUD = sj.initializers.fan_in_normalized(gain=2.0)
NETWORK = sj.serial(
    sj.dense(8, sj.recurrent(sj.lif(decay=0.5, surrogate=sj.gaussian(0.5))), init=LOUD),
    sj.dropout(0.5),
    sj.dense(3, sj.leaky_integrator(decay=0.5)),
)
_RNG = np.random.default_rng(0)
XS = jnp.asarray(dyadic(_RNG, -1, 2, (STEPS, BATCH, *SHAPE)), jnp.float32)
FIRST = jnp.asarray(_RNG.random((STEPS, BATCH)) < 0.4)
LABELS = jnp.array([0, 2, 1])
DROPOUT = jax.random.key(3)


def loss_of(outs):
    return sj.cross_entropy(sj.peak_membrane(outs), LABELS).mean()


def saved_and_restored(folder, tree, like):
    """The tree after a passage through a checkpoint of Orbax."""
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "checkpoint", tree)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "checkpoint", like)


def check_runs(start, call, step, params, key):
    """The runs of a module are those of `apply`: from rest, from a state, with restarts, by step.

    Args:
      start: `() -> state` at rest, with what `key` draws.
      call: `(xs, state, is_first) -> (state, outs)`; a state of None is rest, with a draw.
      step: `(state, x, is_first) -> (state, y)`.
      params: the parameters, in the network's tree.
      key: the key of dropout.
    """
    run = jax.jit(lambda **kwargs: sj.apply(NETWORK, params, **kwargs))
    wanted_state, wanted = run(xs=XS, key=key)
    same(call(XS, None, None), (wanted_state, wanted))
    same(call(XS[2:], call(XS[:2], None, None)[0], None), (wanted_state, wanted[2:]))
    again = run(xs=XS, key=key, is_first=FIRST)
    assert np.any(again[1] != wanted)
    same(call(XS, None, FIRST), again)
    state, outs = start(), []
    for x, first in zip(XS, FIRST, strict=True):
        state, y = step(state, x, first)
        outs.append(y)
    same((state, jnp.stack(outs)), again)
    if key is not None:
        assert np.any(run(xs=XS)[1] != wanted)


def same(got, wanted):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        if jax.dtypes.issubdtype(g.dtype, jax.dtypes.prng_key):
            g, w = jax.random.key_data(g), jax.random.key_data(w)
        np.testing.assert_allclose(g, w, atol=1e-6)
