"""The study `pedestrian_mlp`; see its README.md."""
