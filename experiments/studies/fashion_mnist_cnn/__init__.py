"""The study `fashion_mnist_cnn`; see its README.md."""
