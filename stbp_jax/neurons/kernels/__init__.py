"""Further unrolls of the LIF, with the contract of `lif_unroll`, for one kind of device each.

The import is explicit: `from stbp_jax.neurons.kernels import lif_pallas`. Nothing else in the
library imports this package, and Pallas itself is imported when a kernel is called.
"""

from stbp_jax.neurons.kernels.lif import lif_pallas, lif_pallas_interpreted

__all__ = ["lif_pallas", "lif_pallas_interpreted"]
