"""The study `pedestrian_cnn`; see its README.md."""
