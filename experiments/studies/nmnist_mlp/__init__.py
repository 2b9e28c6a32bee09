"""The study `nmnist_mlp`; see its README.md."""
