"""The study `cost`; see its README.md."""
