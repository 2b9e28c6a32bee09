"""The study `nmnist_cnn`; see its README.md."""
