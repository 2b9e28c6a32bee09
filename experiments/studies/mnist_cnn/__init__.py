"""The study `mnist_cnn`; see its README.md."""
