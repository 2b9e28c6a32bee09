"""Networks as modules of other libraries: `linen` and `nnx` of Flax.

Each bridge is imported by its own name, `from stbp_jax.bridges import linen`, and needs flax, which
the extra `flax` installs.
"""
