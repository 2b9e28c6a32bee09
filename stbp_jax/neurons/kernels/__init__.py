"""Pallas kernels: further unrolls for `lif(unroll=...)`, with the contract of `lif_unroll`.

Users import them by `from stbp_jax.neurons.kernels import lif_pallas`. No other module of the
library imports this package, and a kernel imports Pallas when it is called.
"""

from stbp_jax.neurons.kernels.lif import lif_pallas, lif_pallas_interpreted

__all__ = ["lif_pallas", "lif_pallas_interpreted"]
