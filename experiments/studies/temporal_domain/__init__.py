"""The study `temporal_domain`; see its README.md."""
