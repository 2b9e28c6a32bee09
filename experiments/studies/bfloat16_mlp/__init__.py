"""The study `bfloat16_mlp`; see its README.md."""
