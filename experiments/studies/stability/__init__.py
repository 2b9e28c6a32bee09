"""The study `stability`; see its README.md."""
