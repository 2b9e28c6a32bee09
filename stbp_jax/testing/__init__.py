"""Checks that hold a user's own neurons, layers and surrogates to the contracts of the library.

Each check is one call in a test: it raises an AssertionError that names what is wrong. The checks
need chex, of the extra `testing`. `trees` holds their tools.

    def test_my_parts():
        check_surrogate(my_surrogate(0.5))
        check_neuron(my_neuron(), units=(5,))
        check_layer(my_layer(3), (4,))
"""

try:
    import chex  # noqa: F401
except ImportError as error:
    raise ImportError(
        "stbp_jax.testing needs chex, which is not installed: pip install chex"
    ) from error

from stbp_jax.testing.layers import check_layer
from stbp_jax.testing.neurons import check_neuron
from stbp_jax.testing.surrogates import check_surrogate

__all__ = ["check_layer", "check_neuron", "check_surrogate"]
