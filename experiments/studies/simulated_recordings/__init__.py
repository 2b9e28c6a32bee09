"""The study `simulated_recordings`; see its README.md."""
