"""Further unrolls of the LIF, with the contract of `lif_unroll`, for one kind of device each.

Importing this room is explicit: `from stbp_jax.kernels import lif_pallas`. Nothing else in the
library imports it, and Pallas itself is imported when a kernel is called.
"""

from stbp_jax.kernels.lif import lif_pallas, lif_pallas_interpreted

__all__ = ["lif_pallas", "lif_pallas_interpreted"]
