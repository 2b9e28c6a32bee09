"""The study `initialization`; see its README.md."""
