"""The study `spike_trains`; see its README.md."""
