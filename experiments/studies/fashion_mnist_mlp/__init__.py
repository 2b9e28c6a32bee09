"""The study `fashion_mnist_mlp`; see its README.md."""
