"""The study `error_flow`; see its README.md."""
