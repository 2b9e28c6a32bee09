"""The study `digits`; see its README.md."""
