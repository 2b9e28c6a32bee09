"""The study `cifar10_cnn`; see its README.md."""
