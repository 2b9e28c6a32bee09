"""The study `spoken_digits`; see its README.md."""
