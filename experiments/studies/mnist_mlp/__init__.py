"""The study `mnist_mlp`; see its README.md."""
