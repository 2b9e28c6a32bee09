"""The study `streaming`; see its README.md."""
