"""The study `surrogates`; see its README.md."""
