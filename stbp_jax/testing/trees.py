"""Tools of the checks: dyadic numbers, runs step by step, comparisons of trees."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

# Numbers ------------------------------------------------------------------------------------------


def dyadic(rng: np.random.Generator, low: float, high: float, shape: Any) -> np.ndarray:
    """Return multiples of 1/256 in [low, high], float64: their float32 sums are exact."""
    return rng.integers(round(256 * low), round(256 * high) + 1, shape) / 256


def rounded(params: Any) -> Any:
    """Return parameters as multiples of 1/256, in NumPy."""
    return jax.tree.map(lambda x: np.round(np.asarray(x) * 256) / 256, params)


def like(tree: Any, dtype: Any) -> Any:
    """Return the tree with its arrays in `dtype`."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)


def host(tree: Any) -> Any:
    """Return the tree in NumPy, where indexing compiles nothing."""
    return jax.tree.map(np.asarray, tree)


def random_like(tree: Any, seed: int) -> Any:
    """Return normal numbers in the shapes and dtypes of a tree: a cotangent of it.

    The cotangent of integers is empty.
    """
    rng = np.random.default_rng(seed)

    def drawn(x: Any) -> Any:
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            return np.zeros(x.shape, jax.dtypes.float0)
        return jnp.asarray(rng.normal(size=x.shape), x.dtype)

    return jax.tree.map(drawn, tree)


def halved(tree: Any) -> Any:
    """Return a stack of two trees: `tree` and the half of it."""
    return jax.tree.map(lambda x: jnp.stack([jnp.asarray(x), jnp.asarray(x) / 2]), tree)


def pick(tree: Any, index: Any) -> Any:
    """Return the tree with each array at `index` of its leading axis."""
    return jax.tree.map(lambda x: x[index], tree)


# Runs -------------------------------------------------------------------------------------------


def quick_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `jit` that compiles in a third of the time; dyadic inputs give the same numbers."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(function, compiler_options=options)


def loop(step: Callable[..., Any], params: Any, state: Any, xs: Any) -> tuple[Any, Any]:
    """Return the Python loop of `step`, one operation after another."""
    with jax.disable_jit():
        outs = []
        for x in xs:
            state, out = step(params, state, x)
            outs.append(out)
        return state, jnp.stack(outs)


def pulled(function: Callable[..., Any], *args: Any, seed: int = 1) -> Any:
    """Return the gradients of a random linear function of all that `function` returns."""
    out, pull = jax.vjp(function, *args)
    return pull(random_like(out, seed))


# Comparisons ------------------------------------------------------------------------------------


@contextlib.contextmanager
def plainly(message: str) -> Iterator[None]:
    """Put a sentence in plain words before the message of a failed assertion.

    Another error, of the function that is checked, gets the sentence as a note.
    """
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{message}\n{error}") from None
    except Exception as error:
        error.add_note(message)
        raise


def assert_same(got: Any, wanted: Any) -> None:
    """Raise unless two trees are equal bit for bit, shapes and dtypes included."""
    chex.assert_trees_all_equal_structs(got, wanted)
    chex.assert_trees_all_equal_shapes_and_dtypes(got, wanted)
    for name, g, w in _pairs(got, wanted):
        np.testing.assert_array_equal(g, w, name)


def assert_near(got: Any, wanted: Any, tolerance: float) -> None:
    """Raise unless trees are equal up to `tolerance` times the largest wanted value of a leaf."""
    chex.assert_trees_all_equal_structs(got, wanted)
    chex.assert_trees_all_equal_shapes(got, wanted)
    for name, g, w in _pairs(got, wanted):
        largest = np.abs(w).max(initial=1e-30)
        np.testing.assert_allclose(g, w, rtol=0, atol=tolerance * largest, err_msg=name)


def assert_equal(got: Any, wanted: Any, tolerance: float, message: str) -> None:
    """Raise, with a sentence in plain words, unless trees are near, or the same at tolerance 0."""
    with plainly(message):
        if tolerance:
            assert_near(got, wanted, tolerance)
        else:
            assert_same(got, wanted)


def leaves(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a tree with their names, such as ` at 0/membrane`."""
    for path, leaf in jax.tree.leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        yield (f" at {name}" if name else ""), leaf


def _pairs(got: Any, wanted: Any) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the leaves of two trees of one structure, in float64."""
    for (name, g), w in zip(leaves(got), jax.tree.leaves(wanted), strict=True):
        yield name, np.asarray(g, np.float64), np.asarray(w, np.float64)
