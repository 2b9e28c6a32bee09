"""The study `skills`; see its README.md."""
